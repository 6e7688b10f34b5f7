"""Payloads: values become JSON at the border and come back by annotation.

The law of this file: code sees decoded values only, live as well as replayed, so nothing depends on an identity or a
type that a crash would lose. What cannot be encoded, or does not fit, fails at once and names the place.
"""

from __future__ import annotations

import base64
import inspect
import re
import typing
from collections.abc import Callable
from functools import lru_cache
from typing import Any, cast

import msgspec

from flowtx_dsl import writing
from flowtx_dsl.errors import PayloadError, WorkflowError


def encode(value: object, *, what: str) -> bytes:
    """A value as JSON; ``what`` names it in the error. Raises ``PayloadError`` naming the field that cannot be."""
    try:
        return writing.write(value)
    except Exception as error:
        place = writing.find_unwritable(value, what) or what
        raise PayloadError(
            f"{place} cannot be written to the journal: {error}",
            remedy="Pass plain data: dataclasses, enums, datetimes, Decimals, UUIDs, bytes, lists, dicts, models.",
        ) from error


def _decode_foreign(wanted: type, value: object) -> object:
    if wanted is object:
        return value
    validate = getattr(wanted, "model_validate_json", None)
    if callable(validate):
        # Through JSON again, because a strict model takes a date or a UUID as text from JSON only.
        return validate(msgspec.json.encode(value))
    parse = getattr(wanted, "FromString", None)
    if callable(parse) and isinstance(value, str):
        return parse(base64.b64decode(value, validate=True))  # a protobuf message, kept as its bytes are
    raise NotImplementedError(f"no {wanted.__qualname__} can be made from JSON")


class Decoder:
    """Reads JSON into one annotated type."""

    __slots__ = ("_decode", "wanted")

    def __init__(self, wanted: object) -> None:
        """Raises ``WorkflowError`` for a type that no payload can have."""
        self.wanted = wanted
        if any(wanted is nothing for nothing in _NOTHING):
            # A function annotated "-> None" is believed only when it returns None; anything else is ignored, as
            # Python itself ignores it.
            self._decode: Callable[[bytes], object] = _nothing
            return
        try:
            self._decode = msgspec.json.Decoder(cast("type[object]", wanted), dec_hook=_decode_foreign).decode
        except Exception as error:  # TypeError, and whatever resolving a model's own annotations raises
            raise WorkflowError(f"{spell_type(wanted)} cannot be the type of a payload: {error}") from error

    def decode_plainly(self, data: bytes) -> object:
        """The value; raises what msgspec raises."""
        return self._decode(data)

    def decode(self, data: bytes, *, what: str) -> Any:
        """The value; raises ``PayloadError`` naming the field that does not fit."""
        try:
            return self._decode(data)
        except Exception as error:  # msgspec's errors, and whatever a model's own validation raises
            raise misfit(what, self.wanted, error) from error

    def encode(self, value: object, *, what: str) -> bytes:
        """A value as JSON that this decoder reads; raises ``PayloadError`` when it cannot be written or read."""
        if self._decode is _nothing:
            return b"null"
        data = encode(value, what=what)
        self.decode(data, what=what)
        return data


_READ_BY = ("model_validate_json", "FromString")
"""What a pydantic model and a protobuf message are known by."""
_MODULES = re.compile(r"(?<![.\w])(?:[\w<>]+\.)+(?=\w)")
_NOTHING = (None, type(None), typing.NoReturn, typing.Never)


def _nothing(data: bytes) -> object:
    return None


def misfit(what: str, wanted: object, error: Exception) -> PayloadError:
    """The error for a value that does not fit its annotation."""
    return PayloadError(
        f"{what} does not fit {spell_type(wanted)}: {error}",
        remedy="Pass what the annotation says, or mend the annotation.",
    )


def spell_type(wanted: object) -> str:
    """An annotation as a person would write it, without modules."""
    if isinstance(wanted, type) and not typing.get_args(wanted):
        return wanted.__qualname__.rpartition("<locals>.")[2]
    return _MODULES.sub("", str(wanted))


_ANYTHING = Decoder(Any)


@lru_cache(maxsize=4096)
def _decoder_of(wanted: object) -> Decoder:
    return Decoder(wanted)


def decoder_of(wanted: object, *, what: str = "") -> Decoder:
    """The decoder of an annotation, made once; an annotation left out means anything.

    Raises ``WorkflowError`` for a type that no payload can have; ``what`` names whose type it is.
    """
    if wanted is Any or wanted is inspect.Parameter.empty:
        return _ANYTHING
    try:
        try:
            return _decoder_of(wanted)
        except TypeError:  # an annotation that cannot be hashed
            return Decoder(wanted)
    except WorkflowError as error:
        if not what:
            raise
        raise WorkflowError(
            f"{what}: {error.message}", remedy="Annotate it with a type that JSON can hold."
        ) from error.__cause__


def readable_decoder_of(wanted: object, what: str) -> Decoder:
    """``decoder_of``, for results: also refuses a class of which nothing can be journaled, before anything is done."""
    decoder = decoder_of(wanted, what=what)
    unreadable = _find_unreadable(wanted)
    if unreadable is not None:
        raise WorkflowError(
            f"{what} is annotated {spell_type(wanted)}, but a {unreadable.__qualname__} cannot be journaled",
            remedy="Let it be plain data or a model; annotate `-> None` when nobody needs it.",
        )
    return decoder


def _find_unreadable(wanted: object) -> type | None:
    """A class inside an annotation of which nothing can be journaled, or None."""
    if any(wanted is nothing for nothing in _NOTHING):
        return None
    seen: set[int] = set()
    ahead: list[object] = [msgspec.inspect.type_info(wanted)]
    while ahead:
        info = ahead.pop()
        if isinstance(info, tuple):
            ahead += cast("tuple[object, ...]", info)
        elif isinstance(info, msgspec.inspect.CustomType):
            if info.cls is not object and not any(hasattr(info.cls, reads) for reads in _READ_BY):
                return info.cls
        elif isinstance(info, msgspec.inspect.Type | msgspec.inspect.Field) and id(info) not in seen:
            seen.add(id(info))
            ahead += [getattr(info, name) for name in info.__struct_fields__]
    return None
