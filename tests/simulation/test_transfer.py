"""The transfer survives every single fault at every moment, and random schedules of several.

The bank stands in this file: its accounts keep books by idempotency key, so that a test can say what really happened.
"""

from __future__ import annotations

import contextlib
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field

import pytest
import trio
from hypothesis import given
from hypothesis import strategies as st

import flowtx
from flowtx.testing.faults import NO_FAULTS, Fault, Schedule
from flowtx.testing.prove import NotProved, play, single_faults_everywhere
from flowtx.testing.world import World
from flowtx_engine.runtime.engine import Engine

OPENING = {"alice": 100, "bob": 100}


@dataclass(frozen=True)
class Transfer:
    """Move ``amount`` from one account to another."""

    source: str
    target: str
    amount: int


@dataclass
class Bank:
    """Accounts; a step acts once under one key and writes down that it did."""

    balances: dict[str, int] = field(default_factory=lambda: dict(OPENING))
    entries: dict[str, tuple[str, int]] = field(default_factory=dict[str, tuple[str, int]])
    call_count: int = 0

    async def withdraw(self, t: Transfer) -> int:
        """Take the money, or refuse when there is not enough."""
        return self._book(t.source, -t.amount)

    async def withdraw_back(self, t: Transfer, *, result: int | flowtx.Unknown) -> None:
        """Put the money back, if it was ever taken."""
        assert result is flowtx.UNKNOWN or isinstance(result, int)
        self._take_back(t.source, t.amount)

    def deposit(self, t: Transfer) -> int:
        """Give the money, or refuse when there is no such account."""
        return self._book(t.target, t.amount)

    def deposit_back(self, t: Transfer) -> None:
        """Take the money away again, if it was ever given."""
        self._take_back(t.target, -t.amount)

    def _book(self, account: str, amount: int) -> int:
        key = flowtx.current_step().key
        self.call_count += 1
        if key not in self.entries and f"{key}/c" not in self.entries:
            if account not in self.balances:
                raise flowtx.Refused(f"no account {account}")
            if self.balances[account] + amount < 0:
                raise flowtx.Refused(f"{account} has {self.balances[account]}, not {-amount}")
            self.balances[account] += amount
            self.entries[key] = (account, amount)
        return self.balances[account]

    def _take_back(self, account: str, amount: int) -> None:
        key = flowtx.current_step().key
        self.call_count += 1
        if key not in self.entries:
            if key.removesuffix("/c") in self.entries:
                self.balances[account] += amount
            self.entries[key] = (account, amount)

    def booked(self, gid: str) -> set[str]:
        """The addresses booked for a gid."""
        return {key.removeprefix(f"{gid}/") for key in self.entries if key.startswith(f"{gid}/")}


GOOD = Transfer("alice", "bob", 30)
NO_MONEY = Transfer("alice", "bob", 300)
NO_ACCOUNT = Transfer("alice", "nobody", 30)


class BankWorld(World):
    """A world with a bank in it and a transfer over its accounts."""

    def __init__(self, schedule: Schedule, *, seed: int = 0, node_count: int = 1) -> None:
        self.bank = Bank()

        @flowtx.workflow
        async def transfer(tx: flowtx.Tx, t: Transfer) -> str:
            bank = self.bank
            await tx.step(bank.withdraw, t, compensate=bank.withdraw_back)
            await tx.sleep(1)
            await tx.step(bank.deposit, t, compensate=bank.deposit_back)
            return f"moved {t.amount}"

        self.transfer = transfer
        super().__init__([transfer], schedule=schedule, seed=seed, node_count=node_count)


def client(worlds: list[BankWorld], *transfers: Transfer) -> Callable[[Engine], Awaitable[None]]:
    """A client that runs transfers one after another and begins again after a crash."""

    async def scenario(engine: Engine) -> None:
        for i, t in enumerate(transfers):
            await run_until_answered(engine, worlds[-1], t, f"g-{i}")

    return scenario


async def run_until_answered(engine: Engine, world: BankWorld, t: Transfer, gid: str) -> None:
    """Ask again while the database is away: the gid makes that safe."""
    while True:
        try:
            await engine.run(world.transfer, t, gid=gid)
        except flowtx.TransactionFailed:
            return
        except flowtx.JournalUnavailable:
            await trio.sleep(0.1)
            continue
        return


def check_all_or_nothing(world: World) -> None:
    """Every transaction has ended; money has moved exactly for those that succeeded; nothing is left over."""
    assert isinstance(world, BankWorld)
    assert world.unfinished() == []
    expected = dict(OPENING)
    for row in world.transactions():
        t = world.transfer.signature.decode_args(row.input)[0]
        assert isinstance(t, Transfer)
        if row.status == "succeed":
            expected[t.source] -= t.amount
            expected[t.target] += t.amount
        booked = world.bank.booked(row.gid)
        for address in ("0", "2"):
            assert (f"{address}/c" in booked) <= (row.status == "failed"), (row, booked)
            if row.status == "failed" and address in booked:
                assert f"{address}/c" in booked, f"{row}: the compensation of {address} was lost, booked {booked}"
    assert world.bank.balances == expected


def prove(*transfers: Transfer) -> str:
    """Every single fault at every moment of these transfers."""
    worlds: list[BankWorld] = []

    def make_world(schedule: Schedule) -> World:
        worlds.append(BankWorld(schedule))
        return worlds[-1]

    proof = single_faults_everywhere(make_world, client(worlds, *transfers), check=check_all_or_nothing)
    assert proof.crash_count > 0
    return str(proof)


@pytest.mark.parametrize("t", [GOOD, NO_MONEY, NO_ACCOUNT], ids=["good", "no money", "no account"])
def test_a_transfer_survives_every_single_fault_at_every_moment(t: Transfer) -> None:
    assert "single faults" in prove(t)


def test_transfers_one_after_another_survive_every_single_fault() -> None:
    prove(GOOD, NO_ACCOUNT, GOOD)


def play_schedule(
    schedule: Schedule, *transfers: Transfer, seed: int = 0, node_count: int = 1, cancel_after_s: float | None = None
) -> BankWorld:
    """One play of these transfers with a schedule of faults, checked."""
    worlds: list[BankWorld] = []

    def make_world(schedule: Schedule) -> World:
        worlds.append(BankWorld(schedule, seed=seed, node_count=node_count))
        return worlds[-1]

    async def at_once(engine: Engine) -> None:
        async with trio.open_nursery() as nursery:
            for i, t in enumerate(transfers):
                nursery.start_soon(run_until_answered, engine, worlds[-1], t, f"g-{i}")
                if cancel_after_s is not None:
                    nursery.start_soon(cancel_after, engine, f"g-{i}", cancel_after_s)

    play(make_world, at_once, schedule)
    check_all_or_nothing(worlds[-1])
    return worlds[-1]


async def cancel_after(engine: Engine, gid: str, seconds: float) -> None:
    """A person who changes their mind, and is told when it is too late or too early."""
    await trio.sleep(seconds)
    with contextlib.suppress(flowtx.NoSuchTransaction, flowtx.AlreadyFinal, flowtx.JournalUnavailable):
        await engine.cancel(gid, reason="changed my mind")


schedules = st.dictionaries(st.integers(0, 60), st.sampled_from(Fault), max_size=8).map(Schedule)
transfer_lists = st.lists(st.sampled_from([GOOD, NO_MONEY, NO_ACCOUNT]), min_size=1, max_size=3)


@given(
    schedule=schedules,
    transfers=transfer_lists,
    seed=st.integers(0, 1000),
    node_count=st.integers(1, 3),
    cancel_after_s=st.none() | st.floats(0, 5),
    interleaving=st.random_module(),
)
def test_several_faults_in_any_places_are_survived(
    schedule: Schedule,
    transfers: list[Transfer],
    seed: int,
    node_count: int,
    cancel_after_s: float | None,
    interleaving: object,
) -> None:
    play_schedule(schedule, *transfers, seed=seed, node_count=node_count, cancel_after_s=cancel_after_s)


def test_a_stalled_node_comes_back_as_a_zombie_and_does_no_harm() -> None:
    world = play_schedule(Schedule({1: Fault.STALL}), GOOD, node_count=2)
    assert world.bank.call_count == 3, "the withdrawal was asked by both nodes, the deposit once"
    assert world.transactions()[0].status == "succeed"


def test_a_calm_play_commits_once_a_step_and_calls_each_participant_once() -> None:
    world = play_schedule(NO_FAULTS, GOOD)
    assert [str(moment) for moment in world.moments] == [
        "commit 0 (g-0 began)",
        "call 1 (Bank.withdraw at 0 of g-0, attempt 1)",
        "commit 2 (g-0 succeeded)",
        "commit 3 (g-0 fired)",
        "call 4 (Bank.deposit at 2 of g-0, attempt 1)",
        "commit 5 (g-0 succeeded+ended)",
    ]
    assert world.crash_count == 0


def test_the_proof_finds_a_compensation_that_is_lost() -> None:
    class Forgetful(BankWorld):
        def __init__(self, schedule: Schedule) -> None:
            super().__init__(schedule)
            self.bank.withdraw_back = forget  # type: ignore[method-assign]  # a planted fault

    async def forget(t: Transfer, *, result: int | flowtx.Unknown) -> None:
        """A compensation that does nothing."""

    worlds: list[BankWorld] = []

    def make_world(schedule: Schedule) -> World:
        worlds.append(Forgetful(schedule))
        return worlds[-1]

    with pytest.raises(NotProved, match="a play without faults"):
        single_faults_everywhere(make_world, client(worlds, NO_ACCOUNT), check=check_all_or_nothing)
