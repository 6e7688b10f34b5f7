"""Parallel branches, races and deadlines survive every single fault at every moment."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field

import pytest
import trio

import flowtx
from flowtx.testing.faults import Schedule
from flowtx.testing.prove import single_faults_everywhere
from flowtx.testing.world import World
from flowtx_engine.runtime.engine import Engine


@dataclass
class Books:
    """What was done under which key, and what was taken back; acts once under a key, and never after its undo."""

    done: set[str] = field(default_factory=set[str])
    undone: set[str] = field(default_factory=set[str])

    async def do(self, seconds: float, verdict: str) -> str:
        key = flowtx.current_step().key
        await trio.sleep(seconds)
        if verdict == "refuse":
            raise flowtx.Refused("no")
        if key not in self.undone:
            self.done.add(key)
        return key

    async def undo(self, seconds: float, verdict: str) -> None:
        key = flowtx.current_step().key.removesuffix("/c")
        await trio.sleep(seconds / 10)
        self.undone.add(key)
        self.done.discard(key)


class BooksWorld(World):
    """A world with one workflow over its books."""

    def __init__(self, make: Callable[[Books], flowtx.Workflow[[], str]], schedule: Schedule) -> None:
        self.books = Books()
        self.workflow = make(self.books)
        super().__init__([self.workflow], schedule=schedule)


def fan_out(books: Books) -> flowtx.Workflow[[], str]:
    """Branches of unequal length, nested, one of them refused."""

    @flowtx.workflow
    async def fan_out(tx: flowtx.Tx) -> str:
        async def two(seconds: float) -> None:
            await tx.step(books.do, seconds, "", compensate=books.undo)
            async with tx.open_nursery() as inner:
                inner.start_step(books.do, 1.0, "", compensate=books.undo)
                inner.start_step(books.do, 2.0, "", compensate=books.undo)

        await tx.step(books.do, 0.5, "", compensate=books.undo)
        async with tx.open_nursery() as nursery:
            nursery.start_soon(two, 1.0)
            nursery.start_soon(two, 3.0)
        async with tx.open_nursery() as nursery:
            nursery.start_step(books.do, 5.0, "", compensate=books.undo)
            nursery.start_step(books.do, 1.0, "refuse", compensate=books.undo)
        return "never"

    return fan_out


def race(books: Books) -> flowtx.Workflow[[], str]:
    """The first of three wins, and the others are given up."""

    @flowtx.workflow
    async def race(tx: flowtx.Tx) -> str:
        won: list[str] = []

        async def runner(nursery: flowtx.Nursery, seconds: float) -> None:
            won.append(await tx.step(books.do, seconds, ""))
            nursery.cancel_scope.cancel("somebody won")

        async with tx.open_nursery() as nursery:
            for seconds in (3.0, 1.0, 2.0):
                nursery.start_soon(runner, nursery, seconds)
        return won[0]

    return race


def deadline(books: Books) -> flowtx.Workflow[[], str]:
    """A deadline that comes in the middle of the second step; the run fails, and both are taken back."""

    @flowtx.workflow
    async def deadline(tx: flowtx.Tx) -> str:
        with tx.fail_after(4):
            await tx.step(books.do, 1.0, "", compensate=books.undo)
            await tx.step(books.do, 86_400.0, "", compensate=books.undo)
        return "never"

    return deadline


def pipeline(books: Books) -> flowtx.Workflow[[], str]:
    """A producer and two consumers over a channel."""

    @flowtx.workflow
    async def pipeline(tx: flowtx.Tx) -> str:
        send, receive = tx.open_memory_channel[float](1)

        async def produce() -> None:
            async with send:
                for i in range(4):
                    await tx.step(books.do, 0.5, "", compensate=books.undo)
                    await send.send(i / 2)

        async def consume() -> None:
            async for seconds in receive:
                await tx.step(books.do, seconds, "", compensate=books.undo)

        async with tx.open_nursery() as nursery:
            for branch in (produce, consume, consume):
                nursery.start_soon(branch)
        return "done"

    return pipeline


async def until_answered(engine: Engine, world: BooksWorld) -> None:
    """Ask again while the database is away: the gid makes that safe."""
    while True:
        try:
            await engine.run(world.workflow, gid="g")
        except flowtx.TransactionFailed:
            return
        except flowtx.JournalUnavailable:
            await trio.sleep(0.1)
        else:
            return


def prove(make: Callable[[Books], flowtx.Workflow[[], str]], check: Callable[[BooksWorld], None]) -> int:
    """Every single fault at every moment; how many plays that were."""
    worlds: list[BooksWorld] = []

    def make_world(schedule: Schedule) -> World:
        worlds.append(BooksWorld(make, schedule))
        return worlds[-1]

    def scenario(engine: Engine) -> Awaitable[None]:
        return until_answered(engine, worlds[-1])

    def check_world(world: World) -> None:
        assert isinstance(world, BooksWorld)
        assert world.unfinished() == []
        check(world)

    proof = single_faults_everywhere(make_world, scenario, check=check_world)
    assert proof.crash_count > 0
    return proof.play_count


def nothing_is_left(world: BooksWorld) -> None:
    assert world.transactions()[0].status == "failed"
    assert world.books.done == set()


def everything_is_done(world: BooksWorld) -> None:
    assert world.transactions()[0].status == "succeed"
    assert len(world.books.done) == 8
    assert world.books.undone == set()


def somebody_won(world: BooksWorld) -> None:
    row = world.transactions()[0]
    assert row.status == "succeed"
    assert row.result is not None
    assert row.result.decode().strip('"') in world.books.done


@pytest.mark.parametrize(
    ("make", "check"),
    [(fan_out, nothing_is_left), (race, somebody_won), (deadline, nothing_is_left), (pipeline, everything_is_done)],
    ids=["a fan-out with a refusal", "a race", "a deadline", "a pipeline"],
)
def test_branches_survive_every_single_fault_at_every_moment(
    make: Callable[[Books], flowtx.Workflow[[], str]], check: Callable[[BooksWorld], None]
) -> None:
    assert prove(make, check) > 10


def test_the_deadline_comes_when_it_must_whatever_crashes() -> None:
    def in_time(world: BooksWorld) -> None:
        nothing_is_left(world)
        [fired] = [event for event in world.history("g") if event.address == "0"]
        late_s = fired.at - world.history("g")[0].at - 4.0
        assert 0 <= late_s < 120.0, "a stalled node may be late, the deadline is never put off"

    prove(deadline, in_time)
