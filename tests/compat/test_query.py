"""Looking at transactions and stopping them: checks 20 to 32, with sagas for what DTM's own tests do with messages."""

from __future__ import annotations

import time
from datetime import datetime

import pytest

from tests.compat.dtm import SUCCESS, Dtm
from tests.compat.orders import new_gid, saga
from tests.compat.web import Participant, Reply


async def submitted(dtm: Dtm, count: int) -> list[str]:
    """So many succeeded sagas, oldest first."""
    gids = [new_gid() for _ in range(count)]
    for gid in gids:
        answer = await dtm.post("submit", {"gid": gid, "trans_type": "saga", "wait_result": True})
        assert answer.body == SUCCESS
    return gids


async def test_020_query_gives_the_transaction_and_its_branch_rows(dtm: Dtm, participant: Participant) -> None:
    order = saga(participant, "/a", wait_result=True, custom_data="{}", branch_headers={"k": "v"}, retry_interval=7)
    await dtm.post("submit", order)
    found = await dtm.query(order["gid"])
    assert list(found) == ["branches", "transaction"]
    transaction, (compensate, action) = found["transaction"], found["branches"]
    assert (transaction["gid"], transaction["trans_type"], transaction["status"]) == (order["gid"], "saga", "succeed")
    assert transaction["options"] == (
        '{"wait_result":true,"retry_interval":7,"branch_headers":{"k":"v"},"concurrent":false}'
    )
    assert (transaction["custom_data"], transaction["protocol"], transaction["concurrent"]) == ("{}", "http", False)
    assert 0 < transaction["id"] < 2**31
    assert (compensate["op"], compensate["branch_id"], compensate["url"]) == (
        "compensate",
        "01",
        f"{participant.url}/a-undo",
    )
    assert (action["op"], action["branch_id"], action["url"]) == ("action", "01", f"{participant.url}/a")
    assert action["bin_data"] == "eyJzdGVwIjogIi9hIn0="
    assert "finish_time" not in compensate
    for row, name in (
        (transaction, "create_time"),
        (transaction, "update_time"),
        (transaction, "next_cron_time"),
        (transaction, "finish_time"),
        (compensate, "create_time"),
        (compensate, "update_time"),
        (action, "finish_time"),
    ):
        assert abs(datetime.fromisoformat(row[name]).timestamp() - time.time()) < 60


async def test_021_query_without_a_gid_is_an_error(dtm: Dtm) -> None:
    for target in ("query", "query?gid="):
        answer = await dtm.get(target)
        assert (answer.status, answer.body) == (500, b'{"message":"no gid specified"}')


async def test_022_query_of_an_unknown_gid_finds_nothing(dtm: Dtm) -> None:
    answer = await dtm.get("query?gid=unknown")
    assert (answer.status, answer.body) == (200, b'{"branches":[],"transaction":null}')


async def test_023_024_pages_follow_each_other_to_the_last(fresh_dtm: Dtm) -> None:
    gids = await submitted(fresh_dtm, 3)
    seen: list[str] = []
    position = ""
    for _ in range(3):
        page = (await fresh_dtm.get(f"all?limit=1&position={position}")).json
        seen += [row["gid"] for row in page["transactions"]]
        position = page["next_position"]
        assert position
    assert seen == list(reversed(gids))
    assert (await fresh_dtm.get(f"all?limit=1&position={position}")).json == {"next_position": "", "transactions": []}
    assert (await fresh_dtm.get("all?limit=1000&position=")).json["next_position"] == ""


@pytest.mark.parametrize("limit", ["0", "-1", "1000"])
async def test_a_limit_of_nothing_is_everything(fresh_dtm: Dtm, limit: str) -> None:
    gids = await submitted(fresh_dtm, 3)
    page = (await fresh_dtm.get(f"all?limit={limit}")).json
    assert [row["gid"] for row in page["transactions"]] == list(reversed(gids))


async def test_025_all_with_a_gid_is_that_one(dtm: Dtm) -> None:
    (_, gid) = await submitted(dtm, 2)
    found = (await dtm.get(f"all?gid={gid}&position=echo")).json
    assert [row["gid"] for row in found["transactions"]] == [gid]
    assert found["next_position"] == "echo"
    unknown = await dtm.get("all?gid=unknown&position=7")
    assert unknown.body == b'{"next_position":"7","transactions":null}'


async def test_026_027_all_filters_by_status_type_and_time(fresh_dtm: Dtm, participant: Participant) -> None:
    before_ms = int(time.time() * 1000)
    gids = await submitted(fresh_dtm, 2)
    participant.replies("/a", Reply(status=500))
    unfinished = saga(participant, "/a", wait_result=True)
    await fresh_dtm.post("submit", unfinished)
    after_ms = int(time.time() * 1000)

    async def listed(query: str) -> list[str]:
        page = (await fresh_dtm.get(f"all?{query}")).json
        assert page["next_position"] == ""
        return [row["gid"] for row in page["transactions"]]

    window = f"createTimeStart={before_ms}&createTimeEnd={after_ms}"
    assert await listed(f"status=succeed&transType=saga&{window}") == list(reversed(gids))
    assert await listed(f"status=submitted&{window}") == [unfinished["gid"]]
    assert await listed(f"transType=msg&{window}") == []
    assert await listed(f"createTimeStart={before_ms - 10_000}&createTimeEnd={before_ms - 5_000}") == []
    assert await listed("status=nonsense") == []


@pytest.mark.parametrize("query", ["limit=x", "createTimeStart=zz", "createTimeEnd=1.5", "position=p", "limit=1e3"])
async def test_028_a_number_that_is_none_is_named(dtm: Dtm, query: str) -> None:
    answer = await dtm.get(f"all?{query}")
    assert answer.status == 500
    assert answer.json == {"message": f"convert to int error: {query.partition('=')[2]}"}


async def test_029_force_stop_fails_what_is_under_way_and_calls_nothing(dtm: Dtm, participant: Participant) -> None:
    participant.replies("/a", Reply(body=b"ONGOING"))
    order = saga(participant, "/a", wait_result=True)
    await dtm.post("submit", order)
    answer = await dtm.post("forceStop", {"gid": order["gid"]})
    assert (answer.status, answer.body) == (200, SUCCESS)
    found = await dtm.transaction(order["gid"])
    assert found["status"] == "failed"
    assert "rollback_time" in found
    assert "finish_time" not in found
    assert await dtm.rows(order["gid"]) == "P P"
    assert participant.paths == ["/a"]


async def test_029_force_stop_ends_a_call_in_flight(dtm: Dtm, participant: Participant) -> None:
    participant.replies("/a", Reply(delay_s=1.0))
    order = saga(participant, "/a", "/b")
    await dtm.post("submit", order)
    await participant.until_called("/a")
    assert (await dtm.post("forceStop", {"gid": order["gid"]})).body == SUCCESS
    assert (await dtm.transaction(order["gid"]))["status"] == "failed"
    assert participant.paths == ["/a"]


async def test_030_031_force_stop_of_a_finished_one_is_refused(dtm: Dtm, participant: Participant) -> None:
    (gid,) = await submitted(dtm, 1)
    before = await dtm.query(gid)
    del before["transaction"]["next_cron_time"]  # of what has ended it is the time of the question
    answer = await dtm.post("forceStop", {"gid": gid})
    assert answer.status == 409
    assert answer.json == {
        "dtm_result": "FAILURE",
        "message": "global transaction force stop error. status: succeed. error: FAILURE",
    }
    after = await dtm.query(gid)
    del after["transaction"]["next_cron_time"]
    assert after == before
    participant.replies("/a", Reply(body=b"ONGOING"))
    order = saga(participant, "/a", wait_result=True)
    await dtm.post("submit", order)
    assert (await dtm.post("forceStop", {"gid": order["gid"]})).status == 200
    again = await dtm.post("forceStop", {"gid": order["gid"]})
    assert again.status == 409
    assert "status: failed." in again.json["message"]


async def test_032_force_stop_of_an_unknown_gid_is_an_error(dtm: Dtm) -> None:
    answer = await dtm.post("forceStop", {"gid": "unknown"})
    assert (answer.status, answer.json) == (500, {"message": "no TransGlobal with gid: unknown found"})
