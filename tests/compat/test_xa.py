"""XA by every way in: checks 135 to 143 and 160; what the databases do is tried with real ones under interop."""

from __future__ import annotations

from typing import Any

from tests.compat.dtm import Dtm
from tests.compat.orders import new_gid, xa_branch
from tests.compat.ways import OK, HttpWay, Way
from tests.compat.web import Participant, Reply

ONGOING = Reply(status=425)
FAILS = Reply(status=500, body=b"out of order")


async def begun(to: Way, participant: Participant, *paths: str, **more: object) -> dict[str, Any]:
    """A prepared xa with branches 01, 02 ... registered; what submits or aborts it."""
    order: dict[str, Any] = {"gid": new_gid(), "trans_type": "xa", **more}
    assert await to.prepare(order) == OK
    for number, path in enumerate(paths, 1):
        assert await to.register(xa_branch(participant, order["gid"], f"{number:02}", path)) == OK
    return order


async def test_135_143_160_commits_come_in_order_as_posts_without_a_body(
    dtm: Dtm, way: type[Way], participant: Participant
) -> None:
    order = await begun(way(dtm), participant, "/a", "/b")
    assert await dtm.ops(order["gid"]) == ["01 rollback", "01 commit", "02 rollback", "02 commit"]
    assert await way(dtm).submit(order) == OK
    await dtm.until(order["gid"], "succeed")
    assert [(call.method, call.path, call.body) for call in participant.calls] == [
        ("POST", "/a", b""),
        ("POST", "/b", b""),
    ]
    assert participant.calls[0].query == f"branch_id=01&gid={order['gid']}&op=commit&trans_type=xa"
    assert await dtm.rows(order["gid"]) == "P S P S"


async def test_136_a_commit_that_was_not_heard_is_repeated(dtm: Dtm, way: type[Way], participant: Participant) -> None:
    participant.replies("/a", FAILS, Reply())
    order = await begun(way(dtm), participant, "/a", retry_interval=1)
    await way(dtm).submit(order)
    await dtm.until(order["gid"], "succeed")
    assert [call.params["op"] for call in participant.calls] == ["commit", "commit"]


async def test_137_160_an_abort_rolls_back_what_was_registered(
    dtm: Dtm, way: type[Way], participant: Participant
) -> None:
    order = await begun(way(dtm), participant, "/a")
    assert await way(dtm).abort({**order, "rollback_reason": "no money FAILURE"}) == OK
    found = await dtm.until(order["gid"], "failed")
    assert [(call.path, call.params["op"]) for call in participant.calls] == [("/a", "rollback")]
    assert await dtm.rows(order["gid"]) == "S P"
    assert found["rollback_reason"] == "no money FAILURE"


async def test_138_an_abort_before_any_branch_calls_nobody(dtm: Dtm, way: type[Way], participant: Participant) -> None:
    order = await begun(way(dtm), participant)
    assert await way(dtm).abort(order) == OK
    await dtm.until(order["gid"], "failed")
    assert await dtm.ops(order["gid"]) == []


async def test_139_140_an_xa_that_timed_out_fails(clocked: Dtm, participant: Participant) -> None:
    order = await begun(HttpWay(clocked), participant)
    assert (await clocked.visit(order["gid"], now_in_s=10))["status"] == "prepared"
    found = await clocked.visit(order["gid"], now_in_s=180)
    assert found["status"] == "failed"
    assert found["rollback_reason"].startswith("Timeout after ")
    assert (await HttpWay(clocked).submit(order)).kind == "failure"


async def test_141_a_commit_that_is_ongoing_is_visited_again(clocked: Dtm, participant: Participant) -> None:
    participant.replies("/b", ONGOING, Reply())
    order = await begun(HttpWay(clocked), participant, "/a", "/b", wait_result=True)
    assert (await HttpWay(clocked).submit(order)).kind == "ongoing"
    assert (await clocked.transaction(order["gid"]))["status"] == "submitted"
    assert (await clocked.visit(order["gid"]))["status"] == "succeed"
    assert participant.paths == ["/a", "/b", "/b"]


async def test_132_a_repeated_submit_still_commits_everything(
    dtm: Dtm, way: type[Way], participant: Participant
) -> None:
    # DTM answers the second one with success and never calls the rest (spec 12.1).
    participant.replies("/a", FAILS, Reply())
    order = await begun(way(dtm), participant, "/a", "/b", retry_interval=1)
    await way(dtm).submit(order)
    await participant.until_called("/a")
    assert await way(dtm).submit(order) == OK
    await dtm.until(order["gid"], "succeed")
    assert participant.paths.count("/b") == 1


async def test_125_a_branch_is_registered_once(dtm: Dtm, way: type[Way], participant: Participant) -> None:
    order = await begun(way(dtm), participant, "/a")
    assert (await way(dtm).register(xa_branch(participant, order["gid"], "01", "/a"))).kind == "error"
    assert await dtm.ops(order["gid"]) == ["01 rollback", "01 commit"]
