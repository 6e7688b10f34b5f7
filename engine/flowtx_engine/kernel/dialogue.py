"""Dialogue: what a run and those outside say to each other. Signals and updates come in, answers and queries go out.

The law of this file: what comes in is an event and is taken in journal order; what goes out is read off the run as it
stands and is never an event. Asking a run something changes nothing in it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import cast

import msgspec

from flowtx_dsl import codec
from flowtx_dsl.error_codec import encode_error
from flowtx_dsl.errors import QueryError, WorkflowError
from flowtx_engine.kernel.events import Answer, AnyFact, Signalled, Updated
from flowtx_engine.kernel.inbox import Inbox
from flowtx_engine.kernel.tasks import Scheduler

KEYS_MAX = 1_000
"""So many keys of signals are remembered over a restart, the newest; within one journal all are."""
ANSWERS_BYTES_MAX = 64 * 1024
"""So many bytes of answers are remembered over a restart beside the newest; within one journal all are."""


class Dialogue:
    """One run's part of it; made when it is first needed, because most runs speak to nobody."""

    __slots__ = ("_exposed", "_guards", "_heard", "_past", "_run", "_signals", "_updates", "answers")

    def __init__(self, run: Scheduler) -> None:
        self.answers: dict[str, Answer] = {}
        self._run = run
        self._signals: dict[str, Inbox] = {}
        self._updates: dict[str, Inbox] = {}
        self._heard: dict[str, None] = {}  # the keys that came
        self._past: frozenset[str] = frozenset()  # those that came, and were taken, before this journal began
        self._exposed: dict[str, Callable[..., object]] = {}
        self._guards: dict[str, Callable[[bytes], None]] = {}

    # -- in

    def hear(self, fact: Signalled | Updated) -> None:
        """A signal or an update has come."""
        if self.has_heard(fact):
            return
        if fact.key:
            self._heard[fact.key] = None
        value = bytes(fact.value)
        if isinstance(fact, Signalled):
            self.signals(fact.name).put(value)
        else:
            self.updates(fact.name).put((fact.key, value))

    def has_heard(self, fact: AnyFact) -> bool:
        """True for what came already under the same key: taking it again would be once too many."""
        return isinstance(fact, Signalled | Updated) and fact.key in self._heard

    def remember(self, keys: tuple[str, ...], answers: Mapping[str, Answer]) -> None:
        """What came under these keys came before this journal began, and was answered so."""
        self._heard |= dict.fromkeys(keys)
        self._past = frozenset(keys)
        self.answers |= answers

    def will_not_answer(self, key: str) -> bool:
        """True for what was taken before this journal began, and was not answered or has an answer that is not kept."""
        return key in self._past and key not in self.answers

    def carry_over(self) -> tuple[tuple[str, ...], dict[str, Answer], tuple[AnyFact, ...]]:
        """What a fresh journal must know: the keys that came and the answers, the newest, and what nobody has taken."""
        left: list[AnyFact] = [
            Signalled(name=inbox.name, value=msgspec.Raw(cast("bytes", value)))
            for inbox in self._signals.values()
            for value in inbox.values
        ]
        waiting: dict[str, Updated] = {}
        for inbox in self._updates.values():
            for key, value in cast("Iterable[tuple[str, bytes]]", inbox.values):
                waiting[key] = Updated(name=inbox.name, key=key, value=msgspec.Raw(value))
        keys = [key for key in self._heard if key not in waiting]
        return tuple(keys[-KEYS_MAX:]), self._newest_answers(), (*left, *waiting.values())

    def _newest_answers(self) -> dict[str, Answer]:
        """The last one in any case: whoever asked may not have seen it yet."""
        newest: list[tuple[str, Answer]] = []
        left = ANSWERS_BYTES_MAX
        for key, answer in reversed(list(self.answers.items())[-KEYS_MAX:]):
            left -= len(msgspec.json.encode(answer))
            if left < 0 and newest:
                break
            newest.append((key, answer))
        return dict(reversed(newest))

    def signals(self, name: str) -> Inbox:
        """The signals of a name."""
        return _inbox(self._signals, self._run, name)

    def updates(self, name: str) -> Inbox:
        """The updates of a name, each with its key."""
        return _inbox(self._updates, self._run, name)

    def guard(self, name: str, check: Callable[[bytes], None]) -> None:
        """From now on updates of a name are checked before they are taken; ``check`` raises to refuse one."""
        self._guards[name] = check

    def check(self, name: str, value: bytes) -> None:
        """Raises what the guard of a name raises for a value; nothing when there is none."""
        guard = self._guards.get(name)
        if guard is not None:
            guard(value)

    # -- out

    def answer(self, key: str, value: bytes, error: Exception | None) -> None:
        """Answer an update, once; raises ``WorkflowError`` the second time."""
        self._run.speaking()
        if key in self.answers:
            raise WorkflowError(f"{self._run.name}: an update was answered twice", remedy="Answer each update once.")
        self.answers[key] = Answer(value=msgspec.Raw(value), error=None if error is None else encode_error(error))

    def expose(self, name: str, fn: Callable[..., object]) -> None:
        """From now on a query of this name is answered by a function."""
        self._exposed[name] = fn

    def query(self, name: str, args: tuple[object, ...]) -> bytes:
        """What an exposed function returns, as JSON; raises ``QueryError``."""
        fn = self._exposed.get(name)
        if fn is None:
            known = ", ".join(sorted(self._exposed)) or "nothing"
            raise QueryError(
                f"{self._run.name} exposes no {name!r}; it exposes {known}",
                remedy='Let the workflow say tx.expose("name", fn) before it first waits.',
            )
        try:
            return codec.encode(fn(*args), what=f"the answer of {name}")
        except Exception as error:
            raise QueryError(f"{self._run.name} could not answer the query {name!r}: {error}") from error


def _inbox(inboxes: dict[str, Inbox], run: Scheduler, name: str) -> Inbox:
    inbox = inboxes.get(name)
    if inbox is None:
        inbox = inboxes[name] = Inbox(run, name)
    return inbox
