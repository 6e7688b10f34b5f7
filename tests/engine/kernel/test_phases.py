"""A run goes through its phases by the table, and by nothing else."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import msgspec
import pytest

import flowtx
from flowtx_engine.kernel import phases
from flowtx_engine.kernel.events import (
    AnyFact,
    Began,
    CallRecord,
    Cancelled,
    Ended,
    Event,
    Fired,
    Kept,
    Returned,
    Stopped,
    Succeeded,
)
from flowtx_engine.kernel.kernel import Kernel

NULL = msgspec.Raw(b"null")


def act() -> None: ...


@flowtx.workflow
async def plain(tx: flowtx.Tx) -> None:
    await tx.step(act)


@flowtx.workflow
async def settled(tx: flowtx.Tx) -> None:
    await tx.step(act, compensate=act)
    tx.message(act)


@flowtx.workflow
async def fails(tx: flowtx.Tx) -> None:
    await tx.step(act, compensate=act)
    raise ValueError


@flowtx.workflow
async def restarts(tx: flowtx.Tx) -> None:
    await tx.step(act)
    tx.restart()


@flowtx.workflow
async def restarts_with_a_message(tx: flowtx.Tx) -> None:
    await tx.step(act)
    tx.message(act)
    tx.restart()


AnyWay = tuple[flowtx.Workflow[..., Any], Began, list[AnyFact | str]]

NOW = Began(workflow="w")
LATER = Began(workflow="w", starts_at=9.0)
CHILD = Began(workflow="w", parent="p")
START = Fired(until_at=9.0)
WAYS: list[AnyWay] = [  # a place is the success of what waits there
    (plain, NOW, ["0"]),
    (plain, NOW, [Stopped()]),
    (plain, LATER, [START, "0", Stopped()]),
    (plain, LATER, [Cancelled()]),
    (settled, NOW, ["0", "1/m"]),
    (settled, NOW, ["0", Stopped()]),
    (fails, NOW, ["0", "0/c"]),
    (fails, NOW, ["0", Stopped()]),
    (settled, CHILD, ["0", Kept(), "1/m"]),
    (settled, CHILD, ["0", Cancelled(), "0/c"]),
    (plain, CHILD, ["0", Kept()]),
    (restarts, NOW, ["0"]),
    (restarts, NOW, ["0", Stopped()]),
    (restarts_with_a_message, NOW, ["0", "1/m"]),
]


def moves_of(workflow: flowtx.Workflow[..., Any], began: Began, way: list[AnyFact | str]) -> Iterator[tuple[str, str]]:
    """The name of each phase and of the one after it; every note is written down when the way has been gone."""
    kernel = Kernel(workflow, b"[]", gid="g")
    try:
        told: list[AnyFact | str] = [began, *way]
        while told:
            before = kernel.phase
            fact = told.pop(0)
            address = fact if isinstance(fact, str) else ("start" if isinstance(fact, Fired) else "")
            if isinstance(fact, str):
                asked = kernel.asked(fact)
                assert asked is not None, kernel
                fact = Succeeded(call=asked.record, value=NULL)
            kernel.feed(Event(seq=kernel.next_seq, at=0.0, address=address, fact=fact))
            if kernel.phase != before:
                yield before, kernel.phase
            if not told and (note := kernel.next_note()) is not None:
                told.append(note)
    finally:
        kernel.close()


def test_every_move_of_the_table_is_made_and_no_other() -> None:
    made = {move for way in WAYS for move in moves_of(*way)}
    held = {(before.name, after.name) for before, afters in phases.MOVES.items() for after in afters}
    held.remove(("ended", "ended"))  # over, which has the same name
    assert made == held


def test_every_phase_is_in_the_table() -> None:
    assert set(phases.MOVES) == {*phases.Phase.__subclasses__(), *phases.Ended.__subclasses__()}
    title, _, rest = (phases.__doc__ or "").partition("phase        carries")
    assert title
    for phase in phases.MOVES:
        assert f"\n{phase.__name__.lower()} " in rest


@pytest.mark.parametrize("first", [Succeeded(call=CallRecord(name="act")), Cancelled(), Ended(status="failed")])
def test_what_begins_a_run_is_its_beginning(first: AnyFact) -> None:
    kernel = Kernel(plain, b"[]", gid="g")
    with pytest.raises(AssertionError, match="expected Began"):
        kernel.feed(Event(seq=0, at=0.0, address="", fact=first))
    assert (kernel.phase, kernel.next_seq) == ("new", 0)


def test_a_run_begins_once_and_ends_once() -> None:
    kernel = Kernel(plain, b"[]", gid="g")
    kernel.feed(Event(seq=0, at=0.0, address="", fact=NOW))
    with pytest.raises(AssertionError, match="began a second time, at seq 1"):
        kernel.feed(Event(seq=1, at=0.0, address="", fact=NOW))
    assert ([asked.address for asked in kernel.waiting], kernel.next_seq) == (["0"], 1)
    kernel.feed(Event(seq=1, at=0.0, address="", fact=Stopped()))
    ended = kernel.next_note()
    assert ended is not None
    kernel.feed(Event(seq=2, at=0.0, address="", fact=ended))
    with pytest.raises(AssertionError, match="expected nothing after its end"):
        kernel.feed(Event(seq=3, at=0.0, address="", fact=Stopped()))
    assert (kernel.ended, kernel.next_seq) == (ended, 3)


def test_a_child_that_is_stopped_when_it_returns_has_not_returned() -> None:
    # Both came in one turn of its driver, which writes notes afterwards.
    kernel = Kernel(plain, b"[]", gid="g")
    kernel.feed(Event(seq=0, at=0.0, address="", fact=CHILD))
    call = kernel.waiting[0].record
    kernel.feed(Event(seq=1, at=0.0, address="0", fact=Succeeded(call=call, value=NULL)))
    assert kernel.next_note() == Returned(value=NULL)
    kernel.feed(Event(seq=2, at=0.0, address="", fact=Stopped(reason="no")))
    note = kernel.next_note()
    assert isinstance(note, Ended)
    assert note.status == "failed"
    kernel.feed(Event(seq=3, at=0.0, address="", fact=note))
    assert kernel.next_note() is None
