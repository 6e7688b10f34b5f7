"""A run that begins later: nothing of its workflow happens before, and time begins with it."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

import flowtx
from flowtx_dsl.commands import Sleep
from flowtx_engine.kernel.events import AnyFact, Began, Cancelled, Event, Fired, Stopped
from flowtx_engine.kernel.kernel import Kernel
from flowtx_engine.kernel.life import START

AT = 1_700_000_000.0
ran: list[datetime] = []


@pytest.fixture(autouse=True)
def forget() -> None:
    ran.clear()


async def pay(cents: int) -> None: ...


@flowtx.workflow
async def pays(tx: flowtx.Tx, cents: int) -> None:
    ran.append(tx.now())
    await tx.step(pay, cents, compensate=pay)


def fed(*facts: tuple[float, str, AnyFact]) -> Kernel:
    kernel = Kernel(pays, b"[3]", gid="g")
    for seq, (at, address, fact) in enumerate(facts):
        kernel.feed(Event(seq=seq, at=at, address=address, fact=fact))
    return kernel


def test_a_delayed_run_waits_for_its_start_and_for_nothing_else() -> None:
    kernel = fed((AT, "", Began(workflow="pays", starts_at=AT + 60)))
    assert [(one.address, one.command) for one in kernel.waiting] == [
        (START, Sleep(until_at=AT + 60, where=pays.where, name="start"))
    ]
    assert (kernel.phase, ran) == ("delayed", [])


def test_its_time_begins_at_the_instant_it_was_meant_for_however_late_it_is() -> None:
    kernel = fed(
        (AT, "", Began(workflow="pays", starts_at=AT + 60)), (AT + 500, START, Fired(until_at=AT + 60, where="x"))
    )
    assert ran == [datetime.fromtimestamp(AT + 60, UTC)]
    assert [one.address for one in kernel.waiting] == ["0"]


def test_time_that_was_waited_for_a_place_does_not_count() -> None:
    kernel = fed((AT, "", Began(workflow="pays", starts_at=AT, place="")), (AT + 500, START, Fired(until_at=AT)))
    assert ran == [datetime.fromtimestamp(AT + 500, UTC)]
    assert not kernel.waits_for_place


@pytest.mark.parametrize("fact", [Cancelled(reason="no"), Stopped(reason="no")], ids=["cancelled", "stopped"])
def test_a_run_that_never_began_ends_with_nothing_to_take_back(fact: AnyFact) -> None:
    kernel = fed((AT, "", Began(workflow="pays", starts_at=AT + 60)), (AT + 1, "", fact))
    assert kernel.ended is not None
    assert kernel.ended.status == "failed"
    assert (kernel.waiting, ran) == ([], [])
    kernel.feed(Event(seq=2, at=AT + 1, address="", fact=kernel.ended))


def test_an_input_that_does_not_fit_is_told_before_the_time_has_come() -> None:
    kernel = Kernel(pays, b'["three"]', gid="g")
    with pytest.raises(flowtx.NondeterminismError):
        kernel.feed(Event(seq=0, at=AT, address="", fact=Began(workflow="pays", starts_at=AT + 60)))


def test_another_start_than_was_asked_for_is_a_mismatch() -> None:
    kernel = fed((AT, "", Began(workflow="pays", starts_at=AT + 60)))
    with pytest.raises(flowtx.NondeterminismError):
        kernel.feed(Event(seq=1, at=AT + 60, address=START, fact=Fired(until_at=AT + 61)))
    assert ran == []
