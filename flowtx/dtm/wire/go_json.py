"""Reading JSON as DTM's server reads it, which is as Go does (spec 2.2).

The law of this file: key names match whatever their case, the last of several wins, null is the zero value, text after
the document is an error, and a number is an integer only when it is written as one. Nothing here raises anything but
``RequestError``, whatever bytes come in.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping
from typing import NoReturn, cast

from flowtx.dtm.wire.errors import RequestError

INT64_MIN = -(2**63)
INT64_MAX = 2**63 - 1

_SURROGATES = re.compile("[\ud800-\udfff]")
_LOOKS_LIKE_ASCII = {0x17F: "s", 0x212A: "k"}  # long s and the Kelvin sign fold to letters, in Go too


class Pairs(list[tuple[str, object]]):
    """An object as it was written: keys in order, repeated ones included."""


Reader = Callable[[object, str], object]
"""Turns a JSON value into a field's; gets the field's name for its error."""


def parse(body: bytes) -> object:
    """Any JSON document, its objects as ``Pairs``; raises ``RequestError``. Bytes that are not UTF-8 become U+FFFD."""
    try:
        return json.loads(body.decode(errors="replace"), object_pairs_hook=Pairs, parse_constant=_refuse_constant)
    except json.JSONDecodeError as error:
        raise RequestError(f"the body is not JSON: {error.msg} at character {error.pos}") from error
    except RecursionError as error:
        raise RequestError("the body is not JSON that can be read: it is nested too deeply") from error
    except ValueError as error:  # a number of thousands of digits
        raise RequestError("the body is not JSON that can be read: a number in it is too long") from error


def _refuse_constant(name: str) -> NoReturn:
    raise RequestError(f"the body is not JSON: {name} is not a JSON value")


def read_fields(document: object, fields: Mapping[str, Reader]) -> dict[str, object]:
    """The known fields of a document, by their proper names; raises ``RequestError``. A null document has none."""
    if document is None:
        return {}
    if not isinstance(document, Pairs):
        raise RequestError(f"the body is {spell(document)}, expected an object")
    found: dict[str, object] = {}
    for key, value in document:
        name = key if key in fields else key.translate(_LOOKS_LIKE_ASCII).lower()
        reader = fields.get(name)
        if reader is not None:
            found[name] = reader(value, name)
    return found


def spell(value: object) -> str:
    """A JSON value's type, for error texts; never the value itself, which may be long or private."""
    match value:
        case None:
            return "null"
        case bool():
            return "a boolean"
        case int():
            return "an integer"
        case float():
            return "a number with a fraction or an exponent"
        case str():
            return "a string"
        case Pairs():
            return "an object"
        case _:
            return "an array"


def _misfit(field: str, expected: str, value: object) -> RequestError:
    return RequestError(f"field {field}: expected {expected}, got {spell(value)}")


def read_string(value: object, field: str) -> str:
    """A string; null is empty."""
    if value is None:
        return ""
    if not isinstance(value, str):
        raise _misfit(field, "a string", value)
    return value if value.isascii() else _SURROGATES.sub("\ufffd", value)


def read_bool(value: object, field: str) -> bool:
    """A boolean; null is false."""
    if value is None:
        return False
    if not isinstance(value, bool):
        raise _misfit(field, "a boolean", value)
    return value


def read_int(value: object, field: str) -> int:
    """A 64-bit integer; null is zero."""
    if value is None:
        return 0
    if isinstance(value, bool) or not isinstance(value, int):
        raise _misfit(field, "an integer", value)
    if not INT64_MIN <= value <= INT64_MAX:
        raise RequestError(f"field {field}: the integer does not fit into 64 bits")
    return value


def read_strings(value: object, field: str) -> tuple[str, ...]:
    """An array of strings; null is empty."""
    return tuple(read_string(item, f"{field}[{i}]") for i, item in enumerate(_items(value, field, "strings")))


def read_string_map(value: object, field: str) -> dict[str, str]:
    """An object of strings; null is empty, and so is an empty array, which is how PHP writes an empty map."""
    if value is None or value == []:
        return {}
    if not isinstance(value, Pairs):
        raise _misfit(field, "an object of strings", value)
    return {read_string(key, field): read_string(item, f"{field}.{_short(key)}") for key, item in value}


def read_string_maps(value: object, field: str) -> tuple[dict[str, str], ...]:
    """An array of objects of strings; null is empty."""
    items = _items(value, field, "objects of strings")
    return tuple(read_string_map(item, f"{field}[{i}]") for i, item in enumerate(items))


def _items(value: object, field: str, of_what: str) -> list[object]:
    if value is None:
        return []
    if not isinstance(value, list) or isinstance(value, Pairs):
        raise _misfit(field, f"an array of {of_what}", value)
    return cast("list[object]", value)


def _short(key: str) -> str:
    key = _SURROGATES.sub("\ufffd", key)
    return key if len(key) <= 40 else f"{key[:40]}..."
