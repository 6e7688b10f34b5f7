"""Tx: the words a workflow is written in.

The law of this file: every word either answers from what is already in the journal's past (now, random, uuid4) or asks
the run for a command and waits. Nothing here performs anything. The names are trio's where trio has the thing.
"""

from __future__ import annotations

import math
import random
from collections.abc import Awaitable, Callable, Generator
from contextlib import AbstractAsyncContextManager
from datetime import UTC, datetime
from functools import partial
from typing import TYPE_CHECKING, Any, NoReturn, TypeVar, TypeVarTuple, cast, overload
from uuid import UUID

from flowtx_dsl import codec, structured
from flowtx_dsl.commands import Compensate, Confirm, Sleep, Step
from flowtx_dsl.effects import Effect, idempotent
from flowtx_dsl.errors import PayloadError, Refused, WorkflowError
from flowtx_dsl.outside import Update, read_sent
from flowtx_dsl.policies import Retry
from flowtx_dsl.run import Run
from flowtx_dsl.steps import DEFAULT_RETRY, TakesResult, check_timeout, frame_here, seconds_of, step_of, where_of
from flowtx_dsl.targets import ChildTarget, OfWorkflow, RemoteTarget, step_target_of, target_of

if TYPE_CHECKING:
    from typing_extensions import TypeForm  # what checkers know by themselves; nothing imports it

CHILD_RETRY = Retry(ongoing_s=600.0)
"""A parent that waits is told when its child is done; these looks are for the case that whoever tells it crashed."""

T = TypeVar("T")
Ts = TypeVarTuple("Ts")


class Tx:
    """One transaction, as its workflow sees it."""

    __slots__ = ("_run",)

    def __init__(self, run: Run) -> None:
        self._run = run

    @property
    def gid(self) -> str:
        """The transaction's id."""
        return self._run.gid

    @overload
    async def step(
        self,
        fn: Callable[[*Ts], Awaitable[T]],
        *args: *Ts,
        compensate: Callable[[*Ts], object] | TakesResult[*Ts] | RemoteTarget[Any] | None = None,
        compensate_refused: bool = False,
        retry: Retry = DEFAULT_RETRY,
        timeout_s: float | None = None,
        effect: Effect[*Ts] = idempotent,
        key: str = "",
    ) -> T: ...
    @overload
    async def step(
        self,
        fn: RemoteTarget[T],
        *args: *Ts,
        compensate: Callable[[*Ts], object] | TakesResult[*Ts] | RemoteTarget[Any] | None = None,
        compensate_refused: bool = False,
        retry: Retry = DEFAULT_RETRY,
        timeout_s: float | None = None,
        effect: Effect[*Ts] = idempotent,
        key: str = "",
    ) -> T: ...
    @overload
    async def step(
        self,
        fn: Callable[[*Ts], T],
        *args: *Ts,
        compensate: Callable[[*Ts], object] | TakesResult[*Ts] | RemoteTarget[Any] | None = None,
        compensate_refused: bool = False,
        retry: Retry = DEFAULT_RETRY,
        timeout_s: float | None = None,
        effect: Effect[*Ts] = idempotent,
        key: str = "",
    ) -> T: ...
    async def step(
        self,
        fn: Callable[..., object] | RemoteTarget[Any],
        *args: *Ts,  # pyright: ignore[reportInvalidTypeVarUse]  # mypy wants the overloads' own variable
        compensate: Callable[..., object] | TakesResult[*Ts] | RemoteTarget[Any] | None = None,
        compensate_refused: bool = False,
        retry: Retry = DEFAULT_RETRY,
        timeout_s: float | None = None,
        effect: Effect[*Ts] = idempotent,
        key: str = "",
    ) -> Any:
        """Do ``fn(*args)`` once, as far as this workflow can see, and return its result.

        ``fn`` is an async function (run on trio), a sync one (run in a thread) or a target like ``flowtx.http(url)``.
        ``compensate`` takes the step back with the same arguments should the transaction fail later; it is registered
        now, so a step whose outcome is unknown is compensated too, and a refused one only with ``compensate_refused``.
        ``timeout_s`` limits one attempt, in seconds.

        ``effect`` says what may be done when nobody knows whether an attempt happened, after a crash or a fault: make
        it again (``flowtx.idempotent``), ask first (``flowtx.check(fn)``), or wait for a person's decision
        (``flowtx.once``). ``key`` is the idempotency key to hand to the participant instead of the step's own.

        Raises ``Refused`` when the participant refused, whatever the last attempt raised when ``retry`` gives the step
        up, ``PayloadError`` when an argument cannot be journaled, ``WorkflowError`` when an argument is missing.
        """
        if effect is not idempotent or key:
            where = where_of(frame_here())
            step = step_of(fn, args, compensate, compensate_refused, retry, timeout_s, where, effect=effect, key=key)
            return await self._run.ask(step)
        # As step_of does it, written out because two more function calls a step can be measured.
        word = frame_here().f_back
        call = step_target_of(fn).call(args)
        if timeout_s is not None:
            check_timeout(call, timeout_s)
        return await self._run.ask(
            Step(
                call=call,
                where=f"{word.f_code.co_filename}:{word.f_lineno}" if word is not None else "",
                retry=retry,
                timeout_s=timeout_s,
                compensation=None if compensate is None else target_of(compensate).call(args),
                compensates_refused=compensate_refused,
            )
        )

    async def child(self, workflow: Callable[[Tx, *Ts], OfWorkflow[T]], *args: *Ts, gid: str = "") -> T:
        """Run another workflow as a part of this transaction and return its result.

        The child is a transaction of its own, under ``gid`` (default: this one's gid and the place it is asked at).
        When this transaction fails, the child is taken back as a whole, its own steps newest first; when it succeeds,
        what waited for success in the child is done, too. Until then the child, having returned, waits.

        Raises ``TransactionFailed`` when the child failed, with what turned it round as its cause (it has taken back
        what it did), ``GidTaken``, ``PayloadError`` and ``WorkflowError``.
        """
        call = ChildTarget(workflow=workflow, gid=gid).call(args)
        step = Step(
            call=call,
            where=where_of(frame_here()),
            retry=CHILD_RETRY,
            compensation=call,
            confirmation=call,
        )
        result: T = await self._run.ask(step)  # type: ignore[assignment]  # decoded by the child's own signature
        return result

    async def detach(self, workflow: Callable[[Tx, *Ts], OfWorkflow[Any]], *args: *Ts, gid: str = "") -> str:
        """Begin another workflow as a transaction on its own and return its gid; nobody waits for it or takes it back.

        Raises ``GidTaken``, ``PayloadError`` and ``WorkflowError``.
        """
        call = ChildTarget(workflow=workflow, gid=gid, is_detached=True).call(args)
        return str(await self._run.ask(Step(call=call, where=where_of(frame_here()), retry=CHILD_RETRY)))

    def compensate(
        self,
        fn: Callable[[*Ts], object] | RemoteTarget[Any],
        *args: *Ts,
        retry: Retry = DEFAULT_RETRY,
        timeout_s: float | None = None,
    ) -> Noted:
        """Register ``fn(*args)`` to be called should the transaction fail from here on, as ``compensate=`` of a step.

        Nothing is waited for; the order is that of all compensations, newest first. Raises ``PayloadError`` and
        ``WorkflowError`` as ``step`` does.
        """
        call = step_target_of(fn).call(args)
        if timeout_s is not None:
            check_timeout(call, timeout_s)
        where = where_of(frame_here())
        self._run.register(Compensate(call=call, where=where, retry=retry, timeout_s=timeout_s))
        return Noted(self._run)

    def message(
        self,
        fn: Callable[[*Ts], object] | RemoteTarget[Any],
        *args: *Ts,
        retry: Retry = DEFAULT_RETRY,
        timeout_s: float | None = None,
    ) -> Noted:
        """Register ``fn(*args)`` to be called once the transaction has succeeded, and never if it fails.

        It is the message that goes out with the transaction: after the workflow has returned, messages are delivered
        in the order they were asked for, those of parallel branches in parallel, each until it is taken: a refusal is
        tried again like a fault, because there is no way back any more. The run ends when all are delivered. Nothing is
        waited for here. Raises ``PayloadError`` and ``WorkflowError`` as ``step`` does.
        """
        call = step_target_of(fn).call(args)
        if timeout_s is not None:
            check_timeout(call, timeout_s)
        self._run.register(Confirm(call=call, where=where_of(frame_here()), retry=retry, timeout_s=timeout_s))
        return Noted(self._run)

    @overload
    async def tcc(
        self,
        try_: Callable[[*Ts], Awaitable[T]],
        confirm: Callable[[*Ts], object] | TakesResult[*Ts] | RemoteTarget[Any],
        cancel: Callable[[*Ts], object] | TakesResult[*Ts] | RemoteTarget[Any],
        *args: *Ts,
        retry: Retry = DEFAULT_RETRY,
        timeout_s: float | None = None,
    ) -> T: ...
    @overload
    async def tcc(
        self,
        try_: RemoteTarget[T],
        confirm: Callable[[*Ts], object] | TakesResult[*Ts] | RemoteTarget[Any],
        cancel: Callable[[*Ts], object] | TakesResult[*Ts] | RemoteTarget[Any],
        *args: *Ts,
        retry: Retry = DEFAULT_RETRY,
        timeout_s: float | None = None,
    ) -> T: ...
    @overload
    async def tcc(
        self,
        try_: Callable[[*Ts], T],
        confirm: Callable[[*Ts], object] | TakesResult[*Ts] | RemoteTarget[Any],
        cancel: Callable[[*Ts], object] | TakesResult[*Ts] | RemoteTarget[Any],
        *args: *Ts,
        retry: Retry = DEFAULT_RETRY,
        timeout_s: float | None = None,
    ) -> T: ...
    async def tcc(
        self,
        try_: Callable[..., object] | RemoteTarget[Any],
        confirm: Callable[..., object] | TakesResult[*Ts] | RemoteTarget[Any],
        cancel: Callable[..., object] | TakesResult[*Ts] | RemoteTarget[Any],
        *args: *Ts,  # pyright: ignore[reportInvalidTypeVarUse]  # mypy wants the overloads' own variable
        retry: Retry = DEFAULT_RETRY,
        timeout_s: float | None = None,
    ) -> Any:
        """Try, confirm, cancel: ``try_`` reserves now, ``confirm`` makes it final, ``cancel`` gives it back.

        ``confirm(*args)`` is called when the whole transaction has succeeded, ``cancel(*args)`` when it has failed,
        also after a refused try. One of the two is called for certain: a try that was given up, by a scope, is
        cancelled even when the transaction succeeds. Returns and raises what ``step(try_, *args)`` does.
        """
        where = where_of(frame_here())
        step = step_of(try_, args, cancel, True, retry, timeout_s, where, confirm=confirm)
        return await self._run.ask(step)

    @overload
    async def signal(self, name: str) -> Any: ...
    @overload
    async def signal(self, name: str, *, type: TypeForm[T]) -> T: ...
    async def signal(self, name: str, *, type: object = Any) -> Any:
        """Wait for the next signal of this name, as ``engine.signal(gid, name, value)`` sends it, and take it.

        Signals are kept until they are taken, in the order they came, also those that came before this was asked.
        Raises ``PayloadError`` when the value does not fit ``type``; it has been taken then.
        """
        decoder = codec.readable_decoder_of(type, f"tx.signal({name!r})")
        value = await self._run.take_signal(name)
        assert isinstance(value, bytes), value
        return read_sent(decoder, value, "signal", name)

    @overload
    async def update(self, name: str) -> Update[Any]: ...
    @overload
    async def update(self, name: str, *, type: TypeForm[T]) -> Update[T]: ...
    async def update(self, name: str, *, type: object = Any) -> Update[Any]:
        """Wait for the next update of this name, as ``engine.update(gid, name, value)`` asks for one, and take it.

        Say ``update.answer(...)`` or ``update.refuse(...)`` to it, at once or after as many steps as it needs: who
        asked waits. A value that does not fit ``type`` is refused, and the next one waited for; see ``guard``.
        """
        decoder = codec.readable_decoder_of(type, f"tx.update({name!r})")
        while True:
            key, data = cast("tuple[str, bytes]", await self._run.take_update(name))
            try:
                value = read_sent(decoder, data, "update", name)
            except PayloadError as error:  # the mistake of who asked, which must not end the run
                self._run.answer(key, b"null", Refused(error.message))
            else:
                return Update(name, value, partial(self._run.answer, key))

    @overload
    def guard(self, name: str, check: Callable[[Any], object]) -> None: ...
    @overload
    def guard(self, name: str, check: Callable[[T], object], *, type: TypeForm[T]) -> None: ...
    def guard(self, name: str, check: Callable[[Any], object], *, type: object = Any) -> None:
        """Let ``check(value)`` see every update of this name before it is stored: what it raises refuses the update.

        So does a value that does not fit ``type``. ``check`` reads what the workflow holds, and changes nothing.
        """
        decoder = codec.readable_decoder_of(type, f"tx.guard({name!r})")
        self._run.guard(name, lambda data: _ignore(check(decoder.decode(data, what=f"update {name}"))))

    def expose(self, name: str, fn: Callable[..., object]) -> None:
        """Answer ``engine.query(gid, name, *args)`` with ``fn(*args)``, now and whenever the run is asked, also later.

        ``fn`` reads what the workflow holds and returns plain data; it changes nothing and waits for nothing.
        """
        self._run.expose(name, fn)

    def changed(self, change: str) -> bool:
        """True when the run comes here for the first time with the changed code; runs in flight keep their old way.

        ``if tx.changed("fee"): new way, else: old way``: a run that was past this point before the change was deployed
        gets False, for as long as it lives; every other gets True. The answer is kept in the journal. Of a run whose
        process died before anything but its beginning was written nobody knows how far it came: it gets False, too.
        """
        return self._run.changed(change)

    def savepoint(self) -> AbstractAsyncContextManager[None]:
        """``async with tx.savepoint():`` takes back what was done inside when the block raises; the error passes.

        The run goes on if it is caught outside. Messages that were registered inside are not sent then.
        """
        return self._run.open_savepoint(where_of(frame_here()))

    def restart(self, *args: object) -> NoReturn:
        """End this journal and begin a fresh one under the same gid, with other input: for loops that run for ever.

        What was done stays done: messages go out, compensations are no longer due. Signals that were not taken stay.
        Raises ``PayloadError`` or ``WorkflowError`` when the input does not fit; never returns.
        """
        raise self._run.restart(args)

    @property
    def is_prepared(self) -> bool:
        """True while the transaction is only prepared: ``engine.prepare`` began it and ``submitted`` was not said."""
        return self._run.is_prepared

    def submitted(self) -> None:
        """From now on the transaction counts as submitted: its status is no longer "prepared" (spec 4.1)."""
        self._run.submitted()

    async def sleep(self, seconds: float) -> None:
        """Wait so many seconds of the transaction's time; a crash does not lengthen it.

        Raises ``WorkflowError`` for what is not a finite number of at least zero.
        """
        _check_length(seconds, "tx.sleep")
        await self._run.ask(Sleep(until_at=self._run.now_at() + seconds, where=where_of(frame_here())))

    async def sleep_until(self, instant: datetime) -> None:
        """Wait until an instant; raises ``WorkflowError`` for a datetime without a time zone."""
        await self._run.ask(Sleep(until_at=seconds_of(instant, "tx.sleep_until"), where=where_of(frame_here())))

    async def checkpoint(self) -> None:
        """Let the other tasks of this run go on, and take a cancellation that is due; nothing is journaled."""
        await self._run.checkpoint()

    def open_nursery(self) -> AbstractAsyncContextManager[structured.Nursery]:
        """Parallel branches: ``async with tx.open_nursery() as nursery``; see ``flowtx.Nursery``."""
        return self._run.open_nursery(where_of(frame_here()))

    def CancelScope(  # noqa: N802 - trio's name
        self, *, deadline: datetime | None = None, shield: bool = False
    ) -> structured.CancelScope:
        """A part of the workflow that can be cancelled, by ``cancel()`` or when its ``deadline`` has come.

        Raises ``WorkflowError`` for a deadline without a time zone.
        """
        at = math.inf if deadline is None else seconds_of(deadline, "tx.CancelScope")
        return self._run.open_scope(deadline_at=at, shield=shield, where=where_of(frame_here()))

    def move_on_after(self, seconds: float, *, shield: bool = False) -> structured.CancelScope:
        """A scope that is cancelled so many seconds after it is entered; a crash does not lengthen that.

        Raises ``WorkflowError`` for what is not a finite number of at least zero.
        """
        _check_length(seconds, "tx.move_on_after")
        return self._run.open_scope(after_s=seconds, shield=shield, where=where_of(frame_here()))

    def move_on_at(self, deadline: datetime, *, shield: bool = False) -> structured.CancelScope:
        """A scope that is cancelled at an instant; raises ``WorkflowError`` for a datetime without a time zone."""
        at = seconds_of(deadline, "tx.move_on_at")
        return self._run.open_scope(deadline_at=at, shield=shield, where=where_of(frame_here()))

    def fail_after(self, seconds: float, *, shield: bool = False) -> structured.CancelScope:
        """``move_on_after`` that raises ``TooSlowError`` at its end when it was cancelled and that was felt inside."""
        _check_length(seconds, "tx.fail_after")
        return self._run.open_scope(after_s=seconds, shield=shield, fails=True, where=where_of(frame_here()))

    def fail_at(self, deadline: datetime, *, shield: bool = False) -> structured.CancelScope:
        """``move_on_at`` that raises ``TooSlowError`` at its end when it was cancelled and that was felt inside."""
        at = seconds_of(deadline, "tx.fail_at")
        return self._run.open_scope(deadline_at=at, shield=shield, fails=True, where=where_of(frame_here()))

    def Event(self) -> structured.Event:  # noqa: N802 - trio's name
        """Something that one task sets and others wait for."""
        return self._run.make_event()

    @property
    def open_memory_channel(self) -> structured.ChannelOpener[object]:
        """A channel between tasks: ``tx.open_memory_channel(0)``; ``tx.open_memory_channel[int](0)`` with its type."""
        return structured.ChannelOpener(self._run, object)

    def now(self) -> datetime:
        """The time, in UTC, of the journal's event that brought the run here; the same at every replay."""
        return datetime.fromtimestamp(self._run.now_at(), UTC)

    @property
    def random(self) -> random.Random:
        """The running task's dice: the same throws at every replay."""
        return self._run.dice()

    def uuid4(self) -> UUID:
        """A random UUID: the same at every replay."""
        return UUID(int=self._run.dice().getrandbits(128), version=4)


def _ignore(value: object) -> None:
    """Whatever a check returns says nothing."""


class Noted:
    """What a word that only registers something returns; it may be awaited, which is a checkpoint."""

    __slots__ = ("_run",)

    def __init__(self, run: Run) -> None:
        self._run = run

    def __await__(self) -> Generator[Any, Any, None]:
        """Let the other tasks of the run go on."""
        return self._run.checkpoint().__await__()


def _check_length(seconds: object, word: str) -> None:
    # The comparison refuses NaN, too.
    if not (isinstance(seconds, int | float) and 0 <= seconds < math.inf):
        raise WorkflowError(
            f"{word}({seconds!r}): expected a finite number of seconds, at least zero",
            remedy="Pass seconds; those of a timedelta are delta.total_seconds().",
        )
