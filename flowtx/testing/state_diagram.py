"""The states of a workflow, drawn from its code: every way its transaction can go from one status to another.

    print(mermaid(transitions_of(transfer, b'[...]')))

The law of this file: the kernel is the authority. It is run along every sequence of outcomes, timers and signals that
leads to something new, and what its status becomes is what is drawn; attempts that change nothing are left out.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import NamedTuple

from flowtx_dsl.commands import Sleep, Step
from flowtx_dsl.error_codec import encode_error
from flowtx_dsl.errors import Refused as RefusedError
from flowtx_dsl.targets import RemoteTarget
from flowtx_dsl.workflow import AnyWorkflow
from flowtx_engine.kernel.events import AnyFact, Began, Event, Fired, Refused, Stopped, Succeeded
from flowtx_engine.kernel.kernel import Kernel
from flowtx_engine.kernel.tasks import Asked, name_of

STEPS_MAX = 12
"""No way is followed for longer than so many events."""
BEGINNING = "[*]"


class Transition(NamedTuple):
    """From one status to another, and what brings it about."""

    before: str
    label: str
    after: str


class _Happening(NamedTuple):
    """One event that can come next, in words."""

    label: str
    address: str
    fact: AnyFact
    at: float


Way = tuple[_Happening, ...]


def transitions_of(
    workflow: AnyWorkflow, payload: bytes, *, is_prepared: bool = False, told: Mapping[str, AnyFact] | None = None
) -> list[Transition]:
    """Every change of status, in the order they are found; ``payload`` is the input as a JSON array.

    ``told`` is what can be said to the run from outside, by the words for it; each is said at most once a way.
    """
    found: dict[Transition, None] = {}
    seen: set[object] = set()
    ways: list[Way] = [()]
    while ways:
        way = ways.pop(0)
        kernel = _run(workflow, payload, way, is_prepared=is_prepared)
        status = kernel.status
        nexts = [] if kernel.ended is not None or len(way) == STEPS_MAX else list(_nexts(kernel, way, told or {}))
        kernel.close()
        for happening in nexts:
            further = (*way, happening)
            kernel = _run(workflow, payload, further, is_prepared=is_prepared)
            if kernel.status != status:
                found[Transition(status, happening.label, kernel.status)] = None
            key = _key_of(kernel, further, told or {})
            kernel.close()
            if key not in seen:
                seen.add(key)
                ways.append(further)
    return list(found)


def _run(workflow: AnyWorkflow, payload: bytes, way: Way, *, is_prepared: bool) -> Kernel:
    kernel = Kernel(workflow, payload, gid="g")
    began = Began(workflow=workflow.name, version=workflow.version, is_prepared=is_prepared)
    kernel.feed(Event(seq=0, at=0.0, address="", fact=began))
    for seq, happening in enumerate(way, 1):
        kernel.feed(Event(seq=seq, at=happening.at, address=happening.address, fact=happening.fact))
    return kernel


def _nexts(kernel: Kernel, way: Way, told: Mapping[str, AnyFact]) -> Iterator[_Happening]:
    at = way[-1].at if way else 0.0
    said = {happening.label for happening in way}
    for label, fact in told.items():
        if label not in said:
            yield _Happening(label, "", fact, at)
    for asked in kernel.waiting:
        command = asked.command
        if isinstance(command, Sleep):
            fired = Fired(until_at=command.until_at, where=command.where)
            yield _Happening("time is up", asked.address, fired, max(at, command.until_at))
            continue
        yield _Happening(f"{_op_of(asked)} succeeds", asked.address, Succeeded(call=asked.record), at)
        if isinstance(command, Step):
            refused = Refused(call=asked.record, error=encode_error(RefusedError("no")))
            yield _Happening(f"{_op_of(asked)} is refused", asked.address, refused, at)
    yield _Happening("forceStop", "", Stopped(), at)


def _op_of(asked: Asked) -> str:
    """What is asked for, in a word; of several of one kind it is not told which."""
    command = asked.command
    if not isinstance(command, Sleep) and isinstance(command.call.target, RemoteTarget) and command.call.target.op:
        return command.call.target.op
    return name_of(command)


def _key_of(kernel: Kernel, way: Way, told: Mapping[str, AnyFact]) -> object:
    """Two ways that lead to one key go on alike."""
    said = frozenset(happening.label for happening in way if happening.label in told)
    return kernel.phase, kernel.status, said, tuple((asked.address, _op_of(asked)) for asked in kernel.waiting)


def mermaid(transitions: Iterable[Transition]) -> str:
    """A state diagram in Mermaid's language; what leads from one status to another stands on one arrow."""
    labels: dict[tuple[str, str], list[str]] = {}
    for before, label, after in transitions:
        together = labels.setdefault((before, after), [])
        if label not in together:
            together.append(label)
    lines = [f"    {before} --> {after}: {', '.join(together)}" for (before, after), together in labels.items()]
    ends = [status for status in ("succeed", "failed") if any(after == status for _, after in labels)]
    return "\n".join(["stateDiagram-v2", *lines, *(f"    {status} --> {BEGINNING}" for status in ends)]) + "\n"
