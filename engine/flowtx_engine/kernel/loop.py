"""Loop: runs the tasks of one run, first in, first out, and keeps what they wait for.

The law of this file: it is the only thing that ever sends into a workflow, and it knows nothing of facts and journals.
A task runs until it yields what it waits for: a command (its outcome comes from outside), another task, or a turn.
Cancellation is thrown only into a task that waits, as in trio.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections import deque
from collections.abc import Callable

from flowtx_dsl.commands import Sleep, Step
from flowtx_dsl.errors import Cancelled, FlowtxError, RunClosed, WorkflowError
from flowtx_engine.kernel.foreign import foreign_await, hide_loop, show_loop
from flowtx_engine.kernel.settling import Registered
from flowtx_engine.kernel.tasks import Abandoned, Ask, Asked, Order, Task, Turn, Wait

FOREIGN_AWAITS_MAX = 100
"""A coroutine that keeps awaiting foreign things after so many refusals is closed."""
REFUSALS_MAX = 1_000
"""A dropped workflow that goes on after so many refusals is left at its next wait, for it would go on for ever."""
TURNS_MAX = 1_000_000
"""A task that takes a turn when its run has taken so many for one event is closed, for it would go on for ever."""


class Loop(ABC):
    """The tasks of one run; the ``Scheduler`` of its scopes and nurseries."""

    __slots__ = (
        "_asked",
        "_at",
        "_confirms",
        "_current",
        "_deciding",
        "_doubtful",
        "_due",
        "_given_up",
        "_orders",
        "_others",
        "_ready",
        "_refusal_count",
        "_registered",
        "_root",
        "_seq",
        "_timers",
        "_withdrawn",
        "gid",
        "has_once",
        "is_closed",
    )

    def __init__(self, gid: str) -> None:
        self.gid = gid
        self._refusal_count = 0
        self.is_closed = False
        self._at: float = 0.0
        self._seq: int = 0
        self._ready: deque[Task] = deque()
        self._current: Task | None = None
        self._root: Task | None = None
        self._others: dict[Task, None] = {}  # every living task but the first
        self._asked: dict[str, Asked] = {}
        self._timers: dict[str, Callable[[], None]] = {}
        self._due: dict[str, tuple[float, Callable[[], None]]] = {}  # deadlines that had passed when they were set
        self._given_up: dict[str, None] = {}  # as sets; an empty dict is made in a third of the time
        self._withdrawn: dict[str, None] = {}
        self.has_once = False  # whether any step may be made once only; most runs have none, and pay nothing for it
        self._doubtful: dict[str, Asked] = {}  # such steps that were given up before anybody knew their outcome
        self._deciding: dict[str, Task] = {}  # what waits to know whether it must take such a step back
        self._registered: dict[str, Registered] = {}
        self._confirms = False  # whether anything registered is due after success; most runs have nothing
        self._orders: list[Order] = []

    @property
    @abstractmethod
    def name(self) -> str:
        """What messages call this run."""

    @abstractmethod
    def _root_ended(self, value: object, error: BaseException | None) -> None:
        """The first task has ended, with a value or an error."""

    @property
    def waiting(self) -> list[Asked]:
        """What the run waits for, in the order it was asked."""
        return list(self._asked.values())

    def asked(self, address: str) -> Asked | None:
        """What waits at an address, if anything does, or was given up there and has an outcome to be known yet."""
        return self._asked.get(address) or self._doubtful.get(address)

    def awaits(self, address: str) -> bool:
        """True when something waits at an address; False for what was given up there."""
        return address in self._asked

    @property
    def tasks(self) -> list[Task]:
        """The tasks that have not ended, the workflow itself first."""
        root = [] if self._root is None or getattr(self._root.coro, "cr_frame", None) is None else [self._root]
        return [*root, *self._others]

    @property
    def registered(self) -> dict[str, Registered]:
        """What is due when the run ends, by address."""
        return self._registered

    def close(self) -> None:
        """Drop the run: its coroutines are closed, and whatever their ``finally`` blocks ask for is refused."""
        self.is_closed = True
        tasks = list(self._others)
        if self._root is not None:
            tasks.append(self._root)
        hidden = hide_loop()
        try:
            for task in tasks:
                task.close()
        finally:
            show_loop(hidden)

    # -- what scopes, nurseries, events and channels use (the Scheduler protocol)

    def now_at(self) -> float:
        """The time of the event being fed, in seconds since the epoch."""
        self.speaking()
        return self._at

    def speaking(self) -> Task:
        """The task that is speaking; raises ``RunClosed`` when none can."""
        if self.is_closed:
            self._refusal_count += 1
            if self._refusal_count > REFUSALS_MAX and self._root is not None:
                return self._root  # let it come to its next wait, where it is left: nobody takes what it asks for
            raise RunClosed(f"{self.name} was dropped; nothing it asks for is performed")
        if self._current is None:
            raise RunClosed(f"tx of {self.name} was used outside its workflow")
        return self._current

    def reschedule(self, task: Task, value: object = None, error: BaseException | None = None) -> None:
        """Put a task that waits back into the queue."""
        task.asked = None
        task.abort = None
        task.value = value
        task.error = error
        self._ready.append(task)

    def interrupt(self, task: Task) -> None:
        """Throw ``Cancelled`` into a task that waits for something that can be given up; it is asked only once."""
        if task.asked is not None:
            self._give_up(task.asked)
        elif task.abort is not None:
            abort, task.abort = task.abort, None
            if not abort():
                return
        else:
            return
        self.reschedule(task, None, Cancelled(task.status.reason))

    def spawn(self, task: Task) -> None:
        """A fresh task, at the end of the queue."""
        if self.is_closed:  # nobody will run it, and Python would warn of a coroutine that was never awaited
            task.close()
            return
        task.status.tasks[task] = None
        self._others[task] = None
        self._ready.append(task)

    def set_timer(self, address: str, timer: Sleep, fire: Callable[[], None]) -> None:
        """A scope's deadline: waited for like a sleep, by no task."""
        asked = Asked(address, timer, None, self._seq)
        self._asked[address] = asked
        self._timers[address] = fire
        self._orders.append(asked)

    def set_due(self, address: str, deadline_at: float, fire: Callable[[], None]) -> None:
        """A deadline that had passed when it was set: it comes at the end of this round, and no event is needed."""
        self._due[address] = deadline_at, fire

    def drop_timer(self, address: str) -> None:
        """The scope was left or cancelled before its time came."""
        if self._timers.pop(address, None) is not None:
            self._give_up(self._asked[address])
        elif self._due:
            self._due.pop(address, None)

    # -- tasks

    def _resume(self, asked: Asked, value: object, error: BaseException | None) -> None:
        del self._asked[asked.address]
        task = asked.task
        assert task is not None, asked
        task.asked = None
        task.value = value
        task.error = error
        self._ready.append(task)

    def _run_ready(self) -> None:
        """Run tasks first in, first out, until all of them wait or have ended.

        As in trio, whoever is ready together makes up a round, and between two rounds deadlines are looked at.
        """
        ready = self._ready
        hidden = hide_loop()
        try:
            left_count = 0
            for _ in range(TURNS_MAX):
                if not left_count or not ready:
                    if self._due:
                        self._fire_due()
                    left_count = len(ready)
                    if not left_count:
                        return
                left_count -= 1
                task = self._current = ready.popleft()
                self._step_task(task)
            while ready:
                self._end_endless(ready.popleft())
        finally:
            self._current = None
            show_loop(hidden)

    def _fire_due(self) -> None:
        """Cancel the scopes whose deadline had passed when it was set, the earliest first."""
        due, self._due = self._due, {}
        for _, fire in sorted(due.values(), key=lambda timer: timer[0]):
            fire()

    def _step_task(self, task: Task) -> None:
        """Run one task to its next await."""
        error, task.error = task.error, None
        value, task.value = task.value, None
        try:
            trap = task.coro.send(value) if error is None else task.coro.throw(error)
        except StopIteration as stop:
            self._task_ended(task, stop.value, None)
        except KeyboardInterrupt:  # a person at the keyboard means the process, not this run
            raise
        except BaseException as raised:
            self._task_ended(task, None, raised)
        else:
            self._task_waits(task, trap)

    def _task_waits(self, task: Task, trap: object) -> None:
        """Branch on what the task waits for."""
        if isinstance(trap, Ask):
            command = trap.command
            address = trap.address or task.next_address()
            if task.status.is_cancelled:
                self.reschedule(task, None, Cancelled(task.status.reason))
                return
            asked = Asked(address, command, task, self._seq)
            task.asked = asked
            self._asked[address] = asked
            if isinstance(command, Step):
                if command.compensation is not None or command.confirmation is not None:
                    self._registered[address] = Registered(address, command)
                    self._confirms = self._confirms or command.confirmation is not None
                if command.is_once:
                    self.has_once = True
                    asked.entry = self._registered.get(address)
            self._orders.append(asked)
        elif isinstance(trap, Wait):
            task.abort = trap.abort
            task.waits_for = trap.what
            if task.status.is_cancelled:
                self.interrupt(task)
        elif isinstance(trap, Turn):
            self._ready.append(task)
        else:
            self._refuse_foreign(task)

    def _refuse_foreign(self, task: Task) -> None:
        """Throw an error in where the foreign await stands, until the coroutine ends or awaits a word of tx."""
        for _ in range(FOREIGN_AWAITS_MAX):
            try:
                trap = task.coro.throw(foreign_await(self.name, task.coro))
            except StopIteration as stop:
                return self._task_ended(task, stop.value, None)
            except KeyboardInterrupt:
                raise
            except BaseException as raised:
                return self._task_ended(task, None, raised)
            if isinstance(trap, (Ask, Wait, Turn)):
                return self._task_waits(task, trap)
        return self._end_by_force(task, foreign_await(self.name, task.coro))

    def _end_endless(self, task: Task) -> None:
        what = f"{self.name}: {task!r} goes on and on without waiting for anything outside ({TURNS_MAX} turns)"
        remedy = "Do not swallow flowtx.Cancelled; wait with tx.Event or tx.sleep instead of looping over checkpoints."
        self._end_by_force(task, WorkflowError(what, remedy=remedy))

    def _end_by_force(self, task: Task, error: FlowtxError) -> None:
        """Close a coroutine that cannot be brought to its end; what its clean-up asks for is refused."""
        self.is_closed = True
        try:
            task.close()
        finally:
            self.is_closed = False
        self._task_ended(task, None, error)

    def _task_ended(self, task: Task, value: object, error: BaseException | None) -> None:
        if task.nurseries:
            error = self._abandon_nurseries(task, error)
        if task is self._root:
            self._root_ended(value, error)
            return
        task.status.tasks.pop(task, None)
        del self._others[task]
        assert task.on_end is not None, task
        task.on_end(task, error)

    def _abandon_nurseries(self, task: Task, error: BaseException | None) -> WorkflowError:
        for nursery in task.nurseries or ():
            nursery.abandon()
        corrupted = WorkflowError(
            f"{self.name}: {task!r} ended inside a nursery that it opened",
            remedy="Open nurseries with `async with`, in the task that waits for them.",
        )
        corrupted.__cause__ = error
        return corrupted

    def _drop_rest(self) -> None:
        """Nothing more is waited for, and no task goes on."""
        for asked in self.waiting:
            self._give_up(asked)
        self._timers.clear()
        self._due.clear()
        self._doubtful.clear()
        self._deciding.clear()
        self._ready.clear()

    def _give_up(self, asked: Asked) -> None:
        """Nobody waits for it any more. What this very event led to has not left the kernel: it never happened."""
        address = asked.address
        del self._asked[address]
        if asked.seq == self._seq:
            self._withdrawn[address] = None
            self._registered.pop(address, None)
        else:
            self._given_up[address] = None
            self._orders.append(Abandoned(address))
            if asked.is_started:
                self._doubtful[address] = asked
