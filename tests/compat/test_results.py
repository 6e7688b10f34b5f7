"""What an answer of a participant means, and when it is asked again: checks 185 to 197."""

from __future__ import annotations

import socket

import pytest
import trio

from tests.compat.dtm import Dtm
from tests.compat.orders import saga
from tests.compat.web import ANSWER_MAX_S, Participant, Reply

BASE_S = 10

SUCCEEDED, REFUSED, ONGOING, ERROR = "succeeded", "refused", "ongoing", "error"


async def outcome_of(dtm: Dtm, participant: Participant, status: int, body: bytes) -> str:
    """What became of a step whose participant answered so."""
    participant.replies("/a", Reply(status=status, body=body))
    order = saga(participant, "/a", wait_result=True, retry_interval=BASE_S)
    await dtm.post("submit", order)
    found = await dtm.transaction(order["gid"])
    match found["status"], found["next_cron_interval"]:
        case "succeed", _:
            return SUCCEEDED
        case "failed", _:
            return REFUSED
        case "submitted", 10:
            return ONGOING
        case "submitted", 20:
            return ERROR
        case other:
            raise AssertionError(other)


@pytest.mark.parametrize(
    ("check", "status", "body", "outcome"),
    [
        (185, 200, b"", SUCCEEDED),
        (185, 200, b"anything", SUCCEEDED),
        (185, 200, b'{"dtm_result":"SUCCESS"}', SUCCEEDED),
        (186, 201, b"", ERROR),
        (186, 204, b"", ERROR),
        (186, 302, b"", ERROR),
        (186, 404, b"not here", ERROR),
        (186, 500, b"broken", ERROR),
        (186, 503, b"", ERROR),
        (187, 409, b"", REFUSED),
        (187, 409, b"any body", REFUSED),
        (187, 200, b'{"dtm_result":"FAILURE"}', REFUSED),
        (188, 425, b"", ONGOING),
        (188, 200, b'{"dtm_result":"ONGOING"}', ONGOING),
        (188, 409, b"ONGOING", ONGOING),
        (189, 500, b"a FAILURE it is", REFUSED),
        (190, 425, b"FAILURE", ONGOING),
        (191, 200, b"failure", SUCCEEDED),
        (191, 200, b"ongoing", SUCCEEDED),
    ],
)
async def test_185_to_191_an_answer_means_what_dtm_says(
    dtm: Dtm, participant: Participant, check: int, status: int, body: bytes, outcome: str
) -> None:
    assert await outcome_of(dtm, participant, status, body) == outcome, check


@pytest.mark.parametrize(
    ("body", "reason"),
    [
        (b"no money FAILURE", "no money FAILURE"),
        (b"  no money\n", "no money FAILURE"),
        (b'{"dtm_result":"FAILURE"}', '{"dtm_result":"FAILURE"} FAILURE'),
    ],
)
async def test_192_a_reason_ends_with_failure_once(
    dtm: Dtm, participant: Participant, body: bytes, reason: str
) -> None:
    participant.replies("/a", Reply(status=409, body=body))
    order = saga(participant, "/a", wait_result=True)
    answer = await dtm.post("submit", order)
    assert answer.json["message"] == f"url:{participant.url}/a return failed: {reason}"


async def test_193_a_refused_connection_is_an_error(dtm: Dtm, participant: Participant) -> None:
    with socket.create_server(("127.0.0.1", 0)) as closed:
        port = closed.getsockname()[1]
    order = saga(participant, "/a", wait_result=True)
    order["steps"][0]["action"] = f"http://127.0.0.1:{port}/a"
    assert (await dtm.post("submit", order)).status == 409
    found = await dtm.transaction(order["gid"])
    assert (found["status"], found["next_cron_interval"]) == ("submitted", 20)


@pytest.mark.parametrize("url", ["nonsense", "ftp://127.0.0.1/a", "http://"])
async def test_193_a_url_that_cannot_be_called_is_an_error(dtm: Dtm, participant: Participant, url: str) -> None:
    order = saga(participant, "/a", wait_result=True)
    order["steps"][0]["action"] = url
    assert (await dtm.post("submit", order)).status == 409
    found = await dtm.transaction(order["gid"])
    assert (found["status"], found["next_cron_interval"]) == ("submitted", 20)


@pytest.mark.parametrize(("retry_interval", "interval"), [(0, 10), (7, 7), (150, 150)])
async def test_194_the_first_interval_is_the_transactions_or_the_servers(
    dtm: Dtm, participant: Participant, retry_interval: int, interval: int
) -> None:
    participant.replies("/a", Reply(body=b"ONGOING"))
    order = saga(participant, "/a", wait_result=True, retry_interval=retry_interval)
    await dtm.post("submit", order)
    assert (await dtm.transaction(order["gid"]))["next_cron_interval"] == interval


async def test_195_the_interval_doubles_with_every_error(dtm: Dtm, participant: Participant) -> None:
    participant.replies("/a", Reply(status=500))
    order = saga(participant, "/a", wait_result=True, retry_interval=1)
    await dtm.post("submit", order)
    assert (await dtm.transaction(order["gid"]))["next_cron_interval"] == 2
    await participant.until_called("/a", 2)
    first, second = participant.calls_of("/a")
    assert second.at - first.at > 1.8
    await check_rests_at(dtm, order["gid"], 4)


async def test_196_ongoing_leaves_the_interval_as_it_is(dtm: Dtm, participant: Participant) -> None:
    participant.replies("/a", Reply(status=500), Reply(body=b"ONGOING"))
    order = saga(participant, "/a", wait_result=True, retry_interval=1)
    await dtm.post("submit", order)
    await participant.until_called("/a", 2)
    # A second wait for the same run returns when the run rests again.
    await dtm.post("submit", order)
    assert (await dtm.transaction(order["gid"]))["next_cron_interval"] == 2


async def test_197_success_brings_the_interval_back_to_the_base(dtm: Dtm, participant: Participant) -> None:
    participant.replies("/a", Reply(status=500), Reply())
    participant.replies("/b", Reply(body=b"ONGOING"))
    order = saga(participant, "/a", "/b", wait_result=True, retry_interval=1)
    await dtm.post("submit", order)
    assert (await dtm.transaction(order["gid"]))["next_cron_interval"] == 2
    await participant.until_called("/b")
    await check_rests_at(dtm, order["gid"], 1)


async def check_rests_at(dtm: Dtm, gid: str, interval: int) -> None:
    """Wait until the run rests with this interval, which is stored when it does."""
    with trio.fail_after(ANSWER_MAX_S):
        while (await dtm.transaction(gid))["next_cron_interval"] != interval:  # noqa: ASYNC110 - seen through a socket
            await trio.sleep(0.01)
