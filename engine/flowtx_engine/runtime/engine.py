"""Engine: the face of the runtime. Begins transactions, ends them from outside, and answers questions about them.

The law of this file: a promise is made only after the journal has it. Driving and recovery are the node's.
"""

from __future__ import annotations

import contextlib
import random
import uuid
from collections.abc import Callable, Iterable
from datetime import datetime
from functools import partial
from typing import TYPE_CHECKING, Any, TypeVar, TypeVarTuple, overload

import msgspec
import trio

from flowtx_dsl import codec
from flowtx_dsl.error_codec import decode_error
from flowtx_dsl.errors import NoSuchTransaction
from flowtx_dsl.targets import OfWorkflow
from flowtx_dsl.tx import Tx
from flowtx_dsl.workflow import AnyWorkflow, must_be_workflow
from flowtx_engine.calls.attempt import Performer
from flowtx_engine.journal.errors import JournalUnavailable
from flowtx_engine.journal.journal import Journal
from flowtx_engine.journal.records import Filter, Transaction
from flowtx_engine.journal.schedules import CatchUp, CronSchedule, Overlap
from flowtx_engine.kernel.events import Cancelled, Event, Hastened, Signalled, Stopped, Updated, Verdict
from flowtx_engine.kernel.view import RunView
from flowtx_engine.runtime.asking import Asking
from flowtx_engine.runtime.awaiting import Awaiting, result_of
from flowtx_engine.runtime.by_hand import ByHand
from flowtx_engine.runtime.children import Children
from flowtx_engine.runtime.clock import Clock, SystemClock
from flowtx_engine.runtime.creating import Creating
from flowtx_engine.runtime.deciding import deciding
from flowtx_engine.runtime.judge import check_size
from flowtx_engine.runtime.kv import KeyValues
from flowtx_engine.runtime.limits import EngineLimits
from flowtx_engine.runtime.looking import events_of
from flowtx_engine.runtime.node import Node
from flowtx_engine.runtime.outside import Decide
from flowtx_engine.runtime.registry import Registry
from flowtx_engine.runtime.schedules import NoSuchSchedule, new_schedule
from flowtx_engine.runtime.starting import check_same, starts_at_of
from flowtx_engine.runtime.telling import AlreadyFinal, Telling
from flowtx_engine.runtime.tools import Tools
from flowtx_engine.runtime.watch import Watch

if TYPE_CHECKING:
    from typing_extensions import TypeForm  # what checkers know by themselves; nothing imports it

T = TypeVar("T")
Ts = TypeVarTuple("Ts")


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
        self.kv = KeyValues(journal, self._clock)
        tools = Tools(
            node=self.node,
            journal=journal,
            performer=Children(self, performer, patience_s=limits.park_after_s),
            clock=self._clock,
            dice=dice,
            limits=self.limits,
            watch=Watch(),
        )
        self.observers = tools.observers
        self._node = Node(tools, Registry(workflows), self._hasten_parent)
        self.statistics = self._node.statistics  # what it holds just now, and what its journal has done
        self.by_hand = partial(ByHand, tools, self._node)  # drives its work and time by hand from then on, for tests
        self._creating = Creating(self._node, tools)
        self._awaiting = Awaiting(self._node, tools)
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
        workflow: Callable[[Tx, *Ts], OfWorkflow[T]],
        *args: *Ts,
        gid: str = "",
        at: datetime | None = None,
        delay_s: float | None = None,
    ) -> T:
        """Run a transaction to its end and return its result; the same ``gid`` and input again give the same run.

        ``at`` and ``delay_s`` are those of ``start``. Raises ``TransactionFailed`` when it failed and was compensated
        (``__cause__`` says what turned it round), and whatever ``start`` raises.
        """
        known = must_be_workflow(workflow, "engine.run")
        gid = await self.start(workflow, *args, gid=gid, at=at, delay_s=delay_s)
        result: T = result_of(await self._awaiting.end(gid), known.signature.result)
        return result

    async def start(
        self,
        workflow: Callable[[Tx, *Ts], OfWorkflow[T]],
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
        known = must_be_workflow(workflow, "engine.start")
        payload = known.signature.encode_args(args)
        row, is_new = await self.create(
            known,
            payload,
            gid=gid or str(uuid.uuid4()),
            pattern="workflow",
            starts_at=starts_at_of(at, delay_s, now_at=self.now_at()),
        )
        if not is_new:
            check_same(row, known, payload)
        return row.gid

    @overload
    async def wait(self, gid: str) -> Any: ...
    @overload
    async def wait(self, gid: str, *, type: TypeForm[T]) -> T: ...
    async def wait(self, gid: str, *, type: object = Any) -> Any:
        """The result of a transaction when it ends: as ``type`` says, or as plain data.

        Raises ``TransactionFailed``, ``NoSuchTransaction``, ``PayloadError`` when the result does not fit ``type``, and
        what keeps the run from going on here, such as ``NondeterminismError``.
        """
        wanted = codec.readable_decoder_of(type, f"the result of {gid}")
        return result_of(await self._awaiting.end(gid), wanted)

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
        check_size(f"signal {name} of {gid}", data, self.limits.payload_bytes_max)
        await self._telling.put(gid, Signalled(name=name, value=msgspec.Raw(data), key=key))

    async def hasten(self, gid: str) -> None:
        """Make every attempt of a run that is due later due now; its timers keep their time.

        Raises ``NoSuchTransaction``, ``AlreadyFinal``.
        """
        await self._telling.put(gid, Hastened())

    @overload
    async def update(self, gid: str, name: str, value: object = None, *, key: str = "") -> Any: ...
    @overload
    async def update(self, gid: str, name: str, value: object = None, *, key: str = "", type: TypeForm[T]) -> T: ...
    async def update(self, gid: str, name: str, value: object = None, *, key: str = "", type: object = Any) -> Any:
        """Ask something of a run and return its answer, as ``type`` says or as plain data; waits until it is given.

        Without a ``key`` one is made; repeat a call whose answer was lost with the same key. Raises ``Refused`` when
        the run refuses, whatever its guard raises (nothing is stored then), ``Unanswered`` when the run ends first or
        has begun again since and keeps no answer, ``PayloadError``, ``NoSuchTransaction``, ``AlreadyFinal`` and
        ``NoSuchWorkflow``.
        """
        what = f"the answer of {gid} to update {name}"
        wanted = codec.readable_decoder_of(type, what)
        data = codec.encode(value, what=f"update {name}")
        check_size(f"update {name} of {gid}", data, self.limits.payload_bytes_max)
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
        return wanted.decode(bytes(answer.value), what=what)

    @overload
    async def query(self, gid: str, name: str, *args: object) -> Any: ...
    @overload
    async def query(self, gid: str, name: str, *args: object, type: TypeForm[T]) -> T: ...
    async def query(self, gid: str, name: str, *args: object, type: object = Any) -> Any:
        """What the run's exposed function ``name`` says of it now, as ``type`` or plain data; also when it has ended.

        A run that is not driven here is replayed, which performs nothing. Raises ``QueryError``, ``NoSuchTransaction``,
        ``NoSuchWorkflow``, ``NondeterminismError``.
        """
        what = f"what {gid} answers to {name}"
        wanted = codec.readable_decoder_of(type, what)
        async with self._asking.kernel_of(gid) as kernel:
            return wanted.decode(kernel.dialogue.query(name, args), what=what)

    async def decide(self, gid: str, address: str, verdict: Verdict, *, value: object = None, reason: str = "") -> None:
        """Say what became of a step with ``effect=flowtx.once`` that is in doubt; durable when it returns.

        "succeeded" goes on with ``value`` as its result, "refused" as if its participant had said so, "retry" makes it
        again. Raises ``NotInDoubt``, ``PayloadError``, ``WorkflowError``, ``NoSuchTransaction``, ``AlreadyFinal``.
        """
        data = codec.encode(value, what=f"the value decided for {address}")
        check_size(f"the value decided for {address} of {gid}", data, self.limits.payload_bytes_max)
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
        return await self._asking.view_of(gid)

    # -- schedules

    async def schedule(
        self,
        name: str,
        workflow: Callable[[Tx, *Ts], OfWorkflow[T]],
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
        known = must_be_workflow(workflow, "engine.schedule")
        found = {one.name: one for one in await self.schedules()}
        made = new_schedule(
            name,
            known,
            args,
            cron=cron,
            timezone=timezone,
            catch_up=catch_up,
            overlap=overlap,
            now_at=self.now_at(),
            before=found.get(name),
        )
        check_size(f"the input of schedule {name}", made.input, self.limits.payload_bytes_max)
        await self._journal.ask_node(lambda store: store.put_schedule(made))
        if self._node.registry.add(known):
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
        begun_by: str = "",
    ) -> tuple[Transaction, bool]:
        """Begin a transaction, durable when this returns: its row and True, or the existing row of the gid and False.

        ``starts_at`` is when it begins, None: now. What a child of a ``parent`` does is neither final nor taken back
        before that says so; whoever it was ``begun_by`` may ask for it again, so until then it is not deleted. Raises
        as ``start`` does, but does not compare an existing transaction with this one.
        """
        return await self._creating.create(
            workflow,
            payload,
            gid=gid,
            pattern=pattern,
            options=options,
            starts_at=starts_at,
            parent=parent,
            begun_by=begun_by,
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
        return await self._creating.prepare(
            workflow, payload, gid=gid, pattern=pattern, options=options, wake_after_s=wake_after_s
        )

    async def changed(self, gid: str) -> None:
        """Wait until a run of this node rests or ends, or until it is time to look at what other nodes do."""
        await self._awaiting.change(gid)

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

    async def rest(self, gid: str, *, timeout_s: float) -> Transaction:
        """The transaction when its run ends or rests (nothing in flight, waiting for time), or when the time is up.

        Raises ``NoSuchTransaction``.
        """
        return await self._awaiting.rest(gid, timeout_s=timeout_s)

    def __repr__(self) -> str:
        return f"<Engine {self._node!r}>"
