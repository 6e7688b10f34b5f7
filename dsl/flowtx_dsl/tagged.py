"""Values without an annotation, as JSON that remembers their types: what exceptions carry.

The law of this file: reading gives back a value equal to what was written, of the same type, or fails; it never gives
something that merely looks alike.
"""

from __future__ import annotations

import importlib
import math
from collections.abc import Callable, Iterable
from typing import cast

import msgspec

from flowtx_dsl import writing
from flowtx_dsl.codec import decoder_of

_TAG = "$type"
_GATHER: dict[str, Callable[[Iterable[object]], object]] = {
    "builtins:tuple": tuple,
    "builtins:set": set,
    "builtins:frozenset": frozenset,
}


def tag(value: object) -> object:
    """A value as plain JSON data; raises ``ValueError`` when it would not come back the same."""
    if value is None or type(value) in (bool, int, str):
        return value
    if type(value) is float and math.isfinite(value):
        return value
    if type(value) is list:
        return [tag(item) for item in cast("list[object]", value)]
    if type(value) is dict:
        return _tag_dict(cast("dict[object, object]", value))
    name = name_of_type(value)
    if name in _GATHER:
        return {_TAG: name, "value": [tag(item) for item in cast("Iterable[object]", value)]}
    tagged = {_TAG: name, "value": msgspec.json.decode(writing.write(value))}
    again = untag(tagged)
    if type(again) is not type(value) or again != value:
        raise ValueError(f"{value!r} does not come back from JSON the same")
    return tagged


def untag(data: object) -> object:
    """The value of what ``tag`` gave; raises ``ValueError`` for a type that is gone, and what its decoding raises."""
    match data:
        case list():
            return [untag(item) for item in cast("list[object]", data)]
        case dict():
            fields = cast("dict[str, object]", data)
            if _TAG in fields:
                return _untag_typed(str(fields[_TAG]), fields.get("value"))
            return {name: untag(item) for name, item in fields.items()}
        case _:
            return data


def name_of_type(value: object) -> str:
    """``module:qualname`` of a value's type, by which ``find`` finds it again."""
    return f"{type(value).__module__}:{type(value).__qualname__}"


def find(name: str) -> object:
    """What stands at ``module:qualname``, None when nothing does: gone, local to a function, or failing to import."""
    module_name, _, qualname = name.partition(":")
    try:
        found: object = importlib.import_module(module_name)
        for part in qualname.split("."):
            found = getattr(found, part)
    except (Exception, SystemExit):  # a script that is imported by accident may exit
        return None
    return found


def _tag_dict(value: dict[object, object]) -> object:
    if all(type(key) is str for key in value) and _TAG not in value:
        return {key: tag(item) for key, item in value.items()}
    return {_TAG: "builtins:dict", "value": [[tag(key), tag(item)] for key, item in value.items()]}


def _untag_typed(name: str, value: object) -> object:
    if name == "builtins:dict":
        return {untag(key): untag(item) for key, item in cast("list[list[object]]", value)}
    if name in _GATHER:
        return _GATHER[name](untag(item) for item in cast("list[object]", value))
    found = find(name)
    if not isinstance(found, type):
        raise ValueError(f"no type is called {name}")  # noqa: TRY004 - the data is wrong, not an argument's type
    return decoder_of(found).decode(msgspec.json.encode(value), what=name)
