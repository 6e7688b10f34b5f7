"""TCC by every way in: checks 115 to 133 and 160; what a client's ``try`` does is the client's own affair."""

from __future__ import annotations

from typing import Any

import pytest

from tests.compat.dtm import Dtm
from tests.compat.orders import new_gid, tcc_branch
from tests.compat.ways import OK, HttpWay, Way
from tests.compat.web import Participant, Reply

REFUSES = Reply(status=409, body=b"no money")
OLD_REFUSES = Reply(body=b'{"dtm_result":"FAILURE"}')
ONGOING = Reply(status=425)
OLD_ONGOING = Reply(body=b'{"dtm_result":"ONGOING"}')
FAILS = Reply(status=500, body=b"out of order")


async def tried(to: Way, participant: Participant, *paths: str, **more: object) -> dict[str, Any]:
    """A prepared tcc with branches 01, 02 ... registered; what submits or aborts it."""
    order: dict[str, Any] = {"gid": new_gid(), "trans_type": "tcc", **more}
    assert await to.prepare(order) == OK
    for number, path in enumerate(paths, 1):
        assert await to.register(tcc_branch(participant, order["gid"], f"{number:02}", path)) == OK
    return order


async def test_115_160_confirms_come_in_reverse_order_of_registration(
    dtm: Dtm, way: type[Way], participant: Participant
) -> None:
    order = await tried(way(dtm), participant, "/a", "/b")
    assert (await dtm.transaction(order["gid"]))["status"] == "prepared"
    assert await dtm.ops(order["gid"]) == ["01 cancel", "01 confirm", "02 cancel", "02 confirm"]
    assert participant.calls == []
    assert await way(dtm).submit(order) == OK
    await dtm.until(order["gid"], "succeed")
    assert [(call.method, call.path, call.body) for call in participant.calls] == [
        ("POST", "/b-confirm", b'{"step": "/b"}'),
        ("POST", "/a-confirm", b'{"step": "/a"}'),
    ]
    assert participant.calls[0].query == f"branch_id=02&gid={order['gid']}&op=confirm&trans_type=tcc"
    assert await dtm.rows(order["gid"]) == "P S P S"


async def test_116_160_an_abort_cancels_every_registered_branch(
    dtm: Dtm, way: type[Way], participant: Participant
) -> None:
    order = await tried(way(dtm), participant, "/a", "/b")
    assert await way(dtm).abort({**order, "rollback_reason": "try of 02 said FAILURE"}) == OK
    found = await dtm.until(order["gid"], "failed")
    assert participant.paths == ["/b-cancel", "/a-cancel"]
    assert await dtm.rows(order["gid"]) == "S P S P"
    assert found["rollback_reason"] == "try of 02 said FAILURE"
    assert "rollback_time" in found


async def test_117_a_cancel_is_repeated_until_it_succeeds(dtm: Dtm, way: type[Way], participant: Participant) -> None:
    participant.replies("/a-cancel", ONGOING, Reply())
    order = await tried(way(dtm), participant, "/a", "/b", retry_interval=1)
    assert await way(dtm).abort(order) == OK
    await participant.until_called("/a-cancel")
    assert (await dtm.transaction(order["gid"]))["status"] == "aborting"
    await dtm.until(order["gid"], "failed")
    assert participant.paths == ["/b-cancel", "/a-cancel", "/a-cancel"]


@pytest.mark.parametrize("replies", [(ONGOING, Reply()), (OLD_ONGOING, Reply()), (FAILS, Reply())])
async def test_117_126_the_next_visit_completes_a_cancel(
    clocked: Dtm, participant: Participant, replies: tuple[Reply, ...]
) -> None:
    participant.replies("/a-cancel", *replies)
    order = await tried(HttpWay(clocked), participant, "/a", wait_result=True)
    await HttpWay(clocked).abort(order)
    assert (await clocked.transaction(order["gid"]))["status"] == "aborting"
    assert (await clocked.visit(order["gid"]))["status"] == "failed"


async def test_118_119_a_tcc_that_timed_out_is_cancelled(clocked: Dtm, participant: Participant) -> None:
    order = await tried(HttpWay(clocked), participant, "/a", "/b", timeout_to_fail=30)
    assert (await clocked.visit(order["gid"], now_in_s=10))["status"] == "prepared"
    found = await clocked.visit(order["gid"], now_in_s=60)
    assert (found["status"], found["rollback_reason"]) == ("failed", "Timeout after 30 seconds")
    assert participant.paths == ["/b-cancel", "/a-cancel"]
    late = await HttpWay(clocked).register(tcc_branch(participant, order["gid"], "03", "/c"))
    assert (late.kind, late.message) == (
        "failure",
        f"no trans with gid: {order['gid']} status: prepared found FAILURE",
    )
    assert (await HttpWay(clocked).submit(order)).kind == "failure"


async def test_118_the_usual_timeout_is_35_seconds(clocked: Dtm, participant: Participant) -> None:
    order = await tried(HttpWay(clocked), participant, "/a")
    assert (await clocked.visit(order["gid"], now_in_s=30))["status"] == "prepared"
    found = await clocked.visit(order["gid"], now_in_s=40)
    assert found["status"] == "failed"
    assert found["rollback_reason"].startswith("Timeout after ")


async def test_119_162_a_branch_of_nothing_prepared_is_refused(
    dtm: Dtm, way: type[Way], participant: Participant
) -> None:
    for gid in (new_gid(), (await tried(way(dtm), participant))["gid"]):
        await way(dtm).abort({"gid": gid, "trans_type": "tcc"})
        told = await way(dtm).register(tcc_branch(participant, gid, "01", "/a"))
        assert (told.kind, told.message) == ("failure", f"no trans with gid: {gid} status: prepared found FAILURE")


async def test_120_nested_branches_are_confirmed_too(dtm: Dtm, way: type[Way], participant: Participant) -> None:
    order = await tried(way(dtm), participant, "/a", "/b")
    assert await way(dtm).register(tcc_branch(participant, order["gid"], "0201", "/c")) == OK
    assert await way(dtm).submit(order) == OK
    await dtm.until(order["gid"], "succeed")
    assert participant.paths == ["/c-confirm", "/b-confirm", "/a-confirm"]
    assert await dtm.rows(order["gid"]) == "P S P S P S"


async def test_121_empty_urls_are_done_without_a_call(dtm: Dtm, way: type[Way], participant: Participant) -> None:
    order = await tried(way(dtm), participant, wait_result=True)
    branch = {**tcc_branch(participant, order["gid"], "01", "/a"), "confirm": "", "cancel": ""}
    assert await way(dtm).register(branch) == OK
    assert await way(dtm).submit(order) == OK
    assert participant.calls == []
    assert await dtm.rows(order["gid"]) == "P S"


async def test_122_branch_headers_of_prepare_are_sent(dtm: Dtm, way: type[Way], participant: Participant) -> None:
    participant.replies("/a-confirm", ONGOING, Reply())
    order = await tried(way(dtm), participant, "/a", branch_headers={"x-test": "yes"}, retry_interval=1)
    await way(dtm).submit(order)
    await dtm.until(order["gid"], "succeed")
    assert [call.headers["x-test"] for call in participant.calls] == ["yes", "yes"]


async def test_124_142_the_old_routes_register_branches_too(dtm: Dtm, participant: Participant) -> None:
    order = await tried(HttpWay(dtm), participant)
    for number, route in enumerate(("registerTccBranch", "registerXaBranch"), 1):
        branch = tcc_branch(participant, order["gid"], f"{number:02}", "/a")
        assert (await dtm.post(route, branch)).status == 200
    assert await dtm.ops(order["gid"]) == ["01 cancel", "01 confirm", "02 cancel", "02 confirm"]


async def test_125_a_branch_is_registered_once(dtm: Dtm, way: type[Way], participant: Participant) -> None:
    order = await tried(way(dtm), participant, "/a")
    again = await way(dtm).register(tcc_branch(participant, order["gid"], "01", "/other"))
    assert again.kind == "error"
    assert await dtm.ops(order["gid"]) == ["01 cancel", "01 confirm"]


async def test_127_an_aborted_tcc_is_not_submitted(dtm: Dtm, way: type[Way], participant: Participant) -> None:
    participant.replies("/a-cancel", FAILS)
    order = await tried(way(dtm), participant, "/a")
    await way(dtm).abort(order)
    await participant.until_called("/a-cancel")
    told = await way(dtm).submit(order)
    assert (told.kind, told.message) == ("failure", "current status 'aborting', cannot sumbmit. FAILURE")


async def test_128_a_submitted_tcc_is_not_aborted(dtm: Dtm, way: type[Way], participant: Participant) -> None:
    participant.replies("/a-confirm", FAILS)
    order = await tried(way(dtm), participant, "/a")
    await way(dtm).submit(order)
    await participant.until_called("/a-confirm")
    told = await way(dtm).abort(order)
    assert (told.kind, told.message) == (
        "failure",
        "trans type: 'tcc' current status 'submitted', cannot abort. FAILURE",
    )


@pytest.mark.parametrize("reply", [ONGOING, OLD_ONGOING])
async def test_129_164_183_with_wait_result_ongoing_is_answered_as_it_is(
    dtm: Dtm, way: type[Way], participant: Participant, reply: Reply
) -> None:
    participant.replies("/a-confirm", reply)
    order = await tried(way(dtm), participant, "/a", wait_result=True)
    told = await way(dtm).submit(order)
    assert (told.kind, told.message) == ("ongoing", "ONGOING")
    assert (await dtm.transaction(order["gid"]))["status"] == "submitted"


async def test_129_over_http_ongoing_has_a_body_of_its_own(dtm: Dtm, participant: Participant) -> None:
    participant.replies("/a-confirm", ONGOING)
    order = await tried(HttpWay(dtm), participant, "/a", wait_result=True)
    answer = await dtm.post("submit", order)
    assert (answer.status, answer.body) == (425, b'{"dtm_result":"ONGOING","message":"ONGOING"}')


async def test_130_with_wait_result_an_error_is_answered_in_dtms_words(
    dtm: Dtm, way: type[Way], participant: Participant
) -> None:
    participant.replies("/a-confirm", FAILS)
    order = await tried(way(dtm), participant, "/a", wait_result=True)
    told = await way(dtm).submit(order)
    assert told.kind == "error"
    assert "\nunkown result will be retried: " in told.message
    assert told.message.endswith("out of order")
    assert (await dtm.transaction(order["gid"]))["status"] == "submitted"


@pytest.mark.parametrize("reply", [REFUSES, OLD_REFUSES])
async def test_126_131_a_confirm_cannot_be_refused(
    dtm: Dtm, way: type[Way], participant: Participant, reply: Reply
) -> None:
    participant.replies("/b-confirm", reply, Reply())
    order = await tried(way(dtm), participant, "/a", "/b", retry_interval=1)
    await way(dtm).submit(order)
    await dtm.until(order["gid"], "succeed")
    assert participant.paths == ["/b-confirm", "/b-confirm", "/a-confirm"]


async def test_132_a_repeated_submit_still_confirms_everything(
    dtm: Dtm, way: type[Way], participant: Participant
) -> None:
    # DTM answers the second one with success and never calls the rest (spec 12.1).
    participant.replies("/b-confirm", FAILS, Reply())
    order = await tried(way(dtm), participant, "/a", "/b", retry_interval=1)
    await way(dtm).submit(order)
    await participant.until_called("/b-confirm")
    assert await way(dtm).submit(order) == OK
    await dtm.until(order["gid"], "succeed")
    assert participant.paths[-1] == "/a-confirm"
    assert participant.paths.count("/a-confirm") == 1


async def test_133_a_repeated_abort_is_acknowledged(dtm: Dtm, way: type[Way], participant: Participant) -> None:
    participant.replies("/a-cancel", FAILS, Reply())
    order = await tried(way(dtm), participant, "/a", "/b", retry_interval=1)
    await way(dtm).abort(order)
    await participant.until_called("/a-cancel")
    assert await way(dtm).abort(order) == OK
    await dtm.until(order["gid"], "failed")
    assert participant.paths.count("/b-cancel") == 1


async def test_a_tcc_without_branches_succeeds_or_fails(dtm: Dtm, way: type[Way], participant: Participant) -> None:
    order = await tried(way(dtm), participant, wait_result=True)
    assert await way(dtm).submit(order) == OK
    order = await tried(way(dtm), participant, wait_result=True)
    assert await way(dtm).abort(order) == OK
    assert (await dtm.transaction(order["gid"]))["status"] == "failed"


async def test_repeated_prepares_are_one(dtm: Dtm, way: type[Way], participant: Participant) -> None:
    order = await tried(way(dtm), participant, "/a")
    assert await way(dtm).prepare(order) == OK
    assert await dtm.ops(order["gid"]) == ["01 cancel", "01 confirm"]


async def test_178_an_unknown_kind_of_branch_is_an_error(dtm: Dtm, way: type[Way], participant: Participant) -> None:
    order = await tried(way(dtm), participant)
    branch = {**tcc_branch(participant, order["gid"], "01", "/a"), "trans_type": "nonsense"}
    told = await way(dtm).register(branch)
    assert (told.kind, told.message) == ("error", "unknow trans type: nonsense")


@pytest.mark.parametrize("body", [b"x", b"", b'{"gid":1}', b"[1]"])
async def test_a_branch_that_is_no_object_of_strings_is_a_bad_request(dtm: Dtm, body: bytes) -> None:
    answer = await dtm.post("registerBranch", body)
    assert answer.status == 400
    assert answer.headers["content-type"] == "text/plain; charset=utf-8"
    assert list(answer.json) == ["message"]
