"""The kernel agrees with trio: programs over nurseries, scopes, deadlines, events and channels do the same in both.

Hypothesis draws a program as bytes, which are read as a tree of statements. One interpreter runs it under trio with a
jumping clock, and under the kernel, whose steps and timers a small driver brings back in the order of their times. What
every task saw must be equal, in order, with its times: values, errors down to the structure of groups, and for scopes
whether they were cancelled and whether they caught it.

What trio leaves open is fixed to one of the orders that trio may choose: tasks that are ready together run in the order
they became ready, and what trio keeps in sets of tasks is woken in the order it came. No two times tie: every duration
of a program carries a bit of its own, so that sums of different durations differ. Only deadlines that are set to the
instant itself are of one instant, and count in the order they were set.
"""

from __future__ import annotations

import heapq
import importlib
import itertools
import math
import os
from collections import OrderedDict
from collections.abc import Callable, Iterator
from contextlib import AbstractAsyncContextManager, AbstractContextManager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, Protocol, cast

import msgspec
import pytest
import trio
import trio.testing
from hypothesis import example, given, settings
from hypothesis import strategies as st

import flowtx
from flowtx_dsl.commands import Sleep, Step
from flowtx_dsl.error_codec import encode_error
from flowtx_engine.kernel.events import AnyFact, Began, Event, Failed, Fired, Refused, Succeeded
from flowtx_engine.kernel.kernel import Kernel
from flowtx_engine.kernel.tasks import Asked

PROGRAMS = {"ci": 10_000, "night": 500_000}.get(os.environ.get("HYPOTHESIS_PROFILE", ""), 1_000)

LONG_S = 2.0**24
DURATIONS_MAX = 24
LIMIT_S = 2.0**34
"""Every program is cut off here, so that tasks that wait for each other for ever end, too."""
DEPTH_MAX = 5
STATEMENTS_MAX = 60

# ---------------------------------------------------------------------------------------------------- programs

Body = tuple["Statement", ...]


@dataclass(frozen=True)
class Statement:
    """One statement: ``number`` tells it apart in traces, ``target`` is the scope, event or channel it speaks of."""

    kind: str
    number: int
    target: int = 0
    seconds: float = 0.0
    flag: bool = False
    bodies: tuple[Body, ...] = ()


PLAIN = (
    *("checkpoint", "step", "step", "step refused", "step failed", "step that hangs", "sleep", "raise"),
    *("cancel", "cancel", "set deadline", "unset deadline", "set shield", "unset shield", "look at scope"),
    *("set event", "wait event", "wait event", "start in", "start in"),
    *("send", "send", "receive", "receive", "send nowait", "receive nowait", "close send", "close receive"),
    *("clone send", "clone receive", "receive all", "is event set"),
    *("make scope", "make deadline", "make timeout", "start step", "raise group"),
    *("receive one", "send three", "aclose send", "aclose receive", "raise base"),
    *("deadline now", "deadline passed", "longer deadline"),
)
BLOCKS = (
    *("nursery", "nursery", "nursery", "scope", "shielded", "move_on_after", "move_on_after", "fail_after"),
    *("passed deadline", "except", "except base", "except star", "finally", "log and raise", "shielded finally"),
    *("enter made", "enter made", "move_on_at", "fail_at", "with send", "with receive"),
    *("except and again", "except star base", "except star again"),
)
TWO_BODIES = {
    *("except", "except base", "except star", "finally", "shielded finally"),
    *("except and again", "except star base", "except star again"),
}
TIMED = {
    *("step", "step refused", "step failed", "sleep", "set deadline", "move_on_after", "fail_after", "start step"),
    *("make deadline", "make timeout", "move_on_at", "fail_at", "longer deadline"),
}


class Reader:
    """Reads a program from bytes; where they end, everything ends."""

    def __init__(self, data: bytes) -> None:
        self._data = list(reversed(data))
        self._count = 0
        self._duration_count = 0

    def program(self) -> Body:
        statements: list[Statement] = []
        while self._data and self._count < STATEMENTS_MAX:
            statements.append(self._statement(DEPTH_MAX))
        return tuple(statements)

    def _body(self, depth: int) -> Body:
        statements: list[Statement] = []
        for _ in range(self._next() % 5):
            if self._count < STATEMENTS_MAX:
                statements.append(self._statement(depth))
        return tuple(statements)

    def _next(self) -> int:
        return self._data.pop() if self._data else 0

    def _statement(self, depth: int) -> Statement:
        number, self._count = self._count, self._count + 1
        choice = self._next()
        is_block = depth > 0 and choice >= 128
        kind = BLOCKS[choice % len(BLOCKS)] if is_block else PLAIN[choice % len(PLAIN)]
        seconds = 0.0
        if kind in TIMED:
            if self._duration_count == DURATIONS_MAX:
                kind = "checkpoint"
            else:
                seconds = (self._next() % 4 + 1) * LONG_S + 2.0**self._duration_count
                self._duration_count += 1
        what = self._next()
        bodies: list[Body] = []
        if kind == "nursery":
            bodies = [self._body(depth - 1) for _ in range(what // 4 % 4 + 1)]
        elif is_block or kind == "start in":
            count = 2 if kind in TWO_BODIES else 1
            bodies = [self._body(max(0, depth - 1)) for _ in range(count)]
        return Statement(kind, number, what % 4, seconds, what >= 128, tuple(bodies))


# ---------------------------------------------------------------------------------------------------- one interpreter


class Stop(BaseException):
    """What no ``except Exception`` catches."""


class Words(Protocol):
    """The words of a program, in one world or the other."""

    def now(self) -> float: ...
    async def checkpoint(self) -> None: ...
    async def step(self, statement: Statement) -> None: ...
    async def sleep(self, seconds: float) -> None: ...
    def nursery(self) -> AbstractAsyncContextManager[Any]: ...
    def scope(self, *, shield: bool) -> AbstractContextManager[Any]: ...
    def move_on_after(self, seconds: float) -> AbstractContextManager[Any]: ...
    def fail_after(self, seconds: float) -> AbstractContextManager[Any]: ...
    def move_on_at(self, at: float) -> AbstractContextManager[Any]: ...
    def fail_at(self, at: float) -> AbstractContextManager[Any]: ...
    def set_deadline(self, scope: Any, at: float) -> None: ...
    def deadline(self, scope: Any) -> float: ...
    def start_step(self, nursery: Any, statement: Statement) -> None: ...
    def event(self) -> Any: ...
    def channel(self, size: float) -> tuple[Any, Any]: ...


SAID = {
    "Nursery is closed to new arrivals": "closed nursery",
    "each scope may be used for a single": "entered twice",
    "Each CancelScope may only be used for a single": "entered twice",
    "does not have an absolute deadline": "no deadline yet",
}
"""What both worlds say in words, trio without a class of its own."""


def shape(error: BaseException) -> object:
    """An error as it can be compared between the two worlds."""
    if isinstance(error, BaseExceptionGroup):
        group = cast("BaseExceptionGroup[BaseException]", error)
        return [shape(member) for member in group.exceptions]
    if isinstance(error, trio.Cancelled | flowtx.Cancelled):
        return "Cancelled"
    for said, meant in SAID.items():
        if said in str(error):
            return meant
    return type(error).__name__, str(error) if isinstance(error, ValueError | flowtx.Refused) else ""


@dataclass
class Interpreter:
    """Runs a program over either world's words and writes down what every task sees."""

    words: Words
    trace: list[object] = field(default_factory=list[object])
    scopes: dict[int, Any] = field(default_factory=dict[int, Any])
    nurseries: dict[int, Any] = field(default_factory=dict[int, Any])
    made_scopes: list[Any] = field(default_factory=list[Any])
    is_cut_off: bool = False

    async def run(self, program: Body) -> None:
        self.events = [self.words.event() for _ in range(4)]
        self.ends = [
            [end] for size in (0, 1, 2, math.inf) for end in self.words.channel(size)
        ]  # send, receive, send, receive
        async with self.words.nursery() as nursery:
            nursery.start_soon(self.cut_off, nursery.cancel_scope)
            for statement in program:
                await self.guarded(statement)
            nursery.cancel_scope.cancel()

    async def cut_off(self, everything: Any) -> None:
        """What waits at the limit waits for ever: cancel it, shielded or not."""
        await self.words.sleep(LIMIT_S)
        self.is_cut_off = True
        self.log("cut off")
        for scope in self.scopes.values():
            scope.shield = False
        everything.cancel()

    def log(self, task: str, *what: object) -> None:
        self.trace.append((task, self.words.now(), *what))

    async def guarded(self, statement: Statement) -> None:
        """A statement of the program itself: its error is seen, and the next one follows."""
        try:
            await self.block("main", (statement,))
        except BaseException as error:
            self.log("main", "went on after", shape(error))

    async def task(self, name: str, body: Body) -> None:
        try:
            await self.block(name, body)
        except BaseException as error:
            self.log(name, "ended with", shape(error))
            raise
        self.log(name, "ended")

    async def block(self, task: str, body: Body) -> None:
        for statement in body:
            try:
                seen = await self.statement(task, statement)
            except BaseException as error:
                self.log(task, statement.number, statement.kind, shape(error))
                raise
            self.log(task, statement.number, statement.kind, seen)

    async def statement(self, task: str, one: Statement) -> object:
        match one.kind:
            case "nursery":
                return await self.nursery(task, one)
            case "scope" | "shielded" | "move_on_after" | "fail_after" | "passed deadline" | "move_on_at" | "fail_at":
                return await self.scope(task, one)
            case "make scope" | "make deadline" | "make timeout" | "enter made":
                return await self.made(task, one)
            case "with send" | "with receive":
                await self.within(task, one)
                return None
            case "except" | "except base" | "except star" | "finally" | "log and raise" | "shielded finally":
                return await self.handler(task, one)
            case "except and again" | "except star base" | "except star again":
                await self.raising_handler(task, one)
                return None
            case "send" | "send nowait" | "close send" | "clone send" | "send three" | "aclose send":
                return await self.send(one)
            case "receive" | "receive nowait" | "close receive" | "clone receive" | "receive all":
                return await self.receive(one)
            case "receive one" | "aclose receive":
                return await self.receive(one)
            case "deadline now" | "deadline passed" | "longer deadline":
                return self.at_scope(one)
            case "cancel" | "set deadline" | "unset deadline" | "set shield" | "unset shield" | "look at scope":
                return self.at_scope(one)
            case _:
                return await self.plain(task, one)

    async def plain(self, task: str, one: Statement) -> object:
        match one.kind:
            case "checkpoint":
                await self.words.checkpoint()
            case "sleep":
                await self.words.sleep(one.seconds)
            case "raise":
                raise ValueError(f"raised {one.number}")
            case "raise base":
                raise Stop(one.number)
            case "raise group":
                refused = flowtx.Refused(f"raised {one.number}")
                raise BaseExceptionGroup("", [refused, ExceptionGroup("", [ValueError(f"raised {one.number}")])])
            case "is event set":
                return self.events[one.target].is_set()
            case "start step":
                if self.nurseries:
                    nursery = list(self.nurseries.values())[one.target % len(self.nurseries)]
                    self.words.start_step(nursery, one)
            case "set event":
                self.events[one.target].set()
            case "wait event":
                await self.events[one.target].wait()
            case "start in":
                if self.nurseries:
                    nursery = list(self.nurseries.values())[one.target % len(self.nurseries)]
                    nursery.start_soon(self.task, f"{task}+{one.number}", one.bodies[0])
            case _:
                await self.words.step(one)
        return None

    async def nursery(self, task: str, one: Statement) -> object:
        async with self.words.nursery() as nursery:
            self.nurseries[one.number] = nursery
            self.scopes[one.number] = nursery.cancel_scope
            for i, body in enumerate(one.bodies[1:]):
                nursery.start_soon(self.task, f"{task}/{one.number}.{i}", body)
            await self.block(task, one.bodies[0])
        return nursery.cancel_scope.cancelled_caught, nursery.cancel_scope.cancel_called

    async def scope(self, task: str, one: Statement) -> object:
        words = self.words
        opened = {
            "scope": lambda: words.scope(shield=False),
            "shielded": lambda: words.scope(shield=not self.is_cut_off),
            "move_on_after": lambda: words.move_on_after(one.seconds),
            "fail_after": lambda: words.fail_after(one.seconds),
            "passed deadline": lambda: words.move_on_after(0),
            "move_on_at": lambda: words.move_on_at(one.seconds),
            "fail_at": lambda: words.fail_at(one.seconds),
        }[one.kind]()
        with opened as scope:
            self.scopes[one.number] = scope
            await self.block(task, one.bodies[0])
        return scope.cancelled_caught, scope.cancel_called

    async def made(self, task: str, one: Statement) -> object:
        """Scopes that are made at one time, and entered, once or twice, at another."""
        if one.kind != "enter made":
            words = self.words
            scope = words.move_on_after(one.seconds) if one.kind == "make timeout" else words.scope(shield=False)
            if one.kind == "make deadline":
                words.set_deadline(scope, one.seconds)
            self.made_scopes.append(scope)
            self.scopes[one.number] = scope
            return None
        if not self.made_scopes:
            return "none is made"
        with self.made_scopes[one.target % len(self.made_scopes)] as scope:
            await self.block(task, one.bodies[0])
        return scope.cancelled_caught, scope.cancel_called

    async def within(self, task: str, one: Statement) -> None:
        """An end of a channel, closed when the block is left."""
        ends = self.ends[one.target * 2 + (one.kind == "with receive")]
        with ends[-1].clone() as end:
            ends.append(end)
            await self.block(task, one.bodies[0])

    def at_scope(self, one: Statement) -> object:
        if not self.scopes:
            return "no scope"
        scope = list(self.scopes.values())[one.target % len(self.scopes)]
        match one.kind:
            case "cancel":
                scope.cancel()
            case "set deadline":
                self.words.set_deadline(scope, self.words.now() + one.seconds)
            case "deadline now":
                self.words.set_deadline(scope, self.words.now())
            case "deadline passed":
                self.words.set_deadline(scope, self.words.now() - 1)
            case "longer deadline":
                self.words.set_deadline(scope, self.words.deadline(scope) + one.seconds)
            case "unset deadline":
                self.words.set_deadline(scope, math.inf)
            case "set shield" | "unset shield":
                scope.shield = one.kind == "set shield" and not self.is_cut_off
            case _:
                pass
        called = None if one.flag else scope.cancel_called  # to read it makes a deadline that has passed count
        return called, scope.cancelled_caught, scope.shield, self.words.deadline(scope)

    async def handler(self, task: str, one: Statement) -> object:
        seen: list[object] = []
        match one.kind:
            case "except":
                try:
                    await self.block(task, one.bodies[0])
                except Exception as error:
                    seen.append(shape(error))
                    await self.block(task, one.bodies[1])
            case "except base":
                try:
                    await self.block(task, one.bodies[0])
                except BaseException as error:
                    seen.append(shape(error))
                    await self.block(task, one.bodies[1])
            case "except star":
                try:
                    await self.block(task, one.bodies[0])
                except* flowtx.Refused as group:
                    seen.append(shape(group))
                except* ValueError as group:
                    seen.append(shape(group))
                    await self.block(task, one.bodies[1])
            case "log and raise":
                try:
                    await self.block(task, one.bodies[0])
                except BaseException as error:
                    raise ValueError(f"instead {one.number}") from error
            case "finally":
                try:
                    await self.block(task, one.bodies[0])
                finally:
                    await self.block(task, one.bodies[1])
            case _:
                try:
                    await self.block(task, one.bodies[0])
                finally:
                    with self.words.scope(shield=not self.is_cut_off) as scope:
                        self.scopes[one.number] = scope
                        await self.block(task, one.bodies[1])
        return seen

    async def raising_handler(self, task: str, one: Statement) -> None:
        """Handlers that raise again, or that take cancellations out of groups."""
        match one.kind:
            case "except and again":
                try:
                    await self.block(task, one.bodies[0])
                except BaseException as error:
                    self.log(task, "caught", shape(error))
                    await self.block(task, one.bodies[1])
                    raise
            case "except star base":
                try:
                    await self.block(task, one.bodies[0])
                except* (trio.Cancelled, flowtx.Cancelled) as group:
                    self.log(task, "caught", shape(group))
                    await self.block(task, one.bodies[1])
                    if one.flag:
                        raise
            case _:
                try:
                    await self.block(task, one.bodies[0])
                except* flowtx.Refused as group:
                    self.log(task, "caught", shape(group))
                    raise
                except* BaseException as group:
                    self.log(task, "caught", shape(group))
                    await self.block(task, one.bodies[1])
                    raise ValueError(f"instead {one.number}") from group

    async def send(self, one: Statement) -> object:
        ends = self.ends[one.target * 2]
        end = ends[one.flag % len(ends)]
        match one.kind:
            case "send":
                await end.send(one.number)
            case "send nowait":
                end.send_nowait(one.number)
            case "send three":
                async with end:
                    for i in range(3):
                        await end.send((one.number, i))
            case "aclose send":
                await end.aclose()
            case "clone send":
                ends.append(end.clone())
            case _:
                end.close()
        return None

    async def receive(self, one: Statement) -> object:
        ends = self.ends[one.target * 2 + 1]
        end = ends[one.flag % len(ends)]
        match one.kind:
            case "receive":
                return await end.receive()
            case "receive nowait":
                return end.receive_nowait()
            case "receive all":
                return [value async for value in end]
            case "receive one":
                async for value in end:
                    return value
            case "aclose receive":
                await end.aclose()
            case "clone receive":
                ends.append(end.clone())
            case _:
                end.close()
        return None


# ---------------------------------------------------------------------------------------------------- trio


class Ordered(OrderedDict[Any, None]):
    """A set that keeps its order, in place of trio's sets of tasks."""

    def add(self, item: object) -> None:
        self[item] = None

    def remove(self, item: object) -> None:
        del self[item]


class Backwards(Ordered):
    """Of scopes inside a scope: trio takes the last of them first."""

    def __iter__(self) -> Iterator[Any]:
        backwards: list[Any] = list(super().__iter__())[::-1]
        return iter(backwards)


class Fifo:
    """In place of trio's dice: whatever became ready first runs first."""

    def random(self) -> float:
        return 0.0


async def checkpoint_if_cancelled() -> None:
    """What trio 0.35 says its own is equivalent to.

    Found here: its own fails an assertion when a shield goes up between a cancellation and its arrival at a channel.
    """
    if trio.current_effective_deadline() == -math.inf:
        await trio.lowlevel.checkpoint()


def deadline_in_order() -> Callable[[Any, float, Any], None]:
    """``Deadlines.add`` of trio, which has deadlines of one instant in the order of their scopes' places in memory."""
    count = itertools.count()

    def add(deadlines: Any, deadline: float, scope: Any) -> None:
        heap = deadlines._heap
        heap[:] = [it for it in heap if it[2] is not scope]  # what is stale would give it its old place
        heapq.heapify(heap)
        heapq.heappush(heap, (deadline, next(count), scope))
        deadlines._active += 1

    return add


@pytest.fixture(autouse=True, scope="module")
def fixed_order() -> Iterator[None]:
    """Fix what trio leaves open."""
    run: Any = importlib.import_module("trio._core._run")
    inner = run.CancelStatus.__attrs_post_init__

    def ordered(status: Any) -> None:
        status._tasks = Ordered()
        status._children = Backwards()
        inner(status)

    channels: Any = importlib.import_module("trio._channel")

    def ordered_end(kind: Any) -> Any:
        begin = kind.__attrs_post_init__

        def begin_in_order(end: Any) -> None:
            end._tasks = Ordered()
            begin(end)

        return begin_in_order

    with pytest.MonkeyPatch.context() as patch:
        for kind in (channels.MemorySendChannel, channels.MemoryReceiveChannel):
            patch.setattr(kind, "__attrs_post_init__", ordered_end(kind))
        patch.setattr(trio.lowlevel, "checkpoint_if_cancelled", checkpoint_if_cancelled)
        patch.setattr(run, "_ALLOW_DETERMINISTIC_SCHEDULING", False)
        patch.setattr(run, "_r", Fifo())
        patch.setattr(run.Deadlines, "add", deadline_in_order())
        patch.setattr(run.CancelStatus, "__attrs_post_init__", ordered)
        yield


class TrioWords:
    """The words as trio has them; a step sleeps as long as it takes."""

    def now(self) -> float:
        return trio.current_time()

    async def checkpoint(self) -> None:
        await trio.lowlevel.checkpoint()

    async def sleep(self, seconds: float) -> None:
        """One wait. (``trio.sleep`` waits in a scope of its own, which changes the order in which a cancel wakes.)"""
        task = trio.lowlevel.current_task()
        waking = trio.CancelScope()

        async def wake() -> None:
            with waking:
                await trio.sleep(seconds)
                trio.lowlevel.reschedule(task)

        def abort(_: object) -> trio.lowlevel.Abort:
            waking.cancel()
            return trio.lowlevel.Abort.SUCCEEDED

        trio.lowlevel.spawn_system_task(wake)
        await trio.lowlevel.wait_task_rescheduled(abort)

    async def step(self, statement: Statement) -> None:
        await self.sleep(math.inf if statement.kind == "step that hangs" else statement.seconds)
        error = error_of(statement.kind, statement.number)
        if error is not None:
            raise error

    def nursery(self) -> AbstractAsyncContextManager[Any]:
        return trio.open_nursery()

    def scope(self, *, shield: bool) -> AbstractContextManager[Any]:
        return trio.CancelScope(shield=shield)

    def move_on_after(self, seconds: float) -> AbstractContextManager[Any]:
        return trio.move_on_after(seconds)

    def fail_after(self, seconds: float) -> AbstractContextManager[Any]:
        return trio.fail_after(seconds)

    def move_on_at(self, at: float) -> AbstractContextManager[Any]:
        return trio.move_on_at(at)

    def fail_at(self, at: float) -> AbstractContextManager[Any]:
        return trio.fail_at(at)

    def set_deadline(self, scope: Any, at: float) -> None:
        scope.deadline = math.inf  # so that the same instant, set again, counts as set last
        scope.deadline = at

    def deadline(self, scope: Any) -> float:
        return cast("float", scope.deadline)

    def start_step(self, nursery: Any, statement: Statement) -> None:
        nursery.start_soon(self.step, statement)

    def event(self) -> Any:
        event = trio.Event()
        event._tasks = Ordered()  # type: ignore[assignment]  # see Ordered
        return event

    def channel(self, size: float) -> tuple[Any, Any]:
        return trio.open_memory_channel[int](size)


def error_of(kind: str, number: int) -> Exception | None:
    """What a step ends with."""
    match kind:
        case "step refused":
            return flowtx.Refused(f"refused {number}")
        case "step failed":
            return ValueError(f"failed {number}")
        case _:
            return None


def under_trio(program: Body) -> list[object]:
    interpreter = Interpreter(TrioWords())
    trio.run(interpreter.run, program, clock=trio.testing.MockClock(autojump_threshold=0))
    return interpreter.trace


# ---------------------------------------------------------------------------------------------------- the kernel


def step(kind: str, seconds: float, number: int) -> None:
    """A step that is never performed: the driver below says what becomes of it."""


@dataclass
class KernelWords:
    """The words as a workflow has them."""

    tx: flowtx.Tx

    def now(self) -> float:
        return self.tx.now().timestamp()

    async def checkpoint(self) -> None:
        await self.tx.checkpoint()

    async def sleep(self, seconds: float) -> None:
        await self.tx.sleep(seconds)

    async def step(self, statement: Statement) -> None:
        await self.tx.step(step, statement.kind, statement.seconds, statement.number)

    def nursery(self) -> AbstractAsyncContextManager[Any]:
        return self.tx.open_nursery()

    def scope(self, *, shield: bool) -> AbstractContextManager[Any]:
        return self.tx.CancelScope(shield=shield)

    def move_on_after(self, seconds: float) -> AbstractContextManager[Any]:
        return self.tx.move_on_after(seconds)

    def fail_after(self, seconds: float) -> AbstractContextManager[Any]:
        return self.tx.fail_after(seconds)

    def move_on_at(self, at: float) -> AbstractContextManager[Any]:
        return self.tx.move_on_at(datetime.fromtimestamp(at, UTC))

    def fail_at(self, at: float) -> AbstractContextManager[Any]:
        return self.tx.fail_at(datetime.fromtimestamp(at, UTC))

    def set_deadline(self, scope: Any, at: float) -> None:
        scope.deadline = None if at == math.inf else datetime.fromtimestamp(at, UTC)

    def deadline(self, scope: Any) -> float:
        return math.inf if scope.deadline is None else scope.deadline.timestamp()

    def start_step(self, nursery: Any, statement: Statement) -> None:
        nursery.start_step(step, statement.kind, statement.seconds, statement.number)

    def event(self) -> Any:
        return self.tx.Event()

    def channel(self, size: float) -> tuple[Any, Any]:
        return self.tx.open_memory_channel(size)


def workflow_of(program: Body, traces: list[list[object]]) -> flowtx.Workflow[[], None]:
    """The program as a workflow; each run of it leaves a trace."""

    @flowtx.workflow
    async def interpreted(tx: flowtx.Tx) -> None:
        interpreter = Interpreter(KernelWords(tx))
        traces.append(interpreter.trace)
        await interpreter.run(program)

    return interpreted


def under_kernel(program: Body) -> tuple[list[object], list[Event]]:
    """The trace, and the journal that brought the run there."""
    traces: list[list[object]] = []
    kernel = Kernel(workflow_of(program, traces), b"[]", gid="g")
    events: list[Event] = []
    due: list[tuple[float, int, Asked]] = []
    asked_count = [0]

    def feed(at: float, address: str, fact: AnyFact) -> None:
        events.append(Event(seq=len(events), at=at, address=address, fact=fact))
        for order in kernel.feed(events[-1]):
            if isinstance(order, Asked):
                asked_count[0] += 1
                heapq.heappush(due, (due_at(order, at), asked_count[0], order))

    feed(0.0, "", Began(workflow="interpreted"))
    while kernel.ended is None:
        at, _, asked = heapq.heappop(due)
        if kernel.asked(asked.address) is asked:
            feed(at, asked.address, fact_of(asked))
    assert kernel.waiting == [], "a run that has ended waits for nothing"
    kernel.close()
    return traces[0], events


def due_at(asked: Asked, now_at: float) -> float:
    command = asked.command
    if isinstance(command, Sleep):
        return command.until_at
    kind, seconds, _ = msgspec.json.decode(command.call.payload, type=tuple[str, float, int])
    return math.inf if kind == "step that hangs" else now_at + seconds


def fact_of(asked: Asked) -> AnyFact:
    command = asked.command
    if isinstance(command, Sleep):
        return Fired(until_at=command.until_at)
    assert isinstance(command, Step), command
    kind, _, number = msgspec.json.decode(command.call.payload, type=tuple[str, float, int])
    match error_of(kind, number):
        case flowtx.Refused() as error:
            return Refused(call=asked.record, error=encode_error(error))
        case Exception() as error:
            return Failed(call=asked.record, error=encode_error(error))
        case None:
            return Succeeded(call=asked.record)


# ---------------------------------------------------------------------------------------------------- the laws


@settings(max_examples=PROGRAMS)
@given(data=st.binary(max_size=160))
@example(data=bytes.fromhex("910502010000000001aa06010500022a8257e1"))  # two deadlines set to one instant
@example(data=bytes.fromhex("f104020e00c40003d90f016c000301000000000000002a2aa501000000000000007b2a8f"))
@example(data=bytes.fromhex("908401010000019080042a812a802a810500"))  # one of them set twice
def test_the_kernel_does_what_trio_does(data: bytes) -> None:
    program = Reader(data).program()
    trace, events = under_kernel(program)
    under = under_trio(program)
    assert trace == under, program
    replayed: list[list[object]] = []
    kernel = Kernel(workflow_of(program, replayed), b"[]", gid="g")
    for event in events:
        kernel.feed(event)
    kernel.close()
    assert replayed[0] == trace, "a replay sees what the first run saw"
