"""Sagas that are prepared, and those that somebody would abort: checks 32, 84, 110, 111 and 163."""

from __future__ import annotations

import trio

from tests.compat.dtm import Dtm
from tests.compat.orders import saga
from tests.compat.ways import OK, Way
from tests.compat.web import Participant, Reply

REFUSES = Reply(status=409, body=b'{"error":"not enough money"}')
ONGOING = Reply(status=425, body=b"")
FAILS = Reply(status=500, body=b"out of order")


async def test_084_163_a_finished_saga_is_neither_submitted_nor_prepared_again(
    dtm: Dtm, way: type[Way], participant: Participant
) -> None:
    order = saga(participant, "/a", wait_result=True)
    assert await way(dtm).submit(order) == OK
    again = await way(dtm).submit(order)
    assert (again.kind, again.message) == ("failure", "current status 'succeed', cannot sumbmit. FAILURE")
    prepared = await way(dtm).prepare(order)
    assert (prepared.kind, prepared.message) == ("failure", "current status 'succeed', cannot prepare. FAILURE")


async def test_110_a_saga_is_not_aborted_from_outside(dtm: Dtm, way: type[Way], participant: Participant) -> None:
    participant.replies("/a", ONGOING)
    order = saga(participant, "/a", wait_result=True)
    await way(dtm).submit(order)
    told = await way(dtm).abort({"gid": order["gid"], "trans_type": "saga"})
    assert told.kind == "failure"
    assert told.message == "trans type: 'saga' current status 'submitted', cannot abort. FAILURE"


async def test_111_a_saga_that_is_only_prepared_is_not_called_until_it_is_submitted(
    dtm: Dtm, way: type[Way], participant: Participant
) -> None:
    order = saga(participant, "/a", "/b", timeout_to_fail=1)
    assert await way(dtm).prepare(order) == OK
    assert await dtm.rows(order["gid"]) == "P P P P"
    await trio.sleep(1.5)
    assert (await dtm.transaction(order["gid"]))["status"] == "prepared"
    assert participant.calls == []


async def test_111_a_prepared_saga_is_submitted(dtm: Dtm, way: type[Way], participant: Participant) -> None:
    order = saga(participant, "/a", "/b", wait_result=True)
    assert await way(dtm).prepare(order) == OK
    assert await way(dtm).submit(order) == OK
    assert participant.paths == ["/a", "/b"]
    assert await dtm.rows(order["gid"]) == "P S P S"


async def test_032_162_an_unknown_gid_cannot_be_aborted(dtm: Dtm, way: type[Way]) -> None:
    told = await way(dtm).abort({"gid": "unknown", "trans_type": "tcc"})
    assert (told.kind, told.message) == ("error", "no TransGlobal with gid: unknown found")
