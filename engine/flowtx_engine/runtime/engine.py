"""Engine: the face of the runtime. Begins transactions, ends them from outside, and answers questions about them.

The law of this file: a promise is made only after the journal has it. Driving and recovery are the node's.
"""

from __future__ import annotations

import contextlib
import logging
import random
import uuid
from collections.abc import Iterable
from datetime import datetime
from functools import partial
from typing import Any, TypeVar, TypeVarTuple

import msgspec
import trio

from flowtx_dsl import codec
from flowtx_dsl.error_codec import ErrorRecord, decode_error
from flowtx_dsl.errors import (
    EngineClosed,
    NoSuchTransaction,
    Overloaded,
    TransactionFailed,
)
from flowtx_dsl.workflow import AnyWorkflow, Workflow
from flowtx_engine.calls.attempt import Performer
from flowtx_engine.journal.errors import ConflictError, JournalUnavailable
from flowtx_engine.journal.journal import Journal
from flowtx_engine.journal.records import Filter, NewPlace, Transaction
from flowtx_engine.journal.schedules import CatchUp, CronSchedule, Overlap
from flowtx_engine.kernel.events import Began, Cancelled, Event, Hastened, Signalled, Stopped, Updated, Verdict
from flowtx_engine.kernel.view import RunView
from flowtx_engine.runtime.asking import Asking
from flowtx_engine.runtime.by_hand import ByHand
from flowtx_engine.runtime.children import Children
from flowtx_engine.runtime.clock import Clock, SystemClock
from flowtx_engine.runtime.deciding import deciding
from flowtx_engine.runtime.judge import too_long
from flowtx_engine.runtime.kv import KeyValues
from flowtx_engine.runtime.limits import EngineLimits
from flowtx_engine.runtime.looking import events_of, must_find
from flowtx_engine.runtime.node import Node
from flowtx_engine.runtime.outside import Decide
from flowtx_engine.runtime.registry import Registry
from flowtx_engine.runtime.replay import view_of_history
from flowtx_engine.runtime.schedules import NoSuchSchedule, new_schedule
from flowtx_engine.runtime.starting import beginning_of, check_gid, check_same, first_write, starts_at_of
from flowtx_engine.runtime.telling import AlreadyFinal, Telling
from flowtx_engine.runtime.tools import Tools
from flowtx_engine.runtime.watch import Watch

T = TypeVar("T")
Ts = TypeVarTuple("Ts")

log = logging.getLogger("flowtx.engine")

PARKED_POLLS = 10
"""A transaction in nobody's memory is looked at this many times more seldom than one that another node drives."""


class Engine:
    """One node: drives the transactions of one journal together with every other node on the same database."""

    def __init__(
        self,
        journal: Journal,
        performer: Performer,
        *,
        workflows: Iterable[AnyWorkflow] = (),
        limits: EngineLimits | None = None,
        clock: Clock | None = None,
        dice: random.Random | None = None,
    ) -> None:
        """Raises ``WorkflowError`` when two workflows share a name. Nothing happens until ``serve`` runs."""
        dice = dice or random.Random()
        self.node = f"node-{dice.getrandbits(64):016x}"
        self.limits = limits = limits or EngineLimits()
        self._journal = journal
        self._clock = clock or SystemClock()
        self._watch = Watch()
        self.kv = KeyValues(journal, self._clock)
        tools = Tools(
            node=self.node,
            journal=journal,
            performer=Children(self, performer, patience_s=limits.park_after_s),
            clock=self._clock,
            dice=dice,
            limits=self.limits,
            watch=self._watch,
        )
        self.observers = tools.observers
        self._node = Node(tools, Registry(workflows), self._hasten_parent)
        self.statistics = self._node.statistics  # what it holds just now, and what its journal has done
        self.by_hand = partial(ByHand, tools, self._node)  # drives its work and time by hand from then on, for tests
        self._asking = Asking(self._node, tools)
        self._telling = Telling(self._node, tools)

    async def serve(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Run the node until it is cancelled: drive, recover, beat. Cancelling it is a crash; see ``shut_down``."""
        await self._node.serve(task_status=task_status)

    async def shut_down(self) -> None:
        """Take no more work, let calls in flight end within the grace period, give everything else back."""
        await self._node.shut_down()

    def now_at(self) -> float:
        """The engine's time, in seconds since the epoch."""
        return self._clock.now_at()

    # -- the words of the library

    async def run(
        self,
        workflow: Workflow[T, *Ts],
        *args: *Ts,
        gid: str = "",
        at: datetime | None = None,
        delay_s: float | None = None,
    ) -> T:
        """Run a transaction to its end and return its result; the same ``gid`` and input again give the same run.

        ``at`` and ``delay_s`` are those of ``start``. Raises ``TransactionFailed`` when it failed and was compensated
        (``__cause__`` says what turned it round), and whatever ``start`` raises.
        """
        gid = await self.start(workflow, *args, gid=gid, at=at, delay_s=delay_s)
        result: T = self._result_of(workflow, await self._until_final(gid))
        return result

    async def start(
        self,
        workflow: Workflow[T, *Ts],
        *args: *Ts,
        gid: str = "",
        at: datetime | None = None,
        delay_s: float | None = None,
    ) -> str:
        """Begin a transaction and return its gid; it is durable by then. Without a ``gid``, one is made.

        ``at`` (an instant, with its time zone) or ``delay_s`` (seconds) lets it begin later, on whichever node has its
        workflow loaded then. ``tx.now()`` is that instant when it begins, even if every node was down meanwhile. The
        same gid and input again give the run that is there, which keeps its own time: another ``at`` changes nothing.

        Raises ``GidTaken`` when the gid belongs to another workflow or input, ``PayloadError`` or ``WorkflowError``
        when the input does not fit, ``Overloaded``, ``EngineClosed``, and ``JournalUnavailable`` when the database
        fails (the transaction may then exist: start it again with the same gid).
        """
        payload = workflow.signature.encode_args(args)
        row, is_new = await self.create(
            workflow,
            payload,
            gid=gid or str(uuid.uuid4()),
            pattern="workflow",
            starts_at=starts_at_of(at, delay_s, now_at=self.now_at()),
        )
        if not is_new:
            check_same(row, workflow, payload)
        return row.gid

    async def wait(self, gid: str) -> Any:
        """The result of a transaction, as plain data, when it ends.

        Raises ``TransactionFailed``, ``NoSuchTransaction``, and what keeps the run from going on here, such as
        ``NondeterminismError``.
        """
        return self._result_of(None, await self._until_final(gid))

    async def cancel(self, gid: str, *, reason: str = "") -> None:
        """Ask a run to unwind and compensate; durable when it returns.

        Raises ``NoSuchTransaction``, ``AlreadyFinal``.
        """
        await self._telling.put(gid, Cancelled(reason=reason))

    async def stop(self, gid: str, *, reason: str = "") -> None:
        """End a transaction as failed by force: nothing more is called, nothing compensated (spec 2.4, forceStop).

        Raises ``NoSuchTransaction``, ``AlreadyFinal``.
        """
        await self._telling.put(gid, Stopped(reason=reason))

    async def signal(self, gid: str, name: str, value: object = None, *, key: str = "") -> None:
        """Send a signal to a run; durable when it returns, whether or not the run waits for it yet.

        Of several signals with one ``key`` the run gets one: repeat a call whose answer was lost with the same key.
        Raises ``PayloadError``, ``NoSuchTransaction``, ``AlreadyFinal``.
        """
        data = codec.encode(value, what=f"signal {name}")
        self._check_size(f"signal {name} of {gid}", data)
        await self._telling.put(gid, Signalled(name=name, value=msgspec.Raw(data), key=key))

    async def hasten(self, gid: str) -> None:
        """Make every attempt of a run that is due later due now; its timers keep their time.

        Raises ``NoSuchTransaction``, ``AlreadyFinal``.
        """
        await self._telling.put(gid, Hastened())

    async def update(self, gid: str, name: str, value: object = None, *, key: str = "") -> Any:
        """Ask something of a run and return its answer, as plain data; waits as long as the run takes to answer.

        Without a ``key`` one is made; repeat a call whose answer was lost with the same key. Raises ``Refused`` when
        the run refuses, whatever its guard raises (nothing is stored then), ``Unanswered`` when the run ends first,
        ``PayloadError``, ``NoSuchTransaction``, ``AlreadyFinal`` and ``NoSuchWorkflow``.
        """
        data = codec.encode(value, what=f"update {name}")
        self._check_size(f"update {name} of {gid}", data)
        fact = Updated(name=name, key=key or str(uuid.uuid4()), value=msgspec.Raw(data))
        async with self._asking.kernel_of(gid) as kernel:
            answer = kernel.dialogue.answers.get(fact.key)
            if answer is None:
                kernel.dialogue.check(name, data)
        if answer is None:
            await self._telling.put(gid, fact)
            answer = await self._asking.answer_of(gid, fact.key)
        if answer.error is not None:
            raise decode_error(answer.error)
        return msgspec.json.decode(answer.value)

    async def query(self, gid: str, name: str, *args: object) -> Any:
        """What the run's exposed function ``name`` says of it now, as plain data; also of a run that has ended.

        A run that is not driven here is replayed, which performs nothing. Raises ``QueryError``, ``NoSuchTransaction``,
        ``NoSuchWorkflow``, ``NondeterminismError``.
        """
        async with self._asking.kernel_of(gid) as kernel:
            return msgspec.json.decode(kernel.dialogue.query(name, args))

    async def decide(self, gid: str, address: str, verdict: Verdict, *, value: object = None, reason: str = "") -> None:
        """Say what became of a step with ``effect=flowtx.once`` that is in doubt; durable when it returns.

        "succeeded" goes on with ``value`` as its result, "refused" as if its participant had said so, "retry" makes it
        again. Raises ``NotInDoubt``, ``PayloadError``, ``WorkflowError``, ``NoSuchTransaction``, ``AlreadyFinal``.
        """
        data = codec.encode(value, what=f"the value decided for {address}")
        self._check_size(f"the value decided for {address} of {gid}", data)
        await self.tell(gid, deciding(address, verdict, value=data, reason=reason, registry=self._node.registry))

    async def transaction(self, gid: str) -> Transaction | None:
        """A transaction's row as the journal has it, or None."""
        return await self._journal.transaction(gid)

    async def transactions(
        self, wanted: Filter | None = None, *, before_id: int | None = None, limit: int = 100
    ) -> list[Transaction]:
        """A page of transactions, newest first; ``before_id`` is the id of the last one of the page before."""
        return await self._journal.transactions(wanted or Filter(), before_id=before_id, limit=limit)

    async def history(self, gid: str) -> list[Event]:
        """A transaction's journal, in order; empty when there is none."""
        return await events_of(self._journal, gid)

    async def tasks(self, gid: str) -> RunView:
        """What a run waits for: its tasks as a tree, each with the line it waits at; see ``flowtx.RunView``.

        A run that is not driven here is replayed, which performs nothing. Raises ``NoSuchTransaction``,
        ``NoSuchWorkflow`` when its code is not loaded here, and ``NondeterminismError`` when it has left its history.
        """
        driver = self._node.active.get(gid)
        view = driver.view() if driver is not None else None
        if view is not None and view.phase != "new":
            return view
        row = await must_find(self._journal, gid)
        workflow = self._node.registry.find(row.workflow, row.version)
        return view_of_history(workflow, row.input, await self.history(gid), gid=gid)

    # -- schedules

    async def schedule(
        self,
        name: str,
        workflow: Workflow[T, *Ts],
        *args: *Ts,
        cron: str,
        timezone: str = "UTC",
        catch_up: CatchUp = "latest",
        overlap: Overlap = "allow",
    ) -> CronSchedule:
        """Start a workflow at every tick of ``cron`` in ``timezone``, once on all nodes together; durable from now on.

        A tick's run has the gid ``schedule/<name>/<instant in UTC>``, and ``tx.now()`` is that instant when it begins.
        Of ticks that no node was there for, ``catch_up`` starts the "latest", "all" or "none". ``overlap="skip"``
        starts no tick while the run of the last one is not finished. A schedule of this name is changed; its next tick
        stays when the times are the same, so a program may say its schedules at every start.

        Raises ``WorkflowError`` and ``PayloadError`` for what could not be started, ``JournalUnavailable``.
        """
        found = {one.name: one for one in await self.schedules()}
        made = new_schedule(
            name,
            workflow,
            args,
            cron=cron,
            timezone=timezone,
            catch_up=catch_up,
            overlap=overlap,
            now_at=self.now_at(),
            before=found.get(name),
        )
        self._check_size(f"the input of schedule {name}", made.input)
        await self._journal.ask_node(lambda store: store.put_schedule(made))
        if self._node.registry.add(workflow):
            self._node.look()
        self._node.ticker.look()
        return made

    async def unschedule(self, name: str) -> None:
        """Forget a schedule; runs that it has started go on. Raises ``NoSuchSchedule``."""
        if not await self._journal.ask_node(lambda store: store.delete_schedule(name)):
            raise NoSuchSchedule(f"there is no schedule {name}")

    async def schedules(self) -> list[CronSchedule]:
        """All schedules, by their names."""
        return await self._journal.ask_node(lambda store: store.schedules())

    # -- what front ends use

    async def create(
        self,
        workflow: AnyWorkflow,
        payload: bytes,
        *,
        gid: str,
        pattern: str,
        options: bytes = b"{}",
        starts_at: float | None = None,
        parent: str = "",
    ) -> tuple[Transaction, bool]:
        """Begin a transaction, durable when this returns: its row and True, or the existing row of the gid and False.

        ``starts_at`` is when it begins, None: now. What a child of a ``parent`` does is neither final nor taken back
        before that says so. Raises as ``start`` does, but does not compare an existing transaction with this one.
        """
        begins = beginning_of(workflow, payload, now_at=self.now_at(), starts_at=starts_at)
        self._check_new(gid, payload, is_active=begins.is_now)
        return await self._store_new(
            workflow,
            payload,
            gid=gid,
            pattern=pattern,
            options=options,
            began=msgspec.structs.replace(begins.began, parent=parent) if parent else begins.began,
            owner=self.node if begins.is_now else "",
            wake_at=begins.wake_at,
            place=begins.place,
        )

    async def prepare(
        self,
        workflow: AnyWorkflow,
        payload: bytes,
        *,
        gid: str,
        pattern: str,
        options: bytes = b"{}",
        wake_after_s: float | None = None,
    ) -> tuple[Transaction, bool]:
        """Store a transaction that waits for its submission, with the status "prepared"; as ``create`` otherwise.

        It belongs to nobody and costs no memory: whoever has something to say to it uses ``tell``. Its workflow first
        runs when it is told something that wakes it, or ``wake_after_s`` seconds from now.
        """
        self._check_new(gid, payload, is_active=False)
        return await self._store_new(
            workflow,
            payload,
            gid=gid,
            pattern=pattern,
            options=options,
            began=Began(workflow=workflow.name, version=workflow.version, is_prepared=True),
            owner="",
            wake_at=None if wake_after_s is None else self.now_at() + wake_after_s,
        )

    async def changed(self, gid: str) -> None:
        """Wait until a run of this node rests or ends, or until it is time to look at what other nodes do."""
        await self._watch.wait(gid, self.limits.poll_s)

    async def _hasten_parent(self, gid: str) -> None:
        """A child has returned or ended: let its parent look now. If this fails, the parent looks by itself, later."""
        with contextlib.suppress(NoSuchTransaction, AlreadyFinal, JournalUnavailable):
            await self.hasten(gid)

    async def tell(self, gid: str, decide: Decide) -> Transaction:
        """Append what ``decide`` makes of a transaction as it stands, and return its row, changed or not.

        ``decide`` gets the row and the journal, and returns what to tell the run, or None for nothing; what it raises
        comes out here. It may be asked again when somebody else was first. Raises ``NoSuchTransaction``.
        """
        return await self._telling.tell(gid, decide)

    async def _store_new(
        self,
        workflow: AnyWorkflow,
        payload: bytes,
        *,
        gid: str,
        pattern: str,
        options: bytes,
        began: Began,
        owner: str,
        wake_at: float | None,
        place: NewPlace | None = None,
    ) -> tuple[Transaction, bool]:
        if self._node.registry.add(workflow):
            self._node.look()
        write, row, first = first_write(
            payload,
            gid=gid,
            pattern=pattern,
            options=options,
            began=began,
            owner=owner,
            wake_at=wake_at,
            now_at=self.now_at(),
            place=place,
        )
        # Shielded, because a caller that goes away meanwhile must not leave a stored transaction that nobody drives.
        with trio.CancelScope(shield=True):
            try:
                await self._journal.append(write)
            except ConflictError:
                return await must_find(self._journal, gid), False
            except JournalUnavailable:
                self._node.answer_was_lost()
                raise
            if row.owner:
                self._node.drive(workflow, row, first)
            elif place is not None or (wake_at is not None and wake_at < self.now_at() + self.limits.poll_s):
                # Due before the next look, or there may be room for it.
                self._node.look()
        return row, True

    async def rest(self, gid: str, *, timeout_s: float) -> Transaction:
        """The transaction when its run ends or rests (nothing in flight, waiting for time), or when the time is up.

        Raises ``NoSuchTransaction``.
        """
        driver = self._node.active.get(gid)
        if driver is not None and not driver.is_resting:
            told = await self._watch.wait(gid, timeout_s)
            return told if told is not None else driver.transaction
        return driver.transaction if driver is not None else await must_find(self._journal, gid)

    # -- inside

    def _check_new(self, gid: str, payload: bytes, *, is_active: bool) -> None:
        if not self._node.is_open:
            raise EngineClosed("the engine is not running; nothing was stored")
        check_gid(gid)
        self._check_size(f"the input of {gid}", payload)
        if is_active and len(self._node.active) >= self.limits.active_max:
            raise Overloaded(f"{len(self._node.active)} transactions are active, the limit (active_max) is reached")

    def _check_size(self, what: str, payload: bytes) -> None:
        if len(payload) > self.limits.payload_bytes_max:
            raise too_long(what, len(payload), self.limits.payload_bytes_max)

    async def _until_final(self, gid: str) -> Transaction:
        while True:
            if gid in self._node.stuck:
                raise self._node.stuck[gid]
            driver = self._node.active.get(gid)
            if driver is None:
                row = await must_find(self._journal, gid)
                if row.is_final:
                    return row
                if gid not in self._node.active and gid not in self._node.stuck:
                    # Its end is told at once when it comes about here; these looks are for what other nodes do.
                    poll_s = self.limits.poll_s
                    await self._watch.wait(gid, poll_s if row.owner else PARKED_POLLS * poll_s)
                continue
            if driver.transaction.is_final:
                return driver.transaction
            told = await self._watch.wait(gid, float("inf"))
            if told is not None and told.is_final:
                return told

    def _result_of(self, workflow: Workflow[T, *Ts] | None, row: Transaction) -> Any:
        assert row.result is not None, row
        if row.status == "failed":
            error = msgspec.json.decode(row.result, type=ErrorRecord | None)
            cause = decode_error(error) if error is not None else None
            raise TransactionFailed(row.gid, row.reason) from cause
        if workflow is None:
            return msgspec.json.decode(row.result)
        return workflow.signature.result.decode(row.result, what=f"the result of {row.gid}")

    def __repr__(self) -> str:
        return f"<Engine {self._node!r}>"
