"""The laws of one run: replay gives what live gave, compensation is exact, and a dropped run moves nobody.

Hypothesis draws a program (what the workflow does) and a story (what happens to it, event by event). The workflow
interprets the program and notes in ``seen`` everything that its code could know.
"""

from __future__ import annotations

import gc
from collections.abc import Generator, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, Literal

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from flowtx_dsl.commands import Compensate, Sleep, Step
from flowtx_dsl.error_codec import ErrorRecord, encode_error
from flowtx_dsl.errors import Abort, NondeterminismError, Refused, RemoteError, RunClosed, StepFault
from flowtx_dsl.remote import http
from flowtx_dsl.tx import Tx
from flowtx_dsl.workflow import AnyWorkflow, workflow
from flowtx_engine.kernel import events
from flowtx_engine.kernel.events import AnyFact, Event, decode_fact, encode_fact
from flowtx_engine.kernel.kernel import Kernel
from flowtx_engine.kernel.tasks import Abandoned, Asked, Order

EVENTS_MAX = 30


def add(number: int) -> int:
    return number


async def tell(words: set[str]) -> str:
    return " ".join(words)


def take_back(what: object) -> None: ...


HOTEL = http("http://hotel/book", result=int)
HOTEL_BACK = http("http://hotel/cancel")


@dataclass(frozen=True)
class Do:
    """A step; ``number`` None takes the argument from the dice."""

    what: Literal["add", "tell", "book"]
    number: int | None = 0
    is_compensated: bool = False
    is_compensated_if_refused: bool = False


@dataclass(frozen=True)
class Nap:
    seconds: float


@dataclass(frozen=True)
class Act:
    """Look at clock, dice and uuids; raise something; or wait for something that is no word of tx."""

    what: Literal["look", "abort", "bug", "exit", "foreign"]


@dataclass(frozen=True)
class Try:
    body: tuple[Op, ...]
    catches: Literal["refused", "errors", "everything", "nothing"]
    finally_: tuple[Op, ...] = ()


@dataclass(frozen=True)
class Branches:
    bodies: tuple[tuple[Op, ...], ...]


@dataclass(frozen=True)
class Limit:
    seconds: float
    shield: bool
    fails: bool
    body: tuple[Op, ...]


CAUGHT: dict[str, tuple[type[BaseException], ...]] = {
    "refused": (Refused,),
    "errors": (Exception,),
    "everything": (BaseException,),
    "nothing": (),
}

Op = Do | Nap | Act | Try | Branches | Limit
Program = tuple[Op, ...]

steps = st.builds(
    Do,
    st.sampled_from(["add", "tell", "book"]),
    st.none() | st.integers(min_value=0, max_value=3),
    st.booleans(),
    st.booleans(),
)
plain_ops = st.one_of(
    steps,
    steps,
    st.builds(Nap, st.floats(min_value=0, max_value=100)),
    st.builds(Act, st.sampled_from(["look", "abort", "bug", "exit", "foreign"])),
)


def programs_of(ops: st.SearchStrategy[Op]) -> st.SearchStrategy[Program]:
    return st.lists(ops, min_size=1, max_size=5).map(tuple)


def tries(inner: st.SearchStrategy[Op]) -> st.SearchStrategy[Op]:
    catches = st.sampled_from(sorted(CAUGHT))
    return st.builds(Try, programs_of(inner), catches, st.just(()) | programs_of(inner))


def blocks(inner: st.SearchStrategy[Op]) -> st.SearchStrategy[Op]:
    branches = st.lists(programs_of(inner), min_size=1, max_size=3).map(tuple)
    limits = st.builds(Limit, st.floats(min_value=0, max_value=20), st.booleans(), st.booleans(), programs_of(inner))
    return tries(inner) | st.builds(Branches, branches) | limits


straight = programs_of(st.recursive(plain_ops, tries, max_leaves=5))
programs = straight | programs_of(st.recursive(plain_ops, blocks, max_leaves=12))


class Bare:
    """The least that can be awaited."""

    def __await__(self) -> Generator[None, object, object]:
        return (yield)


@dataclass(frozen=True)
class Seen:
    """What became of an operation, as the workflow's code knows it."""

    op: Op
    value: Any = None
    error: type[BaseException] | None = None
    args: str = ""


@dataclass
class Interpreter:
    """Runs a program, and notes what its code could know."""

    tx: Tx
    seen: list[object]

    async def run(self, program: Program) -> None:
        for op in program:
            try:
                self.seen.append(Seen(op, await self.run_one(op)))
            except GeneratorExit:
                raise
            except BaseException as error:
                self.seen.append(Seen(op, error=type(error), args=repr(error.args)))
                raise

    async def run_one(self, op: Op) -> object:
        value: object = None
        match op:
            case Do():
                value = await self.do(op)
            case Nap():
                await self.tx.sleep(op.seconds)
            case Act():
                value = await self.act(op)
            case Try():
                await self.try_(op)
            case Branches():
                async with self.tx.open_nursery() as nursery:
                    for body in op.bodies:
                        nursery.start_soon(self.run, body)
            case Limit():
                limit = self.tx.fail_after if op.fails else self.tx.move_on_after
                with limit(op.seconds, shield=op.shield):
                    await self.run(op.body)
        return value

    async def act(self, op: Act) -> object:
        if op.what == "look":
            return self.tx.now(), self.tx.random.random(), self.tx.uuid4()
        if op.what == "foreign":
            return await Bare()
        raise {"abort": Abort("enough"), "bug": ValueError("a bug"), "exit": SystemExit(3)}[op.what]

    async def do(self, op: Do) -> object:
        number = self.tx.random.randrange(4) if op.number is None else op.number
        refused = op.is_compensated_if_refused
        back = take_back if op.is_compensated else None
        if op.what == "add":
            return await self.tx.step(add, number, compensate=back, compensate_refused=refused)
        if op.what == "tell":
            words = {"ann", "bob", "cyd"} - {str(number)} | {str(number)}
            return await self.tx.step(tell, words, compensate=back, compensate_refused=refused)
        order = {"nights": number, "guests": {"ann", "bob"}}
        cancel = HOTEL_BACK if op.is_compensated else None
        return await self.tx.step(HOTEL, order, compensate=cancel, compensate_refused=refused)

    async def try_(self, op: Try) -> None:
        try:
            await self.run(op.body)
        except CAUGHT[op.catches]:
            self.seen.append("caught")
        finally:
            await self.run(op.finally_)


def workflow_of(program: Program) -> tuple[AnyWorkflow, list[object]]:
    """A workflow that does what the program says, and where it notes what it saw."""
    seen: list[object] = []

    @workflow(name="drawn")
    async def drawn(tx: Tx) -> int:
        await Interpreter(tx, seen).run(program)
        return len(seen)

    return drawn, seen


Snapshot = tuple[object, ...]


@dataclass
class Live:
    """A run that is told a story; ``snapshots[i]`` is what it was after event i."""

    kernel: Kernel
    seen: list[object]
    events: list[Event] = field(default_factory=list[Event])
    snapshots: list[Snapshot] = field(default_factory=list[Snapshot])
    orders: list[list[Order]] = field(default_factory=list[list[Order]])
    at: float = 1000.0

    def feed(self, address: str, fact: AnyFact) -> None:
        event = Event(seq=self.kernel.next_seq, at=self.at, address=address, fact=fact)
        self.events.append(event)
        self.orders.append(self.kernel.feed(event))
        self.snapshots.append(state_of(self.kernel, self.seen, self.orders[-1]))

    @property
    def asked(self) -> list[Asked]:
        """All that was ever asked, in order."""
        return [order for orders in self.orders for order in orders if isinstance(order, Asked)]


def fed(kernel: Kernel, event: Event, seen: list[object]) -> Snapshot:
    """What there is to see of a run after an event."""
    return state_of(kernel, seen, kernel.feed(event))


def state_of(kernel: Kernel, seen: list[object], orders: Sequence[Order] = ()) -> Snapshot:
    waiting = [
        (one.address, described(one), one.attempt_count, one.fault_count, one.retry_at) for one in kernel.waiting
    ]
    ended = kernel.ended
    end = None if ended is None else (ended.status, bytes(ended.value), ended.error and ended.error.type)
    return waiting, kernel.phase, list(seen), end, kernel.next_seq, [repr(order) for order in orders]


def described(asked: Asked) -> object:
    command = asked.command
    if isinstance(command, Sleep):
        return ("sleep", command.until_at)
    result = command.result if isinstance(command, Compensate) else "no compensation"
    return command.call.name, command.call.payload, command.call.body, result


OUTCOMES = ["succeeded", "succeeded", "succeeded", "refused", "failed", "attempted"]
EXTERNALS: st.SearchStrategy[dict[int, AnyFact]] = st.dictionaries(
    st.integers(min_value=1, max_value=8),
    st.sampled_from([events.Cancelled(reason="why"), events.Stopped(), events.Parked()]),
)


def outcome_of(data: st.DataObject, asked: Asked) -> AnyFact:
    if isinstance(asked.command, Sleep):
        return events.Fired(until_at=asked.command.until_at)
    kinds = OUTCOMES if isinstance(asked.command, Step) else ["succeeded", "succeeded", "attempted"]
    number = data.draw(st.integers(min_value=0, max_value=9), label="value")
    match data.draw(st.sampled_from(kinds), label=asked.address):
        case "succeeded":
            value = {"tell": f'"words {number}"'}.get(asked.command.call.name, str(number))
            return events.Succeeded(
                call=asked.record, value=msgspec.Raw(value.encode()), attempt=asked.attempt_count + 1
            )
        case "refused":
            return events.Refused(call=asked.record, error=encode_error(Refused(f"no {number}")))
        case "failed":
            return events.Failed(call=asked.record, error=encode_error(StepFault(f"broken {number}")))
        case _:
            return events.Attempted(
                call=asked.record,
                outcome="unknown",
                error=encode_error(RemoteError("Timeout", str(number))),
                attempt=asked.attempt_count + 1,
                fault_count=asked.fault_count + 1,
                retry_at=1000.0 + number,
            )


@contextmanager
def rebuilt(program: Program, *, gid: str = "g") -> Generator[tuple[Kernel, list[object]], None, None]:
    """A fresh kernel for a program, and what its workflow will see."""
    drawn, seen = workflow_of(program)
    with closing(Kernel(drawn, b"[]", gid=gid)) as kernel:
        yield kernel, seen


@contextmanager
def told(data: st.DataObject, program: Program) -> Generator[Live, None, None]:
    """The run of a program that meets a drawn story, to its end or some way."""
    with rebuilt(program) as (kernel, seen):
        live = Live(kernel, seen)
        tell_story(data, live)
        yield live


def tell_story(data: st.DataObject, live: Live) -> None:
    late: dict[str, AnyFact] = {}
    externals: dict[int, AnyFact] = data.draw(EXTERNALS)
    live.feed("", events.Began(workflow="drawn"))
    while live.kernel.ended is None and len(live.events) < EVENTS_MAX:
        live.at += data.draw(st.floats(min_value=0, max_value=10), label="later by")
        external = externals.pop(len(live.events), None)
        if external is not None:
            answers = {asked.address: outcome_of(data, asked) for asked in live.kernel.waiting}
            live.feed("", external)
            late |= {order.address: answers[order.address] for order in live.orders[-1] if isinstance(order, Abandoned)}
        elif late and data.draw(st.sampled_from([0, 1]), label="too late"):
            live.feed(*late.popitem())
        else:
            asked = data.draw(st.sampled_from(live.kernel.waiting))
            live.feed(asked.address, outcome_of(data, asked))
    if live.kernel.ended is not None:
        live.feed("", live.kernel.ended)


def stored(event: Event) -> Event:
    """An event as it comes out of a journal."""
    return Event(seq=event.seq, at=event.at, address=event.address, fact=decode_fact(encode_fact(event.fact)))


@given(programs, st.data())
def test_replaying_any_prefix_of_the_rows_gives_what_live_gave(program: Program, data: st.DataObject) -> None:
    with told(data, program) as live, rebuilt(program) as (again, seen):
        for event, snapshot in zip(live.events, live.snapshots, strict=True):
            assert fed(again, stored(event), seen) == snapshot


@given(straight, st.data())
def test_compensation_is_exactly_what_is_due_newest_first_each_once_with_its_result(
    program: Program, data: st.DataObject
) -> None:
    with told(data, program) as live:
        facts = facts_by_address(live)
        due = [name for asked in reversed(live.asked) for name in due_of(asked, facts.get(asked.address))]
        found = [
            (asked.address, asked.command.call.name, asked.command.result)
            for asked in live.asked
            if isinstance(asked.command, Compensate)
        ]
        assert found == due[: len(found)]
        ended, was_stopped = live.kernel.ended, any(isinstance(event.fact, events.Stopped) for event in live.events)
        if ended is not None and not was_stopped:
            assert len(found) == (len(due) if ended.status == "failed" else 0)
            assert all(isinstance(facts[address], events.Succeeded) for address, _, _ in found)


def facts_by_address(live: Live) -> dict[str, AnyFact]:
    """The last fact of each address that the run did not give up before."""
    facts: dict[str, AnyFact] = {}
    given_up: set[str] = set()
    for i, event in enumerate(live.events):
        if isinstance(event.fact, events.Cancelled | events.Stopped):
            given_up |= {order.address for order in live.orders[i] if isinstance(order, Abandoned)}
        if event.address and event.address not in given_up:
            facts[event.address] = event.fact
    return facts


def due_of(asked: Asked, fact: AnyFact | None) -> list[tuple[str, str, bytes | None]]:
    """The compensation that a step with this outcome must have if the run fails: address, name, recorded result."""
    step = asked.command
    if not isinstance(step, Step) or step.compensation is None:
        return []
    if isinstance(fact, events.Refused) and not step.compensates_refused:
        return []
    return [
        (
            f"{asked.address}/c",
            step.compensation.name,
            bytes(fact.value) if isinstance(fact, events.Succeeded) else None,
        )
    ]


@given(straight, st.data())
def test_a_cancelled_run_asks_for_its_compensations_only_and_fails(program: Program, data: st.DataObject) -> None:
    with told(data, program) as live:
        cancelled = [
            i
            for i, event in enumerate(live.events)
            if isinstance(event.fact, events.Cancelled) and "running" in live.snapshots[i - 1]
        ]
        for orders in live.orders[min(cancelled, default=EVENTS_MAX) :]:
            assert all(isinstance(order.command, Compensate) for order in orders if isinstance(order, Asked))
        if cancelled and live.kernel.ended is not None:
            assert live.kernel.ended.status == "failed"


@given(programs, st.data())
def test_a_stopped_run_asks_for_nothing_more_and_fails(program: Program, data: st.DataObject) -> None:
    with told(data, program) as live:
        stopped = [i for i, event in enumerate(live.events) if isinstance(event.fact, events.Stopped)]
        for orders in live.orders[min(stopped, default=EVENTS_MAX) :]:
            assert not any(isinstance(order, Asked) for order in orders)
        if stopped:
            assert live.kernel.waiting == []
            assert live.kernel.ended is not None
            assert live.kernel.ended.status == "failed"


@pytest.mark.usefixtures("only_garbage_from_now_on")
@given(programs, st.data())
def test_dropping_a_run_at_any_moment_performs_nothing_and_raises_nothing(
    program: Program, data: st.DataObject
) -> None:
    with told(data, program) as live, rebuilt(program) as (dropped, seen):
        moment = data.draw(st.integers(min_value=0, max_value=len(live.events)), label="dropped after")
        for event in live.events[:moment]:
            dropped.feed(event)
        before = ([asked.address for asked in dropped.waiting], dropped.phase)
        known = len(seen)
        dropped.close()
        # What its clean-up asked for was refused, whatever word it used.
        words = [note for note in seen[known:] if isinstance(note, Seen) and isinstance(note.op, Do | Nap)]
        assert all(note.error is RunClosed for note in words)
        assert ([asked.address for asked in dropped.waiting], dropped.phase) == before
    gc.collect()  # a coroutine that did not end would complain now, and fail the test


@given(programs, st.data())
def test_dice_are_the_runs_own(program: Program, data: st.DataObject) -> None:
    with told(data, (Act("look"), *program)) as live, rebuilt((Act("look"), *program), gid="h") as (other, seen):
        other.feed(live.events[0])
        mine, theirs = live.seen[0], seen[0]
        assert isinstance(mine, Seen)
        assert isinstance(theirs, Seen)
        assert mine.value[0] == theirs.value[0] == datetime.fromtimestamp(live.events[0].at, UTC)
        assert mine.value[1] != theirs.value[1]
        assert mine.value[2] != theirs.value[2]
        assert theirs.value[2].version == 4


def wrong_events(right: int) -> list[Event]:
    """Events of which none can be the next, when ``right`` is the next seq."""
    unlikely = ErrorRecord(type="nowhere:Unlikely", text="")
    wrong: list[tuple[int, str, AnyFact]] = [
        (right + 1, "", events.Parked()),
        (right - 1, "", events.Parked()),
        (right, "nowhere", events.Succeeded(call=events.CallRecord(name="add"))),
        (right, "nowhere", events.Fired(until_at=5.0)),
        (right, "", events.Began(workflow="drawn") if right else events.Parked()),
        (right, "", events.Ended(status="failed", error=unlikely)),
    ]
    return [Event(seq=seq, at=0.0, address=address, fact=fact) for seq, address, fact in wrong]


@given(programs, st.data())
def test_an_event_that_cannot_come_next_raises_and_changes_nothing(program: Program, data: st.DataObject) -> None:
    with told(data, program) as live, rebuilt(program) as (again, seen):
        moment = data.draw(st.integers(min_value=0, max_value=len(live.events)), label="wrong event after")
        for event in live.events[:moment]:
            again.feed(event)
        before = state_of(again, seen)
        wrong = data.draw(st.sampled_from(wrong_events(again.next_seq)), label="wrong event")
        with pytest.raises((AssertionError, NondeterminismError)):
            again.feed(wrong)
        assert state_of(again, seen) == before
        for event, snapshot in zip(live.events[moment:], live.snapshots[moment:], strict=True):
            assert fed(again, event, seen) == snapshot
        if live.kernel.ended is not None:
            with pytest.raises(AssertionError, match="nothing after its end"):
                again.feed(Event(seq=again.next_seq, at=0.0, address="", fact=events.Parked()))
