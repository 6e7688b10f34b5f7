"""Every text of a nondeterminism error, in one place: what was recorded, what is asked, what differs.

The law of this file: slow is fine, wrong is not. It runs when a run has already left its history.
"""

from __future__ import annotations

import os
from datetime import UTC, datetime
from typing import cast

import msgspec

from flowtx_dsl.commands import Sleep
from flowtx_dsl.errors import NondeterminismError
from flowtx_dsl.targets import FunctionTarget
from flowtx_engine.kernel.digests import digest_of
from flowtx_engine.kernel.events import CallRecord, Ended, Fired
from flowtx_engine.kernel.tasks import Asked, name_of, payload_of

SHOWN_MAX = 200
"""Arguments longer than this many characters are shortened in messages."""

WIDTH_MAX = 80
"""Where the places stand in one column, it is not further to the right than this."""

Recorded = CallRecord | Fired
"""What a history can hold of a command: a call beside its outcome, or a timer that has fired."""


def same_call(asked: Asked, recorded: CallRecord) -> bool:
    """True when what is asked is what was recorded: the same name, equal arguments."""
    if isinstance(asked.command, Sleep) or name_of(asked.command) != recorded.name:
        return False
    payload = payload_of(asked.command)
    if recorded.digest:
        return recorded.digest == digest_of(payload)
    return bytes(recorded.args) == payload or _equal_when_decoded(asked, recorded)


def _equal_when_decoded(asked: Asked, recorded: CallRecord) -> bool:
    """Equal values may have unequal JSON: the keys of a dict come in any order, and 1 may have become 1.0."""
    command = asked.command
    assert not isinstance(command, Sleep), asked
    now, then = command.call.payload, bytes(recorded.args)
    if not isinstance(command.call.target, FunctionTarget):
        return bool(msgspec.json.decode(then) == msgspec.json.decode(now))
    signature = command.call.target.signature
    try:
        return signature.decode_args(then) == signature.decode_args(now)
    except Exception:  # the recorded arguments do not fit today's annotations: a difference, to be reported
        return False


def same_end(ended: Ended, recorded: Ended) -> bool:
    """True when a run ends as it ended before: the same value, or an error of the same type."""
    if ended.status != recorded.status:
        return False
    if ended.error is not None and recorded.error is not None:
        return ended.error.type == recorded.error.type
    if ended.value == recorded.value:  # byte for byte, as it nearly always is, and without a copy
        return True
    return bool(msgspec.json.decode(bytes(ended.value)) == msgspec.json.decode(bytes(recorded.value)))


def other_call(run: str, version: str, asked: Asked, recorded: Recorded) -> NondeterminismError:
    """The run asks for another call at an address than its history holds."""
    return _left(
        run,
        asked.address,
        (spell_record(recorded, asked), _short(recorded.where, version)),
        (spell(asked), short(asked.command.where)),
        _difference(asked, recorded),
    )


def not_asked(run: str, version: str, address: str, recorded: Recorded, waiting: list[Asked]) -> NondeterminismError:
    """The history holds an outcome for something the run does not ask for."""
    return _left(run, address, (spell_record(recorded), _short(recorded.where, version)), _spell_waiting(waiting))


def other_end(
    run: str, version: str, ended: Ended | None, recorded: Ended, waiting: list[Asked]
) -> NondeterminismError:
    """The run goes on where its history ends, or ends in another way."""
    asked = _spell_waiting(waiting) if ended is None else (_spell_end(ended), "")
    return _left(run, "its end", (_spell_end(recorded), f"version {version}"), asked)


def misfit(run: str, asked: Asked, reason: str) -> NondeterminismError:
    """The recorded result no longer fits what the code says the call returns."""
    return NondeterminismError(
        f"{run} cannot read its history at {asked.address}\n"
        f"    asked:    {spell(asked)}       {short(asked.command.where)}\n"
        f"    recorded: {reason}"
    )


def input_misfit(run: str, where: str, reason: str) -> NondeterminismError:
    """The input that was accepted no longer fits what the code says the workflow takes."""
    return NondeterminismError(f"{run} cannot read its input\n    asked:    {reason}       {short(where)}")


def spell(asked: Asked) -> str:
    """A call as a person would write it."""
    command = asked.command
    if isinstance(command, Sleep):
        return _spell_timer(command.until_at, command.name)
    return f"{command.call.name}({_spell_args(command.call.payload, _names_of(asked))})"


def short(where: str) -> str:
    """A source line without its folders."""
    return os.path.basename(where) if where else "unknown line"


def _left(
    run: str, address: str, recorded: tuple[str, str], asked: tuple[str, str], differs: str = ""
) -> NondeterminismError:
    """``recorded`` and ``asked`` are each what it was and where; the places stand below each other."""
    width = min(WIDTH_MAX, max(len(text) for text, where in (recorded, asked) if where))
    lines = [f"{run} left its history at {address}"]
    for label, (text, where) in (("recorded: ", recorded), ("asked:    ", asked)):
        lines.append(f"    {label}{text:<{width}}       {where}" if where else f"    {label}{text}")
    if differs:
        lines.append(f"    differs:  {differs}")
    return NondeterminismError("\n".join(lines))


def _short(where: str, version: str) -> str:
    return f"{short(where)}, version {version}"


def _spell_waiting(waiting: list[Asked]) -> tuple[str, str]:
    if not waiting:
        return "nothing more: the workflow has ended", ""
    calls = ", ".join(f"{spell(asked)} at {asked.address}" for asked in waiting)
    return calls, ", ".join(short(asked.command.where) for asked in waiting)


def _spell_end(ended: Ended) -> str:
    if ended.error is None:
        value = repr(msgspec.json.decode(bytes(ended.value)))
        return f"{ended.status} with {_cut(value)}"
    return f"{ended.status} with {_cut(ended.error.type.rpartition(':')[2])}: {_cut(ended.error.text)}"


def spell_record(recorded: Recorded, asked: Asked | None = None) -> str:
    """What was recorded as a person would write it; ``asked`` knows the names of its parameters."""
    if isinstance(recorded, Fired):
        asks_for = asked.command.name if asked is not None and isinstance(asked.command, Sleep) else "sleep"
        return _spell_timer(recorded.until_at, asks_for)
    if recorded.digest:
        return f"{recorded.name}({recorded.size} bytes, sha256 {recorded.digest[:12]})"
    names = _names_of(asked) if asked is not None and name_of(asked.command) == recorded.name else ()
    return f"{recorded.name}({_spell_args(bytes(recorded.args), names)})"


def _spell_timer(until_at: float, name: str) -> str:
    return f"{name} until {_spell_instant(until_at)}"


def _spell_instant(at: float) -> str:
    try:
        return datetime.fromtimestamp(at, UTC).isoformat()
    except (ValueError, OverflowError, OSError):  # after the year 9999
        return f"{at:g}"


def _names_of(asked: Asked) -> tuple[str, ...]:
    command = asked.command
    if isinstance(command, Sleep) or not isinstance(command.call.target, FunctionTarget):
        return ()
    return command.call.target.signature.names


def _spell_args(payload: bytes, names: tuple[str, ...]) -> str:
    values = msgspec.json.decode(payload, type=list[object])
    spelled = (f"{names[i]}={value!r}" if i < len(names) else repr(value) for i, value in enumerate(values))
    return _cut(", ".join(spelled))


def _cut(text: str) -> str:
    return text if len(text) <= SHOWN_MAX else f"{text[:SHOWN_MAX]}..."


def _difference(asked: Asked, recorded: Recorded) -> str:
    command = asked.command
    if isinstance(command, Sleep) and isinstance(recorded, Fired):
        return f"until {_spell_instant(recorded.until_at)} -> {_spell_instant(command.until_at)}"
    if isinstance(command, Sleep) or isinstance(recorded, Fired) or command.call.name != recorded.name:
        then = "sleep" if isinstance(recorded, Fired) else recorded.name
        now = "sleep" if isinstance(command, Sleep) else command.call.name
        return f"the call {then} -> {now}"
    if recorded.digest:
        return f"the arguments ({recorded.size} bytes -> {len(command.call.payload)} bytes)"
    before: object = msgspec.json.decode(bytes(recorded.args))
    after: object = msgspec.json.decode(command.call.payload)
    return "; ".join(_differences(before, after, "", _names_of(asked)))


def _differences(before: object, after: object, path: str, names: tuple[str, ...]) -> list[str]:
    """The innermost places where two values differ, named by parameter and key."""
    if before == after:
        return []
    old, new = _parts_of(before, path, names), _parts_of(after, path, names)
    if not old or old.keys() != new.keys():
        return [f"{path or 'the arguments'} {_cut(repr(before))} -> {_cut(repr(after))}"]
    return [found for place in old for found in _differences(old[place], new[place], place, ())]


def _parts_of(value: object, path: str, names: tuple[str, ...]) -> dict[str, object]:
    """The parts of an array or object by the place each has; nothing for plain values."""
    if isinstance(value, list):
        items = cast("list[object]", value)
        return {_step_into(path, i, names): item for i, item in enumerate(items)}
    if isinstance(value, dict):
        fields = cast("dict[str, object]", value)
        return {f"{path}.{key}" if path else key: item for key, item in fields.items()}
    return {}


def _step_into(path: str, index: int, names: tuple[str, ...]) -> str:
    if not path and index < len(names):
        return names[index]
    return f"{path}[{index}]" if path else f"argument {index + 1}"
