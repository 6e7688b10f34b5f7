"""Writing values as JSON: equal values give equal bytes, in every process.

The law of this file: what is written depends on the value alone. The members of a set come in another order in another
process, so they are put in order; what JSON would quietly turn into something else is refused. Values are known by
their shape, never by an import of somebody's model library.
"""

from __future__ import annotations

import copy
import inspect
import math
import operator
from collections.abc import Callable, Hashable
from datetime import UTC, date, datetime, time, timedelta
from decimal import Decimal
from functools import lru_cache
from types import NoneType
from typing import cast
from uuid import UUID

import msgspec

_ATOMS = frozenset({str, int, bool, NoneType, bytes, Decimal, UUID, date, timedelta})
"""Types with nothing inside, so that most values are passed by at once."""


def write(value: object) -> bytes:
    """A value as JSON; raises whatever msgspec or a model raises when it cannot be."""
    return _encoder.encode(_in_order(value))


def find_unwritable(value: object, path: str) -> str | None:
    """The path of the innermost part that cannot be written, None when all can. Slow; runs only to word an error."""
    try:
        write(value)
    except RecursionError:  # it holds itself: there is no innermost part
        return path
    except Exception:
        for name, part in _parts_of(value):
            found = find_unwritable(part, f"{path}{name}")
            if found is not None:
                return found
        return path
    return None


def fields_of(value: object) -> tuple[str, ...]:
    """The fields of a dataclass, a named tuple, a msgspec Struct, an attrs class or a pydantic model; else none."""
    return _fields_of(cast("Hashable", type(value)))


@lru_cache(maxsize=4096)
def _fields_of(kind: Hashable) -> tuple[str, ...]:
    for attribute in ("__struct_fields__", "__dataclass_fields__", "model_fields", "_fields"):
        names: object = getattr(kind, attribute, None)
        if isinstance(names, tuple | dict):
            return tuple(cast("tuple[str, ...]", names))
    attrs_fields: tuple[object, ...] = getattr(kind, "__attrs_attrs__", ())
    return tuple(str(getattr(field, "name", "")) for field in attrs_fields)


def _in_order(value: object) -> object:
    """The value itself, or a copy with a sorted list in place of each set it holds."""
    kind = type(value)
    if kind in _ATOMS:
        return value
    if isinstance(value, float):
        if not math.isfinite(value):
            raise ValueError(f"JSON has no {value!r}, it would come back as null")
        return value
    if isinstance(value, datetime | time):
        return _in_whole_minutes(value)
    if isinstance(value, set | frozenset):
        return sorted(map(_in_order, cast("set[object]", value)), key=_encoder.encode)
    if isinstance(value, dict):
        old = cast("dict[object, object]", value)
        new = [_in_order(part) for part in old.values()]
        return old if all(map(operator.is_, new, old.values())) else dict(zip(old, new, strict=True))
    if isinstance(value, list | tuple):
        items = cast("list[object]", value)
        new = [_in_order(part) for part in items]
        return items if all(map(operator.is_, new, items)) else new
    return _model_in_order(value, fields_of(value))


def _in_whole_minutes(value: datetime | time) -> datetime | time:
    """The same instant with an offset of whole minutes, which is all that RFC 3339 can write."""
    offset = value.utcoffset()
    if offset is None or not offset % timedelta(minutes=1):
        return value
    if isinstance(value, datetime):
        return value.astimezone(UTC)
    raise ValueError(f"{value!r} has an offset from UTC that is no whole number of minutes")


def _model_in_order(value: object, names: tuple[str, ...]) -> object:
    changed: dict[str, object] = {}
    for name in names:
        old: object = getattr(value, name, None)
        new = _in_order(old)
        if new is not old:
            changed[name] = new
    if not changed:
        return value
    # A copy that is only written: what its class says of its fields, and whether it is frozen, does not matter.
    shallow = copy.copy(value)
    put: Callable[[object, str, object], None] = object.__setattr__
    if isinstance(value, msgspec.Struct):
        put = cast("Callable[[object, str, object], None]", msgspec.structs.force_setattr)
    for name, part in changed.items():
        put(shallow, name, part)
    return shallow


def _encode_foreign(value: object) -> object:
    """What msgspec does not know: models and messages by the methods they have, subclasses of plain types as these."""
    dump = getattr(value, "model_dump", None)
    if callable(dump):
        # By alias, because validation asks for aliases; round_trip leaves out what is computed. A set that was put in
        # order is a list by now, of which pydantic would warn.
        return dump(mode="json", by_alias=True, round_trip=True, warnings=False)
    serialize = getattr(value, "SerializeToString", None)
    if callable(serialize):
        return serialize(deterministic=True)  # a protobuf message: equal ones give equal bytes
    for plain in (str, int, float):
        if isinstance(value, plain):
            return plain(value)
    if inspect.iscoroutine(value):
        raise NotImplementedError(
            f"it is the coroutine {value.__qualname__}, whose result was not awaited: put await before it"
        )
    raise NotImplementedError(f"JSON has nothing for the type {type(value).__qualname__}")


_encoder = msgspec.json.Encoder(enc_hook=_encode_foreign)


def _parts_of(value: object) -> list[tuple[str, object]]:
    names = fields_of(value)
    if names:
        return [(f".{name}", getattr(value, name, None)) for name in names]
    match value:
        case dict():
            return [(f"[{key!r}]", part) for key, part in cast("dict[object, object]", value).items()]
        case list() | tuple():
            return [(f"[{i}]", part) for i, part in enumerate(cast("list[object]", value))]
        case set() | frozenset():
            return [("{}", part) for part in cast("set[object]", value)]
        case _:
            return []
