"""tcc and xa as blocks, against a server that answers as DTM does: what leaves a block decides the transaction."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import anyio
import pytest
import trio

from flowtx.client.async_client import AsyncDtmClient
from flowtx.client.blocks import REASON_LENGTH_MAX
from flowtx.client.branch_calls import BranchResult
from flowtx.client.errors import BranchFault, BranchIdError, ServerError, ServerRefused, ServerUnreachable
from flowtx.client.exchanges import ClientAnswer, ClientRequest
from flowtx.client.options import Options
from flowtx.client.sync_client import DtmClient
from flowtx_dsl.errors import FlowtxError, Ongoing, PayloadError, Refused, WorkflowError
from tests.flowtx.client.conftest import Runner
from tests.flowtx.client.genuine import GenuineDtm

OK = (200, b'{"paid": 30}')


class Stop(BaseException):
    """As KeyboardInterrupt, without stopping the tests."""


def participants(server: GenuineDtm, *, refused: str = "") -> str:
    """Let ``/out`` and ``/in`` answer; returns the address."""
    for path in ("/out", "/in"):
        server.participants[path] = lambda query, body: (409, b"no money") if query["op"] == refused else OK
    return server.url


def run(runner: Runner, server: GenuineDtm, main: Callable[[AsyncDtmClient], Awaitable[None]]) -> None:
    async def client() -> None:
        async with AsyncDtmClient(server.url, timeout_s=5.0) as dtm:
            await main(dtm)

    asyncio.run(client()) if runner == "asyncio" else trio.run(client)


def tcc(runner: Runner, server: GenuineDtm, paths: list[str], *, error: BaseException | None = None) -> list[Any]:
    """Run a tcc whose branches have these paths, and then raises; returns what the participants answered."""
    base, found = server.url, list[Any]()
    options = Options(branch_headers={"x-tenant": "7"}, request_timeout_s=9)

    def urls(path: str) -> dict[str, str]:
        return {"try_": f"{base}{path}?a=1", "confirm": f"{base}{path}", "cancel": f"{base}{path}"}

    async def main(dtm: AsyncDtmClient) -> None:
        async with dtm.tcc(options=options) as block:
            for path in paths:
                found.append((await block.call_branch(**urls(path), payload={"cents": 30})).read(dict[str, int]))
            if error is not None:
                raise error

    if runner != "threads":
        run(runner, server, main)
        return found
    with DtmClient(server.url, timeout_s=5.0).tcc(options=options) as block:
        for path in paths:
            found.append(block.call_branch(**urls(path), payload={"cents": 30}).read(dict[str, int]))
        if error is not None:
            raise error
    return found


def test_a_tcc_is_prepared_tried_branch_by_branch_and_submitted(runner: Runner, dtm_server: GenuineDtm) -> None:
    participants(dtm_server)
    assert tcc(runner, dtm_server, ["/out", "/in"]) == [{"paid": 30}, {"paid": 30}]
    assert dtm_server.paths() == [
        *("newGid", "prepare", "registerBranch", "try /out", "registerBranch", "try /in"),
        *("submit", "confirm /in", "confirm /out"),
    ]
    prepare, register, tried = dtm_server.asked[1:4]
    assert prepare.json == {
        "gid": "gid1",
        "trans_type": "tcc",
        "branch_headers": {"x-tenant": "7"},
        "request_timeout": 9,
    }
    assert register.json == {
        "gid": "gid1",
        "trans_type": "tcc",
        "branch_id": "01",
        "confirm": f"{dtm_server.url}/out",
        "cancel": f"{dtm_server.url}/out",
        "data": '{"cents":30}',
    }
    assert tried.query == {
        "a": "1",
        "branch_id": "01",
        "dtm": f"{dtm_server.url}/api/dtmsvr",
        "gid": "gid1",
        "op": "try",
        "trans_type": "tcc",
    }
    assert (tried.method, tried.body, tried.headers["Content-Type"]) == ("POST", b'{"cents":30}', "application/json")
    assert {name.lower(): value for name, value in tried.headers.items()}["x-tenant"] == "7"
    assert dtm_server.asked[6].json == prepare.json
    assert dtm_server.transactions["gid1"].status == "succeed"


def test_a_refused_try_cancels_every_branch_its_own_too(runner: Runner, dtm_server: GenuineDtm) -> None:
    participants(dtm_server)
    dtm_server.participants["/in"] = lambda query, body: (
        (409, b'{"dtm_result":"FAILURE","message":"no such account"}') if query["op"] == "try" else OK
    )
    with pytest.raises(Refused, match=r"try of branch 02 of gid1 at .*/in.* was refused: no such account"):
        tcc(runner, dtm_server, ["/out", "/in"])
    assert dtm_server.paths()[-3:] == ["abort", "cancel /in", "cancel /out"]
    abort = dtm_server.asked[-3].json
    assert abort["rollback_reason"].endswith("was refused: no such account")
    assert dtm_server.transactions["gid1"].status == "failed"


@pytest.mark.parametrize("error", [ValueError("x" * 5000), Stop("stopped"), KeyError(), Refused("no")])
def test_whatever_leaves_the_block_aborts_and_reaches_the_caller(
    runner: Runner, dtm_server: GenuineDtm, error: BaseException
) -> None:
    participants(dtm_server)
    with pytest.raises(type(error)) as raised:
        tcc(runner, dtm_server, ["/out"], error=error)
    assert raised.value is error
    assert dtm_server.paths()[-2:] == ["abort", "cancel /out"]
    reason = dtm_server.asked[-2].json["rollback_reason"]
    said = error.message if isinstance(error, FlowtxError) else str(error)
    assert reason == (said or type(error).__name__)[:REASON_LENGTH_MAX]


@pytest.mark.parametrize(
    ("answer", "kind", "complaint"),
    [
        ((425, b"later"), Ongoing, "not finished: later"),
        ((200, b'{"dtm_result":"ONGOING"}'), Ongoing, "not finished"),
        ((409, b""), Refused, "refused: status 409"),
        ((500, b'{"error":"FAILURE: no"}'), Refused, "refused: FAILURE: no"),
        ((200, b"FAILURE"), Refused, "refused: FAILURE"),
        ((500, b"oops"), BranchFault, "answered with 500, expected 200: oops"),
        ((204, b""), BranchFault, "answered with 204"),
        (None, BranchFault, "had no whole answer"),
    ],
)
def test_a_participants_answer_means_what_it_means_to_the_server(
    dtm_server: GenuineDtm, answer: tuple[int, bytes] | None, kind: type[FlowtxError], complaint: str
) -> None:
    dtm_server.broken["/out"] = answer
    with pytest.raises(kind, match=complaint) as raised:
        tcc("threads", dtm_server, ["/out"])
    assert type(raised.value) is kind
    assert "abort" in dtm_server.paths()


def test_a_server_that_cannot_be_told_of_the_abort_leaves_the_error_and_a_note(
    runner: Runner, dtm_server: GenuineDtm
) -> None:
    participants(dtm_server)
    dtm_server.broken["/api/dtmsvr/abort"] = None
    with pytest.raises(ValueError, match="mine") as raised:
        tcc(runner, dtm_server, ["/out"], error=ValueError("mine"))
    assert "could not be aborted, and is aborted by the server" in raised.value.__notes__[0]


def test_a_lost_submit_is_not_to_be_repeated(runner: Runner, dtm_server: GenuineDtm) -> None:
    participants(dtm_server)
    dtm_server.broken["/api/dtmsvr/submit"] = None
    with pytest.raises(ServerUnreachable, match="Query the gid"):
        tcc(runner, dtm_server, ["/out"])
    assert "abort" not in dtm_server.paths()


def test_a_transaction_that_is_over_cannot_be_prepared_again(dtm_server: GenuineDtm) -> None:
    dtm = DtmClient(dtm_server.url)
    with dtm.tcc("g-1"):
        pass
    with pytest.raises(ServerRefused, match="current status 'succeed', cannot prepare"), dtm.tcc("g-1"):
        pytest.fail("the block of a transaction that is over was entered")
    assert dtm_server.paths() == ["prepare", "submit", "prepare"]


def test_a_payload_that_is_no_data_calls_nobody(dtm_server: GenuineDtm) -> None:
    dtm = DtmClient(dtm_server.url)
    with pytest.raises(PayloadError, match="payload of branch 01 of tcc g-1"), dtm.tcc("g-1") as block:
        block.call_branch(try_="http://a", confirm="", cancel="", payload=object())
    assert dtm_server.paths() == ["prepare", "abort"]


def test_a_branch_outside_its_block_is_refused(dtm_server: GenuineDtm) -> None:
    dtm = DtmClient(dtm_server.url)
    block = dtm.tcc("g-1")
    with pytest.raises(WorkflowError, match="outside its block"):
        block.call_branch(try_="http://a", confirm="", cancel="")
    with block:
        pass
    with pytest.raises(WorkflowError, match="outside its block"):
        block.call_branch(try_="http://a", confirm="", cancel="")


@pytest.mark.parametrize(
    "urls", [("hotel/book", "", ""), ("http://h/", "hotel/book", ""), ("http://h/", "", "h:1/S/M")]
)
def test_an_address_that_is_none_is_refused_before_the_branch_is_known(
    dtm_server: GenuineDtm, urls: tuple[str, str, str]
) -> None:
    dtm = DtmClient(dtm_server.url)
    with pytest.raises(WorkflowError, match=r"has the URL '.*', expected http"), dtm.tcc("g-1") as block:
        block.call_branch(try_=urls[0], confirm=urls[1], cancel=urls[2])
    assert dtm_server.paths() == ["prepare", "abort"]


def test_a_participant_calls_branches_below_its_own(runner: Runner, dtm_server: GenuineDtm) -> None:
    base = participants(dtm_server)
    urls = {"try_": f"{base}/in", "confirm": f"{base}/in", "cancel": f"{base}/in"}

    def nested(query: dict[str, str]) -> None:
        async def main(dtm: AsyncDtmClient) -> None:
            async with dtm.join_tcc(query) as inner:
                await inner.call_branch(**urls)
                await inner.call_branch(**urls)

        if runner != "threads":
            return run(runner, dtm_server, main)
        inner = DtmClient(base).join_tcc(query)
        inner.call_branch(**urls)
        inner.call_branch(**urls)
        return None

    def out(query: dict[str, str], body: bytes) -> tuple[int, bytes]:
        if query["op"] == "try":
            nested(query)
        return OK

    dtm_server.participants["/out"] = out
    tcc(runner, dtm_server, ["/out"])
    trans = dtm_server.transactions["gid1"]
    assert [row.branch_id for row in trans.rows if row.op == "confirm"] == ["01", "0101", "0102"]
    assert trans.status == "succeed"
    assert dtm_server.paths().count("submit") == dtm_server.paths().count("prepare") == 1


def test_only_a_request_of_a_tcc_can_be_joined_as_one() -> None:
    dtm = DtmClient("http://dtm:36789")
    for query in ({}, {"trans_type": "xa", "gid": "g", "branch_id": "01"}, {"trans_type": "tcc", "gid": "g"}):
        with pytest.raises(WorkflowError, match="expected a tcc with both"):
            dtm.join_tcc(query)
    with pytest.raises(WorkflowError, match="expected a xa with both"):
        dtm.join_xa({"trans_type": "tcc", "gid": "g", "branch_id": "01"})
    deep = {"trans_type": "tcc", "gid": "g", "branch_id": "01" * 10}
    with pytest.raises(BranchIdError, match="20 characters"):
        dtm.join_tcc(deep).call_branch(try_="http://a", confirm="", cancel="")


def test_an_xa_participant_is_called_with_where_the_second_phase_goes(runner: Runner, dtm_server: GenuineDtm) -> None:
    base = dtm_server.url

    def participant(query: dict[str, str], body: bytes) -> tuple[int, bytes]:
        if query["op"] == "action":
            fields = {name: query[name] for name in ("gid", "branch_id", "trans_type")}
            DtmClient(query["dtm"]).register_xa(fields, query["phase2_url"])
        return OK

    dtm_server.participants |= {"/out": participant, "/out-phase2": participant, "/in": participant}
    answers: list[BranchResult] = []

    async def main(dtm: AsyncDtmClient) -> None:
        async with dtm.xa("g-1") as xa:
            answers.append(await xa.call_branch(f"{base}/out", payload=7, phase2_url=f"{base}/out-phase2"))
            answers.append(await xa.call_branch(f"{base}/in"))

    if runner == "threads":
        with DtmClient(base).xa("g-1") as xa:
            answers.append(xa.call_branch(f"{base}/out", payload=7, phase2_url=f"{base}/out-phase2"))
            answers.append(xa.call_branch(f"{base}/in"))
    else:
        run(runner, dtm_server, main)
    assert [answer.body for answer in answers] == [OK[1], OK[1]]
    assert dtm_server.paths() == [
        *("prepare", "action /out", "registerBranch", "action /in", "registerBranch"),
        *("submit", "commit /out-phase2", "commit /in"),
    ]
    assert dtm_server.asked[1].body == b"7"
    assert dtm_server.asked[-1].method == "POST"
    assert dtm_server.transactions["g-1"].status == "succeed"


@pytest.mark.parametrize("loop", ["trio", "asyncio"])
def test_a_cancelled_block_still_aborts(loop: Runner, dtm_server: GenuineDtm) -> None:
    base = participants(dtm_server)

    async def main(dtm: AsyncDtmClient) -> None:
        with anyio.CancelScope() as scope:
            async with dtm.tcc() as block:
                await block.call_branch(try_=f"{base}/out", confirm="", cancel=f"{base}/out")
                scope.cancel()
                await anyio.sleep_forever()
        assert scope.cancelled_caught

    run(loop, dtm_server, main)
    assert dtm_server.paths()[-2:] == ["abort", "cancel /out"]


@pytest.mark.parametrize("loop", ["trio", "asyncio"])
def test_a_cancelled_block_does_not_wait_for_a_silent_server(loop: Runner, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("flowtx.client.operations.LAST_WORD_S", 0.2)

    async def send(request: ClientRequest) -> ClientAnswer:
        if request.url.endswith("abort"):
            await anyio.sleep_forever()
        return ClientAnswer(status=200, body=b'{"dtm_result":"SUCCESS"}')

    async def main() -> None:
        async with AsyncDtmClient("http://dtm:1", send=send) as dtm:
            with pytest.raises(ValueError, match="mine") as raised:
                async with dtm.tcc("g-1"):
                    raise ValueError("mine")
            assert "nothing within 0.2 seconds" in raised.value.__notes__[0]

    asyncio.run(main()) if loop == "asyncio" else trio.run(main)


def test_the_server_says_which_branch_it_had_already(dtm_server: GenuineDtm) -> None:
    dtm = DtmClient(dtm_server.url)
    query = {"gid": "g-1", "branch_id": "01", "trans_type": "xa"}
    with dtm.xa("g-1"):
        dtm.register_xa(query, f"{participants(dtm_server)}/out")
        with pytest.raises(ServerError, match="UniqueKeyConflict"):
            dtm.register_xa(query, "http://a")
