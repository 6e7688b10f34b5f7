"""Exceptions as values of the journal: type, arguments, notes, cause and group structure survive.

The law of this file: what replay raises equals what was raised live, because live code gets the decoded error too.
An exception whose type cannot be found again, or not be rebuilt from its arguments, is a ``RemoteError`` both times.
"""

from __future__ import annotations

import importlib
import traceback
from typing import cast

import msgspec

from flowtx_dsl.errors import RemoteError


class ErrorRecord(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One exception: ``type`` is ``module:qualname``, ``args`` and ``state`` (its attributes) are JSON.

    ``text`` is what ``str()`` gave.

    ``trace`` is the traceback of the attempt, for people; it takes no part in equality of decoded errors.
    """

    type: str
    text: str
    args: msgspec.Raw = msgspec.Raw(b"[]")
    state: msgspec.Raw = msgspec.Raw(b"{}")
    notes: tuple[str, ...] = ()
    cause: ErrorRecord | None = None
    members: tuple[ErrorRecord, ...] = ()
    trace: str = ""


TEXT_MAX = 16_384
"""Longer texts, notes and traces are cut, so that a participant's answer cannot fill the journal."""
DEPTH_MAX = 20
"""Causes and groups nested deeper than this are dropped."""


def encode_error(error: BaseException, *, with_trace: bool = False) -> ErrorRecord:
    """The record of an exception; never raises, whatever the exception's own methods do."""
    return _encode(error, DEPTH_MAX, with_trace=with_trace)


def decode_error(record: ErrorRecord) -> BaseException:
    """The exception of a record, with notes and cause; a ``RemoteError`` when its type cannot be rebuilt."""
    error = _rebuild(record)
    for note in record.notes:
        error.add_note(note)
    if record.cause is not None:
        error.__cause__ = decode_error(record.cause)
    return error


def _encode(error: BaseException, depth: int, *, with_trace: bool) -> ErrorRecord:
    text = _text_of(error)
    cause = error.__cause__
    members: tuple[ErrorRecord, ...] = ()
    group = _as_group(error)
    if group is not None and depth:
        members = tuple(_encode(member, depth - 1, with_trace=with_trace) for member in group.exceptions)
        text = _cut(group.message)
    return ErrorRecord(
        type=f"{type(error).__module__}:{type(error).__qualname__}",
        text=text,
        args=_json_or_null(error.args),
        state=_json_or_null({name: value for name, value in vars(error).items() if name != "__notes__"}),
        notes=tuple(_cut(str(note)) for note in getattr(error, "__notes__", ())),
        cause=_encode(cause, depth - 1, with_trace=False) if cause is not None and depth else None,
        members=members,
        trace=_cut("".join(traceback.format_exception(error))) if with_trace else "",
    )


def _as_group(error: BaseException) -> BaseExceptionGroup[BaseException] | None:
    return cast("BaseExceptionGroup[BaseException]", error) if isinstance(error, BaseExceptionGroup) else None


def _text_of(error: BaseException) -> str:
    try:
        return _cut(str(error))
    except Exception as broken:
        return f"<str() of it raised {type(broken).__name__}>"


def _json_or_null(value: object) -> msgspec.Raw:
    try:
        encoded = msgspec.json.encode(value)
    except Exception:  # something no journal can hold: decoding will give a RemoteError
        return msgspec.Raw(b"null")
    return msgspec.Raw(encoded if len(encoded) <= 4 * TEXT_MAX else b"null")


def _cut(text: str) -> str:
    return text if len(text) <= TEXT_MAX else f"{text[:TEXT_MAX]}... ({len(text)} characters in all)"


def _rebuild(record: ErrorRecord) -> BaseException:
    if record.type == "flowtx_dsl.errors:RemoteError":
        name, text = msgspec.json.decode(record.args, type=tuple[str, str])
        return RemoteError(name, text)
    found = _find(record.type)
    if found is None:
        return _remote(record)
    if issubclass(found, BaseExceptionGroup):
        return _rebuild_group(cast("type[BaseExceptionGroup[BaseException]]", found), record)
    try:
        args = msgspec.json.decode(record.args, type=list[object])
        # Not found(*args): an __init__ of another shape would refuse, or do work twice. What str() says must come
        # out the same, else the arguments alone do not make this exception.
        error = found.__new__(found, *args)
        error.args = tuple(args)
        vars(error).update(msgspec.json.decode(record.state, type=dict[str, object]))
        same = _text_of(error) == record.text
    except Exception:
        return _remote(record)
    return error if same else _remote(record)


def _rebuild_group(found: type[BaseExceptionGroup[BaseException]], record: ErrorRecord) -> BaseException:
    members = [decode_error(member) for member in record.members]
    if not members:
        return _remote(record)
    if found in (BaseExceptionGroup, ExceptionGroup):
        return BaseExceptionGroup(record.text, members)
    try:
        return found(record.text, members)
    except Exception:
        return BaseExceptionGroup(record.text, members)


def _remote(record: ErrorRecord) -> RemoteError:
    return RemoteError(record.type.rpartition(":")[2], record.text)


def _find(type_name: str) -> type[BaseException] | None:
    module_name, _, qualname = type_name.partition(":")
    try:
        found: object = importlib.import_module(module_name)
        for part in qualname.split("."):
            found = getattr(found, part)
    except Exception:  # the module is gone, fails to import, or the class was local to a function
        return None
    return found if isinstance(found, type) and issubclass(found, BaseException) else None
