"""Sagas, step after step: checks 80 to 112, but those of concurrency, timeouts and retry limits."""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable
from datetime import datetime

import trio

from tests.compat.dtm import SUCCESS, Dtm
from tests.compat.orders import new_gid, saga
from tests.compat.web import ANSWER_MAX_S, Participant, Reply

OpenDtm = Callable[..., Awaitable[Dtm]]

REFUSES = Reply(status=409, body=b'{"error":"not enough money"}')
ONGOING = Reply(status=425, body=b"")
FAILS = Reply(status=500, body=b"out of order")


async def test_080_two_good_steps_are_done_in_order(dtm: Dtm, participant: Participant) -> None:
    order = saga(participant, "/a", "/b")
    answer = await dtm.post("submit", order)
    assert (answer.status, answer.body) == (200, SUCCESS)
    found = await dtm.until(order["gid"], "succeed")
    assert participant.paths == ["/a", "/b"]
    assert [(call.method, call.body) for call in participant.calls] == [
        ("POST", b'{"step": "/a"}'),
        ("POST", b'{"step": "/b"}'),
    ]
    assert await dtm.rows(order["gid"]) == "P S P S"
    assert "finish_time" in found
    assert "rollback_time" not in found
    assert "rollback_reason" not in found


async def test_080_without_wait_result_the_answer_comes_before_the_calls_end(
    dtm: Dtm, participant: Participant
) -> None:
    participant.replies("/a", Reply(delay_s=1.0))
    order = saga(participant, "/a")
    assert (await dtm.post("submit", order)).body == SUCCESS
    assert (await dtm.transaction(order["gid"]))["status"] == "submitted"
    await dtm.until(order["gid"], "succeed")


async def test_081_a_refusal_compensates_in_reverse_the_refused_step_too(dtm: Dtm, participant: Participant) -> None:
    participant.replies("/b", REFUSES)
    order = saga(participant, "/a", "/b", "/c")
    await dtm.post("submit", order)
    found = await dtm.until(order["gid"], "failed")
    assert participant.paths == ["/a", "/b", "/b-undo", "/a-undo"]
    assert await dtm.rows(order["gid"]) == "S S S F P P"
    assert "rollback_time" in found
    assert "finish_time" not in found
    assert found["rollback_reason"] == (
        f'url:{participant.url}/b return failed: {{"error":"not enough money"}} FAILURE'
    )


async def test_082_an_ongoing_step_is_asked_again_and_holds_back_the_next(dtm: Dtm, participant: Participant) -> None:
    participant.replies("/a", ONGOING, Reply())
    order = saga(participant, "/a", "/b", wait_result=True, retry_interval=1)
    await dtm.post("submit", order)
    assert await dtm.rows(order["gid"]) == "P P P P"
    assert (await dtm.transaction(order["gid"]))["status"] == "submitted"
    assert participant.paths == ["/a"]
    await dtm.until(order["gid"], "succeed")
    assert participant.paths == ["/a", "/a", "/b"]


async def test_083_a_compensation_in_error_is_repeated_until_it_succeeds(dtm: Dtm, participant: Participant) -> None:
    participant.replies("/b", REFUSES)
    participant.replies("/a-undo", FAILS, Reply())
    order = saga(participant, "/a", "/b", wait_result=True, retry_interval=1)
    await dtm.post("submit", order)
    assert (await dtm.transaction(order["gid"]))["status"] == "aborting"
    assert await dtm.rows(order["gid"]) == "P S S F"
    await dtm.until(order["gid"], "failed")
    assert await dtm.rows(order["gid"]) == "S S S F"
    assert participant.paths == ["/a", "/b", "/b-undo", "/a-undo", "/a-undo"]


async def test_083_a_compensation_cannot_be_refused(dtm: Dtm, participant: Participant) -> None:
    participant.replies("/a", REFUSES)
    participant.replies("/a-undo", REFUSES, Reply())
    order = saga(participant, "/a", wait_result=True, retry_interval=1)
    await dtm.post("submit", order)
    assert (await dtm.transaction(order["gid"]))["status"] == "aborting"
    assert await dtm.rows(order["gid"]) == "P F"
    await dtm.until(order["gid"], "failed")


async def test_084_a_repeated_submit_is_acknowledged_while_it_runs_and_refused_afterwards(
    dtm: Dtm, participant: Participant
) -> None:
    participant.replies("/b", Reply(delay_s=0.3))
    order = saga(participant, "/a", "/b")
    await dtm.post("submit", order)
    await participant.until_called("/b")
    assert (await dtm.post("submit", order)).body == SUCCESS
    waited = await dtm.post("submit", {**order, "wait_result": True})
    assert (waited.status, waited.body) == (200, SUCCESS)
    assert participant.paths == ["/a", "/b"], "a branch that was done or is under way must not be called again"
    again = await dtm.post("submit", order)
    assert again.status == 409
    assert again.json == {"dtm_result": "FAILURE", "message": "current status 'succeed', cannot sumbmit. FAILURE"}


async def test_a_header_tells_what_a_409_means_to_who_waited(dtm: Dtm, participant: Participant) -> None:
    participant.replies("/ongoing", ONGOING)
    participant.replies("/refused", REFUSES)
    participant.replies("/refused-undo", FAILS)
    for path, status in (("/ongoing", "submitted"), ("/refused", "aborting")):
        order = saga(participant, path, wait_result=True)
        answer = await dtm.post("submit", order)
        assert (answer.status, answer.headers.get("flowtx-status")) == (409, status)
    good = await dtm.post("submit", saga(participant, "/a", wait_result=True))
    assert (good.status, good.headers.get("flowtx-status")) == (200, None)


async def test_084_a_repeated_submit_calls_now_what_waits_for_its_next_attempt(
    clocked: Dtm, participant: Participant
) -> None:
    # Nothing that looks for due work runs here: the request itself makes the call.
    participant.replies("/a", Reply(status=425), Reply())
    order = saga(participant, "/a", "/b")
    assert (await clocked.post("submit", order)).body == SUCCESS
    await participant.until_called("/a")
    while not (await clocked.transaction(order["gid"])).get("last_error"):  # noqa: ASYNC110 - seen through a socket
        await trio.sleep(0.01)
    assert (await clocked.post("submit", order)).body == SUCCESS
    await clocked.until(order["gid"], "succeed", timeout_s=30)
    assert participant.paths == ["/a", "/a", "/b"]


async def test_084_a_repeated_submit_of_one_that_turned_round_is_refused(dtm: Dtm, participant: Participant) -> None:
    participant.replies("/a", REFUSES)
    participant.replies("/a-undo", FAILS)
    order = saga(participant, "/a", wait_result=True)
    await dtm.post("submit", order)
    again = await dtm.post("submit", order)
    assert (again.status, again.json["message"]) == (409, "current status 'aborting', cannot sumbmit. FAILURE")


async def test_084_many_submits_of_one_gid_at_once_are_one_saga(dtm: Dtm, participant: Participant) -> None:
    participant.replies("/a", Reply(delay_s=0.2))
    order = saga(participant, "/a", "/b", wait_result=True)
    bodies: list[bytes] = []

    async def submit() -> None:
        bodies.append((await dtm.post("submit", order)).body)

    async with trio.open_nursery() as submitters:
        for _ in range(20):
            submitters.start_soon(submit)
    assert bodies == [SUCCESS] * 20
    assert participant.paths == ["/a", "/b"]


async def test_085_an_empty_url_is_done_without_a_call(dtm: Dtm, participant: Participant) -> None:
    good = saga(participant, "/a", wait_result=True)
    good["steps"] = [{"action": "", "compensate": ""}]
    assert (await dtm.post("submit", good)).body == SUCCESS
    assert await dtm.rows(good["gid"]) == "P S"
    participant.replies("/b", REFUSES)
    bad = saga(participant, "/a", "/b", wait_result=True)
    bad["steps"][0]["compensate"] = ""
    assert (await dtm.post("submit", bad)).status == 409
    assert await dtm.rows(bad["gid"]) == "S S S F"
    assert participant.paths == ["/a", "/b", "/b-undo"]


async def test_086_an_empty_payload_is_a_get(dtm: Dtm, participant: Participant) -> None:
    participant.replies("/a", REFUSES)
    await dtm.post("submit", saga(participant, "/a", payloads=[""], wait_result=True))
    assert [(call.method, call.path, call.body) for call in participant.calls] == [
        ("GET", "/a", b""),
        ("GET", "/a-undo", b""),
    ]


async def test_087_dtms_parameters_follow_the_urls_own(dtm: Dtm, participant: Participant) -> None:
    participant.replies("/b", REFUSES)
    order = saga(participant, "/a?z=1&a=%20", "/b", wait_result=True)
    order["steps"][0]["compensate"] = f"{participant.url}/undo?x"
    await dtm.post("submit", order)
    gid = order["gid"]
    assert [(call.path, call.query) for call in participant.calls] == [
        ("/a", f"z=1&a=%20&branch_id=01&gid={gid}&op=action&trans_type=saga"),
        ("/b", f"branch_id=02&gid={gid}&op=action&trans_type=saga"),
        ("/b-undo", f"branch_id=02&gid={gid}&op=compensate&trans_type=saga"),
        ("/undo", f"x&branch_id=01&gid={gid}&op=compensate&trans_type=saga"),
    ]


async def test_088_branch_headers_are_sent_every_time(dtm: Dtm, participant: Participant) -> None:
    participant.replies("/a", ONGOING, REFUSES)
    headers = {"test_header": "yes", "X-Two": "2"}
    order = saga(participant, "/a", wait_result=True, retry_interval=1, branch_headers=headers)
    await dtm.post("submit", order)
    await dtm.until(order["gid"], "failed")
    assert participant.paths == ["/a", "/a", "/a-undo"]
    assert [(call.headers["test_header"], call.headers["x-two"]) for call in participant.calls] == [("yes", "2")] * 3


async def test_089_the_content_type_is_json_unless_a_branch_header_says_otherwise(
    dtm: Dtm, participant: Participant
) -> None:
    await dtm.post("submit", saga(participant, "/a", wait_result=True))
    await dtm.post("submit", saga(participant, "/b", wait_result=True, branch_headers={"content-type": "text/xml"}))
    assert [call.headers["content-type"] for call in participant.calls] == ["application/json", "text/xml"]


async def test_090_a_call_longer_than_the_request_timeout_is_an_error(dtm: Dtm, participant: Participant) -> None:
    participant.replies("/a", Reply(delay_s=ANSWER_MAX_S))
    order = saga(participant, "/a", wait_result=True, request_timeout=1)
    began = trio.current_time()
    answer = await dtm.post("submit", order)
    assert 1.0 <= trio.current_time() - began < ANSWER_MAX_S
    assert answer.status == 409
    found = await dtm.transaction(order["gid"])
    assert (found["status"], found["next_cron_interval"]) == ("submitted", 20)


async def test_091_the_request_timeout_of_a_transaction_goes_before_the_servers(
    open_dtm: OpenDtm, participant: Participant
) -> None:
    dtm = await open_dtm(request_timeout_s=1)
    participant.replies("/a", Reply(delay_s=1.3))
    order = saga(participant, "/a", wait_result=True, request_timeout=3)
    assert (await dtm.post("submit", order)).body == SUCCESS


async def test_094_an_ongoing_step_is_due_after_the_retry_interval(dtm: Dtm, participant: Participant) -> None:
    participant.replies("/a", ONGOING)
    order = saga(participant, "/a", wait_result=True, retry_interval=150)
    await dtm.post("submit", order)
    await check_due_in(dtm, order["gid"], 150)


async def test_095_a_step_in_error_is_due_after_twice_the_retry_interval(dtm: Dtm, participant: Participant) -> None:
    participant.replies("/a", FAILS)
    order = saga(participant, "/a", wait_result=True, retry_interval=150)
    await dtm.post("submit", order)
    await check_due_in(dtm, order["gid"], 300)


async def check_due_in(dtm: Dtm, gid: str, seconds: int) -> None:
    found = await dtm.transaction(gid)
    assert found["next_cron_interval"] == seconds
    due_in_s = datetime.fromisoformat(found["next_cron_time"]).timestamp() - time.time()
    assert seconds - 20 < due_in_s <= seconds


async def test_096_with_wait_result_the_answer_comes_after_success(dtm: Dtm, participant: Participant) -> None:
    participant.replies("/b", Reply(delay_s=0.2))
    order = saga(participant, "/a", "/b", wait_result=True)
    answer = await dtm.post("submit", order)
    assert (answer.status, answer.body) == (200, SUCCESS)
    assert (await dtm.transaction(order["gid"]))["status"] == "succeed"


async def test_097_with_wait_result_a_refusal_is_answered_with_its_reason(dtm: Dtm, participant: Participant) -> None:
    participant.replies("/b", REFUSES)
    order = saga(participant, "/a", "/b", wait_result=True)
    answer = await dtm.post("submit", order)
    assert answer.status == 409
    found = await dtm.transaction(order["gid"])
    assert found["status"] == "failed"
    assert answer.json == {"dtm_result": "FAILURE", "message": found["rollback_reason"]}
    assert "not enough money" in answer.json["message"]


async def test_097_with_wait_result_a_rollback_that_is_not_over_is_answered_with_the_reason_too(
    dtm: Dtm, participant: Participant
) -> None:
    participant.replies("/a", REFUSES)
    participant.replies("/a-undo", FAILS)
    answer = await dtm.post("submit", saga(participant, "/a", wait_result=True))
    assert answer.status == 409
    assert "not enough money" in answer.json["message"]


async def test_098_with_wait_result_an_ongoing_step_is_answered_and_goes_on(dtm: Dtm, participant: Participant) -> None:
    participant.replies("/a", ONGOING, Reply())
    order = saga(participant, "/a", "/b", wait_result=True, retry_interval=1)
    answer = await dtm.post("submit", order)
    assert answer.status == 409
    assert answer.json == {"dtm_result": "FAILURE", "message": "wait result not return success: FAILURE"}
    assert await dtm.rows(order["gid"]) == "P P P P"
    await dtm.until(order["gid"], "succeed")


async def test_107_the_concurrent_option_alone_leaves_the_steps_one_after_another(
    dtm: Dtm, participant: Participant
) -> None:
    participant.replies("/a", Reply(delay_s=0.2))
    await dtm.post("submit", saga(participant, "/a", "/b", wait_result=True, concurrent=True))
    first, second = participant.calls
    assert (first.path, second.path) == ("/a", "/b")
    assert second.at - first.at >= 0.2


async def test_108_wait_result_ends_with_the_request_timeout_and_the_saga_goes_on(
    open_dtm: OpenDtm, participant: Participant
) -> None:
    dtm = await open_dtm(request_timeout_s=1)
    paths = [f"/{name}" for name in "abcdefgh"]
    for path in paths:
        participant.replies(path, Reply(delay_s=0.45))
    order = saga(participant, *paths, wait_result=True)
    began = trio.current_time()
    answer = await dtm.post("submit", order)
    assert trio.current_time() - began >= 2.5
    assert answer.json["message"] == "wait result not return success: FAILURE"
    assert len(participant.calls) < len(paths), "it was answered while the saga went on"
    await dtm.until(order["gid"], "succeed")
    assert participant.paths == paths


async def test_112_a_saga_without_steps_succeeds(dtm: Dtm) -> None:
    gid = new_gid()
    answer = await dtm.post("submit", {"gid": gid, "trans_type": "saga", "wait_result": True})
    assert answer.body == SUCCESS
    found = await dtm.query(gid)
    assert found["branches"] == []
    assert found["transaction"]["status"] == "succeed"
