"""xa branches on real PostgreSQL and MariaDB: prepared once, ended once, and never after they were rolled back."""

from __future__ import annotations

import asyncio
import json
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, cast

import pytest
from sqlalchemy import Connection, NullPool, text
from sqlalchemy.ext.asyncio import AsyncConnection, create_async_engine
from sqlalchemy.orm import Session

from flowtx.client.async_client import AsyncDtmClient
from flowtx.client.barrier import Ran, Skipped, Why
from flowtx.client.barrier_dbapi import DbApiConnection
from flowtx.client.errors import BarrierError, ServerRefused, XaError
from flowtx.client.exchanges import ClientAnswer, ClientRequest
from flowtx.client.participants import BranchRequest, Participant
from flowtx.client.sync_client import DtmClient
from flowtx.client.xa_branch import XaBranch
from flowtx.client.xa_statements import statements_of
from flowtx_dsl.errors import Ongoing, Refused
from tests.flowtx.client.conftest import AnyConnection, Bank, made_bank
from tests.flowtx.client.genuine import GenuineDtm, Said

XaWay = Literal["connection", "plain driver"]
REPEATED, SECOND = Skipped(Why.REPEATED_OR_LATE), Skipped(Why.SECOND_PHASE)
OUT = "http://bank/out"
SUCCESS = ClientAnswer(status=200, body=b'{"dtm_result":"SUCCESS"}')


@dataclass
class Dtm:
    """A server that takes every branch, or none."""

    answer: ClientAnswer = SUCCESS
    requests: list[ClientRequest] = field(default_factory=list[ClientRequest])

    def client(self) -> DtmClient:
        def send(request: ClientRequest) -> ClientAnswer:
            self.requests.append(request)
            return self.answer

        return DtmClient("http://dtm:1", send=send)


@dataclass
class Branch:
    """One branch in one bank, called in one way."""

    bank: Bank
    way: XaWay
    dtm: Dtm = field(default_factory=Dtm)

    def __post_init__(self) -> None:
        # MySQL holds 64 bytes; and whatever a gid may hold must not matter.
        self.gid = f"{self.bank.gid}'\"\\%:x ü"

    def call(self, op: str, business: Callable[[Any], object] | None = None) -> object:
        query = {"gid": self.gid, "branch_id": "01", "op": op, "trans_type": "xa", "phase2_url": OUT}
        branch = XaBranch.from_query(query)
        with self.bank.open(self.way) as connection:
            assert not isinstance(connection, Session)

            def pay(same: AnyConnection) -> str:
                return self.bank.note(same, "paid")

            return branch.call(connection, business or pay, dtm=self.dtm.client())


@pytest.fixture(params=["connection", "plain driver"])
def branch(request: pytest.FixtureRequest, server_bank: Bank) -> Iterator[Branch]:
    branch = Branch(bank=server_bank, way=request.param)
    yield branch
    branch.call("rollback")  # or a failing test's locks would keep the ledger from being dropped


def prepared(bank: Bank) -> int:
    """How many branches of this test's gid the database lists as prepared."""
    with bank.engine.connect() as connection:
        if bank.dialect == "postgresql":
            rows = [str(row[0]) for row in connection.execute(text("select gid from pg_prepared_xacts"))]
        else:
            found = [row[3] for row in connection.exec_driver_sql("XA RECOVER")]
            rows = [each.decode() if isinstance(each, bytes) else str(each) for each in found]
    return sum(row.startswith(bank.gid) for row in rows)


def test_a_branch_is_prepared_and_then_committed_once(branch: Branch) -> None:
    assert branch.call("action") == Ran("paid")
    assert (branch.bank.notes(), prepared(branch.bank)) == ([], 1)
    assert branch.call("action") == REPEATED
    assert branch.call("commit") == SECOND
    assert (branch.bank.notes(), prepared(branch.bank)) == (["paid"], 0)
    assert branch.call("commit") == SECOND
    assert branch.call("action") == REPEATED
    assert branch.bank.notes() == ["paid"]


def test_a_branch_is_prepared_and_then_rolled_back(branch: Branch) -> None:
    assert branch.call("action") == Ran("paid")
    for _ in range(2):
        assert branch.call("rollback") == SECOND
    assert (branch.bank.notes(), prepared(branch.bank)) == ([], 0)
    with pytest.raises(Refused, match="was rolled back before it came"):
        branch.call("action")
    assert prepared(branch.bank) == 0


def test_what_is_rolled_back_before_it_came_prepares_nothing(branch: Branch) -> None:
    assert branch.call("rollback") == SECOND
    with pytest.raises(Refused, match="was rolled back before it came"):
        branch.call("action", lambda _: pytest.fail("business ran"))
    assert prepared(branch.bank) == 0


def test_the_server_knows_of_a_branch_before_it_is_prepared(branch: Branch) -> None:
    seen: list[int] = []

    def business(same: AnyConnection) -> None:
        seen.append(len(branch.dtm.requests))

    branch.call("action", business)
    assert seen == [0]
    [request] = branch.dtm.requests
    assert request.url == "http://dtm:1/api/dtmsvr/registerBranch"

    assert json.loads(request.body) == {"gid": branch.gid, "branch_id": "01", "trans_type": "xa", "url": OUT}
    branch.call("rollback")


def test_a_branch_that_the_server_does_not_take_prepares_nothing(branch: Branch) -> None:
    branch.dtm.answer = ClientAnswer(status=409, body=b"no trans with gid FAILURE")
    with pytest.raises(ServerRefused):
        branch.call("action")
    assert (branch.bank.notes(), prepared(branch.bank)) == ([], 0)
    branch.dtm.answer = SUCCESS
    assert branch.call("action") == Ran("paid")
    branch.call("rollback")


def test_failing_business_prepares_nothing_and_leaves_no_row(branch: Branch) -> None:
    def business(same: AnyConnection) -> None:
        branch.bank.note(same, "half")
        raise Refused("no money")

    with pytest.raises(Refused, match="no money"):
        branch.call("action", business)
    assert (branch.bank.notes(), prepared(branch.bank)) == ([], 0)
    assert branch.call("action") == Ran("paid")
    assert branch.call("commit") == SECOND
    assert branch.bank.notes() == ["paid"]


def test_a_connection_in_a_transaction_is_refused_and_keeps_its_work(branch: Branch) -> None:
    with branch.bank.open(branch.way) as connection:
        branch.bank.note(connection, "mine")
        query = {"gid": branch.gid, "branch_id": "01", "op": "action", "trans_type": "xa", "phase2_url": OUT}
        for op in ("action", "commit"):
            with pytest.raises(BarrierError, match="in a transaction already"):
                XaBranch.from_query({**query, "op": op}).call(
                    cast("DbApiConnection", connection), lambda _: None, dtm=branch.dtm.client()
                )
        cast("DbApiConnection", connection).commit()
    assert branch.bank.notes() == ["mine"]


def test_an_sqlalchemy_connection_can_be_used_again(server_bank: Bank) -> None:
    dtm = Dtm().client()

    def branch(number: int, op: str) -> XaBranch:
        return XaBranch(gid=server_bank.gid, branch_id=f"{number:02d}", op=op, phase2_url=OUT)

    with server_bank.engine.connect() as connection:
        level = connection.get_isolation_level()
        connection.rollback()
        for number in (1, 2):
            branch(number, "action").call(connection, lambda same: server_bank.note(same, "paid"), dtm=dtm)
        for op in ("commit", "rollback", "commit"):
            branch(1 if op == "commit" else 2, op).call(connection, lambda _: None, dtm=dtm)
        assert connection.get_isolation_level() == level
        assert server_bank.notes() == ["paid"]


def test_mariadb_is_asked_again_while_the_session_that_prepared_lives(tmp_path: Path) -> None:
    with made_bank("mysql", tmp_path) as bank:
        action = XaBranch(gid=bank.gid, branch_id="01", op="action", phase2_url=OUT)
        commit = XaBranch(gid=bank.gid, branch_id="01", op="commit")
        names = statements_of("mysql", action.xid)
        with bank.engine.connect() as first, bank.engine.connect() as second:
            for statement in (names.start, f"insert into {bank.ledger} (note) values ('paid')"):
                first.exec_driver_sql(statement)
            with pytest.raises(Ongoing, match="is being prepared by another call"):
                action.call(second, lambda _: None, dtm=Dtm().client())
            for statement in (names.end, names.prepare):
                first.exec_driver_sql(statement)
            with pytest.raises(Ongoing, match="its session has not ended yet"):
                commit.call(second, lambda _: None, dtm=Dtm().client())
            first.invalidate()
            first.rollback()
            pause = threading.Event()
            for _ in range(100):
                try:
                    commit.call(second, lambda _: None, dtm=Dtm().client())
                    break
                except Ongoing:
                    pause.wait(0.05)
        assert bank.notes() == ["paid"]


def repeat(branch: Branch, op: str) -> None:
    """Call as the server does: again, while it is ongoing."""
    pause = threading.Event()
    for _ in range(100):
        try:
            branch.call(op)
            return
        except Ongoing:
            pause.wait(0.05)
    raise AssertionError(f"{op} is ongoing for ever")


def test_a_rollback_that_overtakes_the_first_phase_ends_it_all_the_same(branch: Branch) -> None:
    inside, overtaken, errors = threading.Event(), threading.Event(), list[BaseException]()

    def business(same: AnyConnection) -> str:
        inside.set()
        assert overtaken.wait(20)
        return branch.bank.note(same, "paid")

    def run(op: str) -> None:
        try:
            branch.call(op, business)
        except BaseException as error:
            errors.append(error)

    first = threading.Thread(target=run, args=("action",))
    first.start()
    assert inside.wait(20)
    overtaking = threading.Thread(target=run, args=("rollback",))
    overtaking.start()  # it waits for the row that the first phase has written
    overtaken.set()
    first.join(20)
    repeat(branch, "rollback")  # as the server repeats what was not answered, or is ongoing
    overtaking.join(20)
    assert not first.is_alive()
    assert not overtaking.is_alive()
    assert [each for each in errors if not isinstance(each, Refused | Ongoing)] == []
    assert (branch.bank.notes(), prepared(branch.bank)) == ([], 0)
    with pytest.raises(Refused, match="was rolled back"):
        branch.call("action")


def test_postgresql_is_asked_on_asyncio_too(tmp_path: Path) -> None:
    async def main(bank: Bank) -> None:
        engine = create_async_engine(bank.engine.url, poolclass=NullPool)

        async def send(request: ClientRequest) -> ClientAnswer:
            return SUCCESS

        async def call(op: str, business: Any) -> object:
            branch = XaBranch(gid=bank.gid, branch_id="01", op=op, phase2_url=OUT)
            async with engine.connect() as connection:
                return await branch.call_async(connection, business, dtm=dtm)

        async def pay(connection: AsyncConnection) -> str:
            await connection.execute(text(f"insert into {bank.ledger} (note) values ('paid')"))
            return "paid"

        async def fail(connection: AsyncConnection) -> None:
            await pay(connection)
            raise ValueError("broken")

        async with AsyncDtmClient("http://dtm:1", send=send) as dtm:
            with pytest.raises(ValueError, match="broken"):
                await call("action", fail)
            assert await call("action", pay) == Ran("paid")
            assert await call("action", fail) == REPEATED
            assert bank.notes() == []
            assert await call("commit", fail) == SECOND
            assert bank.notes() == ["paid"]
            assert await call("action", fail) == REPEATED
        await engine.dispose()

    with made_bank("postgresql", tmp_path) as bank:
        asyncio.run(main(bank))


@pytest.fixture
def two_banks(tmp_path: Path) -> Iterator[dict[str, Bank]]:
    with made_bank("postgresql", tmp_path) as first, made_bank("mysql", tmp_path) as second:
        yield {"/out": first, "/in": second}


def serve(server: GenuineDtm, banks: dict[str, Bank], *, refusing: str = "") -> None:
    """Let each path be a participant in its bank."""

    def participant(path: str) -> Callable[[dict[str, str], bytes], Said]:
        def handle(call: BranchRequest) -> None:
            def business(connection: Connection) -> None:
                banks[path].note(connection, path)
                if path == refusing:
                    raise Refused("no money")

            with banks[path].engine.connect() as connection:
                XaBranch.from_query(call.query).call(connection, business, dtm=DtmClient(server.url))

        endpoint = Participant(handle)

        def answer(query: dict[str, str], body: bytes) -> Said:
            reply = endpoint.call(BranchRequest(query=query, body=body), {})
            return reply.status, reply.body

        return answer

    server.participants |= {path: participant(path) for path in banks}


def test_two_databases_commit_together(dtm_server: GenuineDtm, two_banks: dict[str, Bank]) -> None:
    serve(dtm_server, two_banks)
    with DtmClient(dtm_server.url).xa(two_banks["/out"].gid) as xa:
        for path in two_banks:
            xa.call_branch(f"{dtm_server.url}{path}")
    assert [bank.notes() for bank in two_banks.values()] == [["/out"], ["/in"]]
    assert dtm_server.transactions[xa.gid].status == "succeed"


def test_two_databases_roll_back_together(dtm_server: GenuineDtm, two_banks: dict[str, Bank]) -> None:
    serve(dtm_server, two_banks, refusing="/in")
    dtm, gid = DtmClient(dtm_server.url), two_banks["/out"].gid
    with pytest.raises(Refused, match="no money"), dtm.xa(gid) as xa:
        _ = [xa.call_branch(f"{dtm_server.url}{path}") for path in two_banks]
    assert [bank.notes() for bank in two_banks.values()] == [[], []]
    assert dtm_server.transactions[gid].status == "failed"


@pytest.mark.parametrize(
    ("query", "complaint"),
    [
        ({"op": "try"}, "op is 'try'"),
        ({"trans_type": "tcc"}, "trans_type is 'tcc', expected 'xa'"),
        ({"phase2_url": ""}, "has no phase2_url"),
    ],
)
def test_a_request_that_xa_does_not_know_is_refused(query: dict[str, str], complaint: str) -> None:
    good = {"gid": "g", "branch_id": "01", "op": "action", "trans_type": "xa", "phase2_url": OUT}
    with pytest.raises(XaError, match=complaint):
        XaBranch.from_query({**good, **query})


def test_what_cannot_be_prepared_is_told_before_anything_is_done(bank: Bank) -> None:
    long = XaBranch(gid="x" * 128, branch_id="01" * 36, op="action", phase2_url=OUT)
    with bank.engine.connect() as connection:
        with pytest.raises(
            XaError, match="SQLite has no prepared" if bank.dialect == "sqlite" else "bytes, expected at"
        ):
            long.call(connection, lambda _: pytest.fail("business ran"), dtm=Dtm().client())
        assert not connection.in_transaction()
    with Session(bank.engine) as session, pytest.raises(XaError, match="Session"):
        long.call(cast("DbApiConnection", session), lambda _: pytest.fail("business ran"), dtm=Dtm().client())


@pytest.mark.parametrize("gid", ["a'; drop table x; --", "\\", "ü", "\U0001f600", 'a"b', "plain-1_A"])
def test_no_gid_can_become_sql(gid: str) -> None:
    for statement in (statements_of("mysql", gid).prepare, statements_of("postgresql", gid).prepare):
        quoted = statement.partition("'")[2]
        assert quoted.endswith("'")
        assert set(quoted[:-1]) <= set("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_-\\")
