"""Every text of a nondeterminism error, in one place: what was recorded, what is asked, what differs.

The law of this file: slow is fine, wrong is not. It runs when a run has already left its history.
"""

from __future__ import annotations

import os
from typing import cast

import msgspec

from flowtx_dsl.commands import Sleep
from flowtx_dsl.errors import NondeterminismError
from flowtx_dsl.targets import FunctionTarget
from flowtx_engine.kernel.events import CallRecord
from flowtx_engine.kernel.tasks import Asked, digest_of, name_of, payload_of

SHOWN_MAX = 200
"""Arguments longer than this many characters are shortened in messages."""


def same_call(asked: Asked, recorded: CallRecord) -> bool:
    """True when what is asked is what was recorded: the same name, equal arguments."""
    if name_of(asked.command) != recorded.name:
        return False
    payload = payload_of(asked.command)
    if recorded.digest:
        return recorded.digest == digest_of(payload)
    return bytes(recorded.args) == payload or _equal_when_decoded(asked, recorded)


def _equal_when_decoded(asked: Asked, recorded: CallRecord) -> bool:
    """Equal values may have unequal JSON: the members of a set come in any order."""
    command = asked.command
    if isinstance(command, Sleep) or not isinstance(command.call.target, FunctionTarget):
        return False
    signature = command.call.target.signature
    try:
        return signature.decode_args(bytes(recorded.args)) == signature.decode_args(command.call.payload)
    except Exception:  # the recorded arguments do not fit today's annotations: a difference, to be reported
        return False


def other_call(run: str, version: str, asked: Asked, recorded: CallRecord) -> NondeterminismError:
    """The run asks for another call at an address than its history holds."""
    lines = [
        f"{run} left its history at {asked.address}",
        f"    recorded: {_spell_record(recorded, asked)}       {short(recorded.where)}, version {version}",
        f"    asked:    {spell(asked)}       {short(asked.command.where)}",
    ]
    differs = _difference(asked, recorded)
    if differs:
        lines.append(f"    differs:  {differs}")
    return NondeterminismError("\n".join(lines))


def not_asked(run: str, version: str, address: str, recorded: CallRecord, waiting: list[Asked]) -> NondeterminismError:
    """The history holds an outcome for something the run does not ask for."""
    if waiting:
        now = ", ".join(f"{asked.address} {spell(asked)} ({short(asked.command.where)})" for asked in waiting)
    else:
        now = "nothing more: the workflow has ended"
    return NondeterminismError(
        f"{run} left its history at {address}\n"
        f"    recorded: {_spell_record(recorded, None)}       {short(recorded.where)}, version {version}\n"
        f"    asked:    {now}"
    )


def misfit(run: str, asked: Asked, reason: str) -> NondeterminismError:
    """The recorded result no longer fits what the code says the call returns."""
    return NondeterminismError(
        f"{run} cannot read its history at {asked.address}\n"
        f"    asked:    {spell(asked)}       {short(asked.command.where)}\n"
        f"    recorded: {reason}"
    )


def spell(asked: Asked) -> str:
    """A call as a person would write it."""
    command = asked.command
    if isinstance(command, Sleep):
        return command.name
    return f"{command.call.name}({_spell_args(command.call.payload, _names_of(asked))})"


def short(where: str) -> str:
    """A source line without its folders."""
    return os.path.basename(where) if where else "unknown line"


def _spell_record(recorded: CallRecord, asked: Asked | None) -> str:
    if recorded.name == "sleep":
        return "sleep"
    if recorded.digest:
        return f"{recorded.name}({recorded.size} bytes, sha256 {recorded.digest[:12]})"
    names = _names_of(asked) if asked is not None and name_of(asked.command) == recorded.name else ()
    return f"{recorded.name}({_spell_args(bytes(recorded.args), names)})"


def _names_of(asked: Asked) -> tuple[str, ...]:
    command = asked.command
    if isinstance(command, Sleep) or not isinstance(command.call.target, FunctionTarget):
        return ()
    return command.call.target.signature.names


def _spell_args(payload: bytes, names: tuple[str, ...]) -> str:
    values = msgspec.json.decode(payload, type=list[object])
    spelled = (f"{names[i]}={value!r}" if i < len(names) else repr(value) for i, value in enumerate(values))
    text = ", ".join(spelled)
    return text if len(text) <= SHOWN_MAX else f"{text[:SHOWN_MAX]}..."


def _difference(asked: Asked, recorded: CallRecord) -> str:
    if name_of(asked.command) != recorded.name:
        return f"the call {recorded.name} -> {name_of(asked.command)}"
    if recorded.digest:
        return f"the arguments ({recorded.size} bytes -> {len(payload_of(asked.command))} bytes)"
    before: object = msgspec.json.decode(bytes(recorded.args))
    after: object = msgspec.json.decode(payload_of(asked.command))
    return "; ".join(_differences(before, after, "", _names_of(asked)))


def _differences(before: object, after: object, path: str, names: tuple[str, ...]) -> list[str]:
    """The innermost places where two values differ, named by parameter and key."""
    if before == after:
        return []
    old, new = _parts_of(before, path, names), _parts_of(after, path, names)
    if not old or old.keys() != new.keys():
        return [f"{path or 'the arguments'} {before!r} -> {after!r}"]
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
