"""Exceptions as values of the journal: type, arguments, notes, cause, context and group structure survive.

The law of this file: what replay raises equals what was raised live, because live code gets the decoded error too.
An exception whose type cannot be found again, or not be rebuilt from its arguments, is a ``RemoteError`` both times;
that is tried when it is encoded, so that it is decided once. Encoding never fails and its size has limits, because an
error is the last place where another one would be welcome.
"""

from __future__ import annotations

import traceback
from collections.abc import Iterator
from types import FunctionType
from typing import cast

import msgspec

from flowtx_dsl.errors import RemoteError
from flowtx_dsl.tagged import find, name_of_type, tag, untag


class ErrorRecord(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One exception: ``type`` is ``module:qualname``, ``text`` what ``str()`` gave; of a group, its message.

    ``args`` and ``state`` (its attributes) are JSON; null stands for arguments that do not make the exception again.
    ``context`` is what was being handled when it was raised, when a traceback would show it: not beside a cause.
    ``trace`` is the traceback of the attempt, for people; it takes no part in equality of decoded errors.
    """

    type: str
    text: str
    args: msgspec.Raw = msgspec.Raw(b"null")
    state: msgspec.Raw = msgspec.Raw(b"{}")
    notes: tuple[str, ...] = ()
    cause: ErrorRecord | None = None
    context: ErrorRecord | None = None
    members: tuple[ErrorRecord, ...] = ()
    trace: str = ""


TEXT_MAX = 16_384
"""Longer texts, notes and traces are cut, so that a participant's answer cannot fill the journal."""
NAME_MAX = 1_024
"""Longer type names are cut."""
VALUES_MAX = 8 * TEXT_MAX
"""Arguments, and attributes, whose JSON has more bytes are dropped. One text of ``TEXT_MAX`` always fits."""
NOTES_MAX = 100
"""More notes on one exception are dropped."""
DEPTH_MAX = 20
"""Causes and groups nested deeper than this are dropped."""
ERRORS_MAX = 200
"""More exceptions than this in one tree of causes and groups are dropped."""

_OF_REMOTE = ("type_name", "text")  # the attributes of a RemoteError that are its arguments
_NO_ARGS, _NO_STATE = msgspec.Raw(b"null"), msgspec.Raw(b"{}")


def encode_error(error: BaseException, *, with_trace: bool = False) -> ErrorRecord:
    """The record of an exception; never raises, whatever the exception's own methods do."""
    try:
        record = _encode(error, DEPTH_MAX, iter(range(ERRORS_MAX)))
    except Exception:  # its own attributes are traps
        record = ErrorRecord(type=_type_of(error), text=_text_of(error))
    return msgspec.structs.replace(record, trace=_trace_of(error)) if with_trace else record


def decode_error(record: ErrorRecord) -> BaseException:
    """The exception of a record, with all that was kept; a ``RemoteError`` when its type cannot be rebuilt."""
    members = [decode_error(member) for member in record.members]
    cause = decode_error(record.cause) if record.cause is not None else None
    context = decode_error(record.context) if record.context is not None else None
    try:
        return _with_rest(_rebuild(record, members), record, cause, context)
    except Exception:
        return _with_rest(_remote(record), record, cause, context)


# -- encoding


def _encode(error: BaseException, depth: int, left: Iterator[int]) -> ErrorRecord:
    """``left`` runs out when the tree has grown to its limit."""
    cause = error.__cause__
    context = None if cause is not None or error.__suppress_context__ else error.__context__
    record = ErrorRecord(
        type=_type_of(error),
        text=_text_of(error),
        state=_json(_state_of(error), _NO_STATE),
        notes=tuple(_notes_of(error)),
        cause=_encode_other(cause, depth, left),
        context=_encode_other(context, depth, left),
    )
    if isinstance(error, BaseExceptionGroup):
        group = cast("BaseExceptionGroup[BaseException]", error)
        return _with_members(record, group, depth, left) if depth else record
    args = _json([_tagged_or_text(value) for value in _args_of(error)], _NO_ARGS)
    whole = msgspec.structs.replace(record, args=args)
    return whole if _comes_back(error, whole) else record


def _encode_other(error: BaseException | None, depth: int, left: Iterator[int]) -> ErrorRecord | None:
    """A cause or context, while the tree has room for it."""
    if error is None or not depth or next(left, None) is None:
        return None
    return _encode(error, depth - 1, left)


def _with_members(
    record: ErrorRecord, group: BaseExceptionGroup[BaseException], depth: int, left: Iterator[int]
) -> ErrorRecord:
    """The record of a group: its members stand for its arguments."""
    members = [_encode(member, depth - 1, left) for member, _ in zip(group.exceptions, left, strict=False)]
    lost = len(group.exceptions) - len(members)
    notes = (*record.notes, f"flowtx: {lost} more exceptions of this group were not kept") if lost else record.notes
    return msgspec.structs.replace(record, text=_cut(group.message), members=tuple(members), notes=notes)


def _comes_back(error: BaseException, record: ErrorRecord) -> bool:
    """True when decoding makes the same type that says the same; else the arguments alone do not make the exception."""
    try:
        again = _rebuild(record, [])
        return type(again) is type(error) and _str_of(again) == record.text
    except Exception:
        return False


def _args_of(error: BaseException) -> tuple[object, ...]:
    if isinstance(error, OSError):  # its args leave out the file names
        args = OSError.__reduce__(error)[1]
        return cast("tuple[object, ...]", args)
    return error.args


def _state_of(error: BaseException) -> dict[str, object]:
    """Its attributes; those that JSON cannot hold are left out."""
    state: dict[str, object] = {}
    values = {name: getattr(error, name) for name in _slots_of(type(error)) if hasattr(error, name)} | vars(error)
    for name, value in values.items():
        if name != "__notes__" and not (name in _OF_REMOTE and type(error) is RemoteError):
            try:
                state[name] = tag(_cut(value) if isinstance(value, str) else value)
            except Exception:  # a connection, a response: nothing for a journal
                continue
    return state


def _slots_of(kind: type) -> list[str]:
    found: list[str] = []
    for base in kind.__mro__:
        slots: object = base.__dict__.get("__slots__", ())
        found += [slots] if isinstance(slots, str) else cast("list[str]", slots)
    return [name for name in found if not name.startswith("__")]


def _notes_of(error: BaseException) -> list[str]:
    notes: object = getattr(error, "__notes__", None)
    if not isinstance(notes, list | tuple):
        return []
    return [_text_of(note) for note in cast("list[object]", notes)[:NOTES_MAX]]


def _tagged_or_text(value: object) -> object:
    """An argument as JSON; of what JSON cannot hold, the text, which is what most exceptions make of it anyway."""
    if isinstance(value, str):
        return _cut(value)
    try:
        return tag(value)
    except Exception:
        return _text_of(value)


def _json(value: object, otherwise: msgspec.Raw) -> msgspec.Raw:
    try:
        encoded = msgspec.json.encode(value)
    except Exception:  # a text that is no Unicode deep inside, a huge number
        return otherwise
    return msgspec.Raw(encoded) if len(encoded) <= VALUES_MAX else otherwise


def _type_of(error: BaseException) -> str:
    return _cut(name_of_type(error), NAME_MAX)


def _text_of(value: object) -> str:
    text = _str_of(value)
    return f"<str() of a {type(value).__qualname__} fails>" if text is None else text


def _str_of(value: object) -> str | None:
    """What ``str()`` gives, None when it raises."""
    try:
        return _cut(str(value))
    except KeyboardInterrupt:
        raise
    except BaseException:
        return None


def _trace_of(error: BaseException) -> str:
    try:
        trace = "".join(traceback.format_exception(error))
    except Exception as broken:
        return f"<its traceback cannot be formatted: {type(broken).__name__}>"
    # The end says what happened, so the beginning is cut.
    return _clean(trace if len(trace) <= TEXT_MAX else f"({len(trace)} characters in all) ...{trace[-TEXT_MAX:]}")


def _cut(text: str, length_max: int = TEXT_MAX) -> str:
    """At most so many characters, all of them Unicode; cutting twice is cutting once."""
    text = _clean(text)
    if len(text) <= length_max:
        return text
    tail = f"... ({len(text)} characters in all)"
    return f"{text[: length_max - len(tail)]}{tail}"


def _clean(text: str) -> str:
    return text.encode(errors="backslashreplace").decode()


# -- decoding


def _rebuild(record: ErrorRecord, members: list[BaseException]) -> BaseException:
    """The exception itself; raises anything when that cannot be done."""
    found = find(record.type)
    if not (isinstance(found, type) and issubclass(found, BaseException)):
        return _remote(record)
    if issubclass(found, BaseExceptionGroup):
        return _rebuild_group(cast("type[BaseExceptionGroup[BaseException]]", found), record, members)
    args = cast("list[object]", untag(msgspec.json.decode(record.args, type=list[object])))
    if found is RemoteError:
        type_name, text = cast("list[str]", args)
        error: BaseException = RemoteError(type_name, text)
        _restore(error, record)
        return error
    # Not found(*args): an __init__ of another shape would refuse, or do work twice. The __init__ that Python itself
    # wrote is called, because some builtin exceptions keep their arguments in fields of their own.
    error = found.__new__(found, *args)
    _native_base(found).__init__(error, *args)
    _restore(error, record)
    return error


def _rebuild_group(
    found: type[BaseExceptionGroup[BaseException]], record: ErrorRecord, members: list[BaseException]
) -> BaseException:
    if not members:  # it was nested too deep to be kept
        return _remote(record)
    try:
        group = found.__new__(found, record.text, members)
    except Exception:  # a class with a constructor of its own
        group = BaseExceptionGroup(record.text, members)
    _restore(group, record)
    return group


def _restore(error: BaseException, record: ErrorRecord) -> None:
    state = cast("dict[str, object]", untag(msgspec.json.decode(record.state, type=dict[str, object])))
    slots = _slots_of(type(error))
    for name, value in state.items():
        if name in slots:
            object.__setattr__(error, name, value)
        else:
            vars(error)[name] = value


def _native_base(kind: type[BaseException]) -> type[BaseException]:
    """The nearest class whose ``__init__`` is not written in Python."""
    for base in kind.__mro__:
        if issubclass(base, BaseException) and not isinstance(base.__dict__.get("__init__"), FunctionType | None):
            return base
    return BaseException


def _with_rest(
    error: BaseException, record: ErrorRecord, cause: BaseException | None, context: BaseException | None
) -> BaseException:
    # Past a class's own __setattr__: the exceptions of a frozen dataclass cannot be written to otherwise.
    if record.notes:
        vars(error)["__notes__"] = list(record.notes)
    if cause is not None:
        object.__setattr__(error, "__cause__", cause)
    if context is not None:
        object.__setattr__(error, "__context__", context)
    return error


def _remote(record: ErrorRecord) -> RemoteError:
    return RemoteError(record.type.rpartition(":")[2], record.text)
