"""DTM's workflow mode with branches that are prepared in a database: PostgreSQL and MariaDB, crashed anywhere."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Connection, text
from sqlalchemy.ext.asyncio import AsyncConnection, create_async_engine

from flowtx.client.async_client import AsyncDtmClient
from flowtx.client.async_workflows import AsyncWorkflow, AsyncWorkflows
from flowtx.client.errors import ClientError
from flowtx.client.sync_client import DtmClient
from flowtx.client.workflows import Workflow, Workflows
from flowtx.client.xa_branch import XaBranch
from flowtx_dsl.errors import Refused, WorkflowError
from tests.flowtx.client.conftest import Bank, made_bank
from tests.flowtx.client.genuine import Asked, GenuineDtm, Said


@dataclass
class World:
    """A workflow of two branches in one bank; ``seats`` are what business returns, one a run."""

    bank: Bank
    dtm: GenuineDtm
    gid: str
    is_refused: bool = False
    seats: list[int] = field(default_factory=lambda: [7] * 9)
    runs: list[str] = field(default_factory=list[str])

    def pay(self, connection: Connection) -> int:
        self.bank.note(connection, "paid")
        self.runs.append("pay")
        return self.seats[len(self.runs) - 1]

    def trip(self, workflow: Workflow, traveller: str) -> str:
        seat = workflow.do_xa(self.bank.engine.connect, self.pay)
        if self.is_refused:
            raise Refused("changed my mind")
        return f"{traveller} has seat {seat}"

    def execute(self) -> str:
        workflows = Workflows(DtmClient(self.dtm.url), f"{self.dtm.url}/resume")
        workflows.register(self.trip, name="trip")
        return workflows.execute(self.trip, "alice", gid=self.gid)

    def ops(self) -> list[tuple[str, str, str, bytes]]:
        rows = self.dtm.transactions[self.gid].rows
        return [(row.branch_id, row.op, row.status, row.data) for row in rows]

    def prepared(self) -> int:
        """How many branches the database lists as prepared."""
        with self.bank.engine.connect() as connection:
            if self.bank.dialect == "postgresql":
                found = [str(row[0]) for row in connection.execute(text("select gid from pg_prepared_xacts"))]
            else:
                found = [str(row[3]) for row in connection.exec_driver_sql("XA RECOVER")]
        return sum(self.gid in each for each in found)


@pytest.fixture
def world(server_bank: Bank, dtm_server: GenuineDtm) -> World:
    return World(server_bank, dtm_server, server_bank.gid)


def test_it_is_committed_with_the_workflow(world: World) -> None:
    assert world.execute() == "alice has seat 7"
    assert (world.bank.notes(), world.prepared()) == (["paid"], 0)
    assert world.ops() == [
        ("01", "business", "succeed", b"7"),
        ("01", "action", "succeed", b"7"),
        ("01", "commit", "succeed", b""),
    ]
    assert (world.execute(), world.runs) == ("alice has seat 7", ["pay"])


def test_it_is_rolled_back_with_the_workflow(world: World) -> None:
    world.is_refused = True
    with pytest.raises(Refused, match="changed my mind"):
        world.execute()
    assert (world.bank.notes(), world.prepared()) == ([], 0)
    assert world.ops()[-1] == ("01", "rollback", "succeed", b"")
    assert world.dtm.transactions[world.gid].status == "failed"


def test_refused_business_prepares_nothing_and_rolls_back(world: World) -> None:
    def pay(connection: Connection) -> int:
        world.bank.note(connection, "paid")
        raise Refused("no money")

    world.pay = pay  # type: ignore[method-assign]  # a bank without money
    with pytest.raises(Refused, match="no money"):
        world.execute()
    assert (world.bank.notes(), world.prepared()) == ([], 0)
    assert world.ops() == [("01", "action", "failed", b"no money")]


def cut_after(world: World, requests: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """The first so many requests get through, and the client dies with the next."""
    answer, count = world.dtm.answer, 0

    def cut(asked: Asked) -> Said | None:
        nonlocal count
        count += 1
        return answer(asked) if count <= requests else None

    monkeypatch.setattr(world.dtm, "answer", cut)


@pytest.mark.parametrize("requests", range(1, 6))
@pytest.mark.parametrize("is_refused", [False, True])
def test_cut_off_anywhere_it_goes_on_there(
    world: World, requests: int, is_refused: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    world.is_refused = is_refused
    with monkeypatch.context() as patch:
        cut_after(world, requests, patch)
        try:
            world.execute()
        except ClientError as error:
            assert "no whole answer" in error.message  # noqa: PT017 - the last may get through
        except Refused:
            pass
    if is_refused:
        with pytest.raises(Refused, match="changed my mind"):
            world.execute()
    else:
        assert world.execute() == "alice has seat 7"
    assert (world.bank.notes(), world.prepared()) == ([] if is_refused else ["paid"], 0)
    # Run again only where nothing had been prepared: before the server knew that it would be.
    assert len(world.runs) == (2 if requests == 1 else 1)


class Died(BaseException):
    """The process ends here."""


def die_before_preparing(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    def die(*_: object) -> None:
        raise Died

    with monkeypatch.context() as patch:
        patch.setattr("flowtx.client.xa_branch.XaBranch._prepare", die)
        with pytest.raises(Died):
            world.execute()
    assert world.ops() == [("01", "business", "succeed", b"7")]


def test_what_was_announced_and_not_prepared_is_run_again(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    die_before_preparing(world, monkeypatch)
    assert world.execute() == "alice has seat 7"
    assert (world.bank.notes(), world.prepared(), world.runs) == (["paid"], 0, ["pay", "pay"])


def test_it_is_rolled_back_where_running_it_again_gives_another_result(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    die_before_preparing(world, monkeypatch)
    world.seats = [7, 8]
    with pytest.raises(Refused, match="was 7, and is 8 when repeated"):
        world.execute()
    assert (world.bank.notes(), world.prepared()) == ([], 0)
    assert world.dtm.transactions[world.gid].status == "failed"


def test_a_gid_whose_branch_somebody_else_prepared_is_told_apart(world: World) -> None:
    with world.bank.engine.connect() as connection:
        XaBranch(gid=world.gid, branch_id="01", op="action", phase2_url="-").prepare(connection, world.pay, print)
    with pytest.raises(WorkflowError, match="is prepared in the database, or was committed, and not by this workflow"):
        world.execute()
    with world.bank.engine.connect() as connection:
        XaBranch(gid=world.gid, branch_id="01", op="rollback").finish(connection)
    assert world.prepared() == 0


def test_on_asyncio(tmp_path: Path, dtm_server: GenuineDtm) -> None:
    with made_bank("postgresql", tmp_path) as bank:

        async def pay(connection: AsyncConnection) -> int:
            await connection.execute(text(f"insert into {bank.ledger} (note) values ('paid')"))
            return 7

        async def main() -> list[Any]:
            engine = create_async_engine(bank.engine.url)

            async def trip(workflow: AsyncWorkflow, is_refused: bool) -> int:
                seat = await workflow.do_xa(engine.connect, pay)
                if is_refused:
                    raise Refused("changed my mind")
                return seat

            async with AsyncDtmClient(dtm_server.url) as dtm:
                workflows = AsyncWorkflows(dtm, f"{dtm_server.url}/resume")
                workflows.register(trip)
                seats = [await workflows.execute(trip, False, gid=f"{bank.gid}-1")]
                with pytest.raises(Refused, match="changed my mind"):
                    await workflows.execute(trip, True, gid=f"{bank.gid}-2")
            await engine.dispose()
            return seats

        assert asyncio.run(main()) == [7]
        assert bank.notes() == ["paid"]
