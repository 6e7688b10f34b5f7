"""Changed code and an old history: every difference is reported at its address, and no call gets another one's result.

Hypothesis draws a program, the outcomes of its run, and what is changed in the program afterwards. Before an event is
fed to the changed code, the test itself compares what waits at the event's address with what was recorded there.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import closing, suppress
from dataclasses import dataclass
from typing import Literal

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from flowtx_dsl.commands import Sleep
from flowtx_dsl.error_codec import encode_error
from flowtx_dsl.errors import NondeterminismError, Refused
from flowtx_dsl.remote import http
from flowtx_dsl.tx import Tx
from flowtx_dsl.workflow import AnyWorkflow, workflow
from flowtx_engine.kernel import events
from flowtx_engine.kernel.events import AnyFact, Event, decode_fact, encode_fact
from flowtx_engine.kernel.kernel import Kernel
from flowtx_engine.kernel.tasks import Asked


def add(number: int, words: set[str]) -> int:
    return number + len(words)


def subtract(number: int, words: set[str]) -> int:
    return number - len(words)


def sleep() -> None:
    """A step with the name of a word of tx."""


HOTEL = http("http://hotel/book", result=int)


@dataclass(frozen=True)
class Op:
    what: Literal["add", "subtract", "book", "sleep step", "sleep", "return"]
    number: int
    words: frozenset[str]


Program = tuple[Op, ...]
ops = st.builds(
    Op,
    st.sampled_from(["add", "subtract", "book", "sleep step", "sleep", "return"]),
    st.integers(min_value=0, max_value=2),
    st.frozensets(st.sampled_from(["ann", "bob", "x" * 5000])),
)
programs: st.SearchStrategy[Program] = st.lists(ops, min_size=1, max_size=5).map(tuple)

CHANGES: dict[str, Callable[[Program, Op, Program], Program]] = {
    "nothing": lambda before, new, rest: (*before, *rest),
    "insert": lambda before, new, rest: (*before, new, *rest),
    "remove": lambda before, new, rest: (*before, *rest[1:]),
    "replace": lambda before, new, rest: (*before, new, *rest[1:]),
    "swap": lambda before, new, rest: (*before, *reversed(rest[:2]), *rest[2:]),
}


def workflow_of(program: Program) -> AnyWorkflow:
    @workflow(name="drawn")
    async def drawn(tx: Tx) -> int:
        results = 0
        for op in program:
            with suppress(Refused):
                match op.what:
                    case "add" | "subtract":
                        results += await tx.step(add if op.what == "add" else subtract, op.number, set(op.words))
                    case "book":
                        results += await tx.step(HOTEL, {"nights": op.number, "guests": set(op.words)})
                    case "sleep step":
                        await tx.step(sleep)
                    case "sleep":
                        await tx.sleep(op.number)
                    case "return":
                        return op.number
        return results

    return drawn


@dataclass(frozen=True)
class Lived:
    """An event as it comes out of a journal, and what was asked there."""

    event: Event
    asked: object


def lived(program: Program, is_refused: list[bool]) -> list[Lived]:
    """The history of a run whose steps meet these outcomes."""
    history: list[Lived] = []

    def feed(address: str, fact: AnyFact) -> None:
        event = Event(seq=len(history), at=1000.0 + len(history), address=address, fact=fact)
        asked = asked_at(kernel, address)
        kernel.feed(event)
        stored = Event(seq=event.seq, at=event.at, address=address, fact=decode_fact(encode_fact(fact)))
        history.append(Lived(stored, asked))

    with closing(Kernel(workflow_of(program), b"[]", gid="g")) as kernel:
        feed("", events.Began(workflow="drawn"))
        for refused in is_refused:
            if kernel.ended is None:
                (asked,) = kernel.waiting
                feed(asked.address, fact_of(asked, refused))
        if kernel.ended is not None:
            feed("", kernel.ended)
    return history


def fact_of(asked: Asked, is_refused: bool) -> AnyFact:
    if isinstance(asked.command, Sleep):
        return events.Fired(until_at=asked.command.until_at, where=asked.command.where)
    if is_refused:
        return events.Refused(call=asked.record, error=encode_error(Refused("no")))
    return events.Succeeded(call=asked.record, value=msgspec.Raw(b"7"))


def asked_at(kernel: Kernel, address: str) -> object:
    """What waits at an address, or how the run has ended: worked out without the kernel's own comparison."""
    if not address and kernel.ended is not None:
        return kernel.ended.status, bytes(kernel.ended.value)
    asked = kernel.asked(address)
    if asked is None:
        return None
    if isinstance(asked.command, Sleep):
        return asked.command.until_at
    return asked.command.call.name, asked.command.call.payload


@settings(max_examples=300)
@given(programs, st.lists(st.booleans(), max_size=6), st.sampled_from(sorted(CHANGES)), st.data())
def test_changed_code_is_reported_at_the_first_difference_and_never_answered_wrongly(
    program: Program, is_refused: list[bool], change: str, data: st.DataObject
) -> None:
    history = lived(program, is_refused)
    place = data.draw(st.integers(min_value=0, max_value=len(program)), label="changed at")
    changed = CHANGES[change](program[:place], data.draw(ops, label="new"), program[place:])
    with closing(Kernel(workflow_of(changed), b"[]", gid="g")) as again:
        for then in history:
            address = then.event.address
            if asked_at(again, address) == then.asked:
                again.feed(then.event)
                continue
            with pytest.raises(NondeterminismError) as caught:
                again.feed(then.event)
            lines = caught.value.message.splitlines()
            assert lines[0] == f"workflow drawn g left its history at {address or 'its end'}"
            assert lines[1].startswith("    recorded: ")
            assert lines[2].startswith("    asked:    ")
            assert lines[3:] == [] if again.asked(address) is None else lines[3].startswith("    differs:  ")
            assert change != "nothing"
            return
