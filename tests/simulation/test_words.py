"""Children, messages, signals, savepoints and restarts survive every single fault at every moment."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field

import pytest
import trio

import flowtx
from flowtx.testing.faults import Schedule
from flowtx.testing.prove import single_faults_everywhere
from flowtx.testing.world import World
from flowtx_engine.journal.errors import JournalUnavailable
from flowtx_engine.runtime.engine import Engine


@dataclass
class Books:
    """What was done, once a key, whatever is repeated."""

    entries: dict[str, str] = field(default_factory=dict[str, str])

    def do(self, what: str) -> str:
        """Book it, unless it was taken back before it came."""
        key = flowtx.current_step().key
        if f"{key}/c" not in self.entries:
            self.entries.setdefault(key, what)
        return what

    def back(self, what: str) -> None:
        """Take it back, if it was ever done."""
        key = flowtx.current_step().key
        self.entries[key] = "back"
        self.entries.pop(key.removesuffix("/c"), None)

    def refuse(self) -> None:
        """Never."""
        raise flowtx.Refused("no")

    @property
    def done(self) -> list[str]:
        """What stands in the books, sorted."""
        return sorted(what for what in self.entries.values() if what != "back")


class BookedWorld(World):
    """A world with books in it, and workflows over them."""

    def __init__(self, schedule: Schedule) -> None:
        books = self.books = Books()

        @flowtx.workflow
        async def leg(tx: flowtx.Tx, name: str) -> str:
            await tx.step(books.do, name, compensate=books.back)
            tx.message(books.do, f"{name} told")
            await tx.sleep(1)
            return name

        @flowtx.workflow
        async def trip(tx: flowtx.Tx, fails: bool) -> list[str]:
            async with tx.open_nursery() as nursery:
                nursery.start_soon(tx.child, leg, "a")
                nursery.start_soon(tx.child, leg, "b")
            held = await tx.tcc(books.do, books.do, books.back, "c")
            if fails:
                await tx.step(books.refuse)
            return [held]

        @flowtx.workflow
        async def careful(tx: flowtx.Tx) -> str:
            await tx.step(books.do, "kept", compensate=books.back)
            try:
                async with tx.savepoint():
                    await tx.step(books.do, "lost", compensate=books.back)
                    tx.message(books.do, "never told")
                    await tx.step(books.refuse)
            except flowtx.Refused:
                tx.message(books.do, "told")
            return "went on"

        @flowtx.workflow
        async def rounds(tx: flowtx.Tx, number: int) -> int:
            number += await tx.signal("n", type=int)
            await tx.step(books.do, f"round {number}")
            if number >= 3:
                return number
            return tx.restart(number)

        self.trip, self.careful, self.rounds = trip, careful, rounds
        super().__init__([leg, trip, careful, rounds], schedule=schedule)


Scenario = Callable[[Engine], Awaitable[None]]


def survive(play: Callable[[BookedWorld, Engine], Awaitable[object]], check: Callable[[BookedWorld], None]) -> None:
    worlds: list[BookedWorld] = []

    def make_world(schedule: Schedule) -> World:
        worlds.append(BookedWorld(schedule))
        return worlds[-1]

    async def scenario(engine: Engine) -> None:
        while True:
            try:
                await play(worlds[-1], engine)
                return
            except JournalUnavailable:  # nobody knows whether it was begun; the gids and keys make it repeatable
                await trio.sleep(1)

    def check_last(world: World) -> None:
        assert world is worlds[-1]
        assert all(row.is_final for row in world.transactions()), world.unfinished()
        check(worlds[-1])

    proof = single_faults_everywhere(make_world, scenario, check=check_last)
    assert proof.crash_count > 0


def test_children_and_tries_are_kept_together() -> None:
    async def play(world: BookedWorld, engine: Engine) -> None:
        assert await engine.run(world.trip, False, gid="t") == ["c"]

    def check(world: BookedWorld) -> None:
        assert world.books.done == ["a", "a told", "b", "b told", "c", "c"]

    survive(play, check)


def test_children_and_tries_are_taken_back_together() -> None:
    async def play(world: BookedWorld, engine: Engine) -> None:
        with pytest.raises(flowtx.TransactionFailed):
            await engine.run(world.trip, True, gid="t")

    def check(world: BookedWorld) -> None:
        assert world.books.done == []
        assert {row.status for row in world.transactions()} == {"failed"}

    survive(play, check)


def test_a_savepoint_loses_what_was_inside_and_nothing_else() -> None:
    async def play(world: BookedWorld, engine: Engine) -> None:
        assert await engine.run(world.careful, gid="t") == "went on"

    def check(world: BookedWorld) -> None:
        assert world.books.done == ["kept", "told"]

    survive(play, check)


def test_signals_count_once_over_crashes_and_restarts() -> None:
    async def play(world: BookedWorld, engine: Engine) -> None:
        await engine.start(world.rounds, 0, gid="t")
        for key in ("one", "two", "three"):
            try:
                await engine.signal("t", "n", 1, key=key)
            except flowtx.AlreadyFinal:  # told before a crash, and the run went on
                continue
        assert await engine.wait("t") == 3

    def check(world: BookedWorld) -> None:
        assert world.books.done == ["round 1", "round 2", "round 3"]

    survive(play, check)
