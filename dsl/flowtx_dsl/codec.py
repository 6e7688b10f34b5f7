"""Payloads: values become JSON at the border and come back by annotation.

The law of this file: code sees decoded values only, live as well as replayed, so nothing depends on an identity or a
type that a crash would lose. What cannot be encoded, or does not fit, fails at once and names the place.
"""

from __future__ import annotations

import inspect
import typing
from collections.abc import Callable
from functools import lru_cache
from typing import Any, cast

import msgspec

from flowtx_dsl.errors import PayloadError, WorkflowError


def _encode_foreign(value: object) -> object:
    """Models that msgspec does not know: pydantic's, by the methods they have (no import of pydantic needed)."""
    dump = getattr(value, "model_dump", None)
    if callable(dump):
        return dump(mode="json")
    raise NotImplementedError(f"a {type(value).__qualname__} cannot be written to the journal")


def _decode_foreign(wanted: type, value: object) -> object:
    if wanted is object:
        return value
    validate = getattr(wanted, "model_validate", None)
    if callable(validate):
        return validate(value)
    raise NotImplementedError(f"a {wanted.__qualname__} cannot be read from the journal")


_encoder = msgspec.json.Encoder(enc_hook=_encode_foreign)


def encode(value: object, *, what: str) -> bytes:
    """A value as JSON; ``what`` names it in the error. Raises ``PayloadError`` naming the field that cannot be."""
    try:
        return _encoder.encode(value)
    except Exception as error:
        place = _find_unencodable(value, what) or what
        raise PayloadError(
            f"{place} cannot be written to the journal: {error}",
            remedy="Pass plain data: dataclasses, enums, datetimes, Decimals, UUIDs, bytes, lists, dicts, models.",
        ) from error


def _find_unencodable(value: object, path: str) -> str | None:
    """The path of the innermost part that cannot be encoded. Slow; runs only to word an error."""
    try:
        _encoder.encode(value)
    except RecursionError:
        return path
    except Exception:
        for name, part in _parts_of(value):
            found = _find_unencodable(part, f"{path}{name}")
            if found is not None:
                return found
        return path
    return None


def _parts_of(value: object) -> list[tuple[str, object]]:
    match value:
        case dict():
            return [(f"[{key!r}]", part) for key, part in cast("dict[object, object]", value).items()]
        case list() | tuple() | set() | frozenset():
            return [(f"[{i}]", part) for i, part in enumerate(cast("list[object]", value))]
        case _:
            fields: dict[str, object] = getattr(value, "__dataclass_fields__", {})
            return [(f".{name}", getattr(value, name, None)) for name in fields]


class Decoder:
    """Reads JSON into one annotated type."""

    __slots__ = ("_decode", "_wanted")

    def __init__(self, wanted: object) -> None:
        """Raises ``WorkflowError`` for a type that no payload can have."""
        self._wanted = wanted
        if wanted is None or wanted is type(None):
            # A function annotated "-> None" is believed only when it returns None; anything else is ignored, as
            # Python itself ignores it.
            self._decode: Callable[[bytes], object] = _nothing
            return
        try:
            self._decode = msgspec.json.Decoder(cast("type[object]", wanted), dec_hook=_decode_foreign).decode
        except TypeError as error:
            raise WorkflowError(f"{_spell(wanted)} cannot be the type of a payload: {error}") from error

    def decode(self, data: bytes, *, what: str) -> Any:
        """The value; raises ``PayloadError`` naming the field that does not fit."""
        try:
            return self._decode(data)
        except Exception as error:  # msgspec's errors, and whatever a model's own validation raises
            raise PayloadError(
                f"{what} does not fit {_spell(self._wanted)}: {error}",
                remedy="Pass what the annotation says, or mend the annotation.",
            ) from error


def _nothing(data: bytes) -> object:
    return None


def _spell(wanted: object) -> str:
    return wanted.__qualname__ if isinstance(wanted, type) else str(wanted)


_ANYTHING = Decoder(Any)


@lru_cache(maxsize=4096)
def _decoder_of(wanted: object) -> Decoder:
    return Decoder(wanted)


def decoder_of(wanted: object) -> Decoder:
    """The decoder of an annotation, made once; an annotation left out means anything."""
    if wanted is Any or wanted is inspect.Parameter.empty:
        return _ANYTHING
    try:
        return _decoder_of(wanted)
    except TypeError:  # an annotation that cannot be hashed
        return Decoder(wanted)


class Signature:
    """How a function's arguments and result travel: by position, each by its annotation."""

    __slots__ = (
        "_by_count",
        "_hints",
        "_params",
        "_variadic",
        "least",
        "most",
        "name",
        "names",
        "result",
        "takes_result",
    )

    def __init__(self, fn: Callable[..., object], *, skip: int = 0, name: str = "") -> None:
        """Read a function; ``skip`` leading parameters (``tx``) are not payload.

        Raises ``WorkflowError`` for annotations that cannot be resolved or cannot be a payload's type.
        """
        self.name = name or name_of(fn)
        try:
            signature = inspect.signature(fn)
            self._hints = _hints_of(fn)
        except (ValueError, TypeError, NameError) as error:
            raise WorkflowError(f"the signature of {self.name} cannot be read: {error}") from error
        params = list(signature.parameters.values())[skip:]
        positional = [p for p in params if p.kind in (p.POSITIONAL_ONLY, p.POSITIONAL_OR_KEYWORD)]
        self._variadic = next((p for p in params if p.kind is p.VAR_POSITIONAL), None)
        self.takes_result = any(p.kind is p.KEYWORD_ONLY and p.name == "result" for p in params)
        for param in params:
            if param.kind is param.KEYWORD_ONLY and param.default is param.empty and param.name != "result":
                raise WorkflowError(
                    f"{self.name} needs the keyword argument {param.name!r}, but arguments travel by position only",
                    remedy=f"Make {param.name!r} positional, or give it a default.",
                )
        self._params = positional
        self.names = tuple(p.name for p in positional)
        self.least = sum(p.default is p.empty for p in positional)
        self.most = None if self._variadic is not None else len(positional)
        self.result = decoder_of(self._hints.get("return", Any))
        self._by_count: dict[int, Decoder] = {}
        self._decoder_for(len(positional))

    def encode_args(self, args: tuple[object, ...]) -> bytes:
        """Arguments as a JSON array; raises ``PayloadError`` or, too many or too few, ``WorkflowError``."""
        self.check_count(len(args))
        if not args:
            return b"[]"
        try:
            encoded = _encoder.encode(args)
        except Exception:
            for i, arg in enumerate(args):
                encode(arg, what=f"argument {self._name_of_arg(i)!r} of {self.name}")
            raise
        self._decoder_for(len(args)).decode(encoded, what=f"the arguments of {self.name}")
        return encoded

    def decode_args(self, data: bytes, count: int | None = None) -> tuple[object, ...]:
        """Arguments from a JSON array; raises ``PayloadError`` naming the one that does not fit."""
        if data == b"[]":
            self.check_count(0)
            return ()
        if count is None:
            count = len(msgspec.json.decode(data, type=list[msgspec.Raw]))
            self.check_count(count)
        values = self._decoder_for(count).decode(data, what=f"the arguments of {self.name}")
        return cast("tuple[object, ...]", values)

    def check_count(self, count: int) -> None:
        """Raises ``WorkflowError`` when the function does not take so many arguments."""
        if count < self.least or (self.most is not None and count > self.most):
            wanted = str(self.least) if self.least == self.most else f"{self.least} to {self.most or 'any number of'}"
            raise WorkflowError(
                f"{self.name}({', '.join(self.names)}) takes {wanted} argument(s), got {count}",
                remedy="Pass the arguments that its signature asks for.",
            )

    def _name_of_arg(self, i: int) -> str:
        return self.names[i] if i < len(self.names) else f"*{i}"

    def _decoder_for(self, count: int) -> Decoder:
        decoder = self._by_count.get(count)
        if decoder is None:
            kinds = [self._hints.get(p.name, Any) for p in self._params[:count]]
            if self._variadic is not None and count > len(kinds):
                kinds += [self._hints.get(self._variadic.name, Any)] * (count - len(kinds))
            shape: object = tuple[tuple(kinds)] if kinds else tuple[()]  # type: ignore[misc]  # a type made at run time
            decoder = self._by_count[count] = Decoder(shape)
        return decoder


def _hints_of(fn: Callable[..., object]) -> dict[str, object]:
    target = fn if inspect.isroutine(fn) or isinstance(fn, type) else type(fn).__call__
    return typing.get_type_hints(target, include_extras=True)


def name_of(fn: object) -> str:
    """What a callable is called in journals and messages: its qualified name without ``<locals>``."""
    qualname = getattr(fn, "__qualname__", None) or type(fn).__qualname__
    return str(qualname).rpartition("<locals>.")[2]


@lru_cache(maxsize=8192)
def _signature_of(fn: Callable[..., object]) -> Signature:
    return Signature(fn)


def signature_of(fn: Callable[..., object]) -> Signature:
    """The signature of a step's function, made once; raises ``WorkflowError`` when it cannot be one's."""
    return _signature_of(fn)
