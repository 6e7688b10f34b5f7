"""Signatures: how the arguments and the result of a function travel.

The law of this file: arguments travel by position, each by its annotation. What is wrong with a function is said when
it is first asked for, before anything is performed, and names the parameter.
"""

from __future__ import annotations

import functools
import inspect
import typing
from collections.abc import Awaitable, Callable, Coroutine
from typing import Any, cast

import msgspec

from flowtx_dsl import writing
from flowtx_dsl.codec import Decoder, decoder_of, encode, misfit, readable_decoder_of
from flowtx_dsl.errors import PayloadError, WorkflowError


class Signature:
    """How a function's arguments and result travel: by position, each by its annotation.

    ``takes_result`` and ``needs_result`` say whether it is a compensation that may, or must, be given ``result=``.
    """

    def __init__(self, fn: Callable[..., object], *, skip: int = 0, name: str = "") -> None:
        """Read a function; ``skip`` leading parameters (``tx``) are not payload.

        Raises ``WorkflowError`` for a generator function, for a keyword that must be given, and for annotations that
        cannot be resolved or cannot be a payload's type.
        """
        self.name = name or name_of(fn)
        _refuse_generators(fn, self.name)
        try:
            params = list(inspect.signature(fn).parameters.values())[skip:]
            hints = _hints_of(fn)
        except (ValueError, TypeError, NameError, AttributeError) as error:
            raise WorkflowError(
                f"the signature of {self.name} cannot be read: {error}",
                remedy="Let its annotations name what its module defines; wrap a builtin in a function of your own.",
            ) from error
        positional = [p for p in params if p.kind in (p.POSITIONAL_ONLY, p.POSITIONAL_OR_KEYWORD)]
        keywords = [p for p in params if p.kind is p.KEYWORD_ONLY]
        _refuse_needed_keywords(keywords, self.name)
        variadic = next((p for p in params if p.kind is p.VAR_POSITIONAL), None)
        self.takes_result = any(p.name == "result" for p in keywords)
        self.needs_result = any(p.name == "result" and p.default is p.empty for p in keywords)
        self.names = tuple(p.name for p in positional)
        self.least = sum(p.default is p.empty for p in positional)
        self.most = None if variadic is not None else len(positional)
        self._kinds = [hints.get(p.name, Any) for p in positional]
        self._variadic_kind = Any if variadic is None else hints.get(variadic.name, Any)
        self._result_kind = hints.get("return", Any)
        self._by_count: dict[int, Decoder] = {}
        self._decoder_for(self.least)

    @functools.cached_property
    def result(self) -> Decoder:
        """What reads its result; raises ``WorkflowError`` when nothing of the annotated type can be journaled."""
        return readable_decoder_of(self._result_kind, f"the result of {self.name}")

    def encode_args(self, args: tuple[object, ...]) -> bytes:
        """Arguments as a JSON array; raises ``PayloadError`` or, too many or too few, ``WorkflowError``."""
        if not args and not self.least:
            return b"[]"
        self.check_count(len(args))
        try:
            encoded = writing.write(args)
        except Exception as error:
            for i, arg in enumerate(args):
                encode(arg, what=self._what(i))
            raise PayloadError(f"the arguments of {self.name} cannot be written to the journal: {error}") from error
        self._decode(encoded, len(args))
        return encoded

    def decode_args(self, data: bytes, count: int | None = None) -> tuple[object, ...]:
        """Arguments from a JSON array of ``count`` items; raises ``PayloadError`` naming the one that does not fit."""
        if data == b"[]":
            self.check_count(0)
            return ()
        if count is None:
            count = self._count(data)
            self.check_count(count)
        return self._decode(data, count)

    def check_count(self, count: int) -> None:
        """Raises ``WorkflowError`` when the function does not take so many arguments."""
        if count < self.least or (self.most is not None and count > self.most):
            wanted = str(self.least) if self.least == self.most else f"{self.least} to {self.most or 'any number of'}"
            raise WorkflowError(
                f"{self.name}({', '.join(self.names)}) takes {wanted} argument(s), got {count}",
                remedy="Pass the arguments that its signature asks for; a compensation gets those of its step.",
            )

    def _count(self, data: bytes) -> int:
        try:
            return len(msgspec.json.decode(data, type=list[msgspec.Raw]))
        except msgspec.MsgspecError as error:
            raise PayloadError(
                f"the arguments of {self.name} are not a JSON array: {error}",
                remedy="Pass the arguments by position, as [...].",
            ) from error

    def _decode(self, data: bytes, count: int) -> tuple[object, ...]:
        decoder = self._decoder_for(count)
        try:
            return cast("tuple[object, ...]", decoder.decode_plainly(data))
        except Exception as error:
            raise self._misfit(data, decoder, error) from error

    def _misfit(self, data: bytes, decoder: Decoder, error: Exception) -> PayloadError:
        """Name the one argument that does not fit."""
        try:
            items = msgspec.json.decode(data, type=list[msgspec.Raw])
            for i, item in enumerate(items):
                decoder_of(self._kind(i)).decode(bytes(item), what=self._what(i))
        except PayloadError as found:
            return found
        except msgspec.MsgspecError as broken:
            error = broken
        return misfit(f"the arguments of {self.name}", decoder.wanted, error)

    def _kind(self, i: int) -> object:
        return self._kinds[i] if i < len(self._kinds) else self._variadic_kind

    def _what(self, i: int) -> str:
        name = self.names[i] if i < len(self.names) else f"*{i + 1}"
        return f"{self.name}: argument {name}"

    def _decoder_for(self, count: int) -> Decoder:
        decoder = self._by_count.get(count)
        if decoder is None:
            kinds = tuple(self._kind(i) for i in range(count))
            for i, kind in enumerate(kinds):
                decoder_of(kind, what=self._what(i))
            shape: object = tuple[kinds] if kinds else tuple[()]  # type: ignore[valid-type]  # made at run time
            decoder = self._by_count[count] = Decoder(shape)
        return decoder


def _refuse_generators(fn: Callable[..., object], name: str) -> None:
    called: object = fn
    if not inspect.isroutine(fn) and not isinstance(fn, functools.partial | type):
        called = type(fn).__call__
    if inspect.isgeneratorfunction(called) or inspect.isasyncgenfunction(called):
        raise WorkflowError(
            f"{name} is a generator function: it yields, but a step has one result",
            remedy="Return a list, or make a step of each item.",
        )


def _refuse_needed_keywords(keywords: list[inspect.Parameter], name: str) -> None:
    for param in keywords:
        if param.default is param.empty and param.name != "result":
            raise WorkflowError(
                f"{name} needs the keyword argument {param.name!r}, but arguments travel by position only",
                remedy=f"Make {param.name!r} positional, or give it a default.",
            )


def _hints_of(fn: Callable[..., object]) -> dict[str, object]:
    """Annotations by parameter; those of what is inside for partials and wrappers, as ``inspect.signature`` does."""
    inner: object = inspect.unwrap(fn)
    while isinstance(inner, functools.partial):
        inner = inspect.unwrap(cast("functools.partial[object]", inner).func)
    if isinstance(inner, type):
        init: object = getattr(inner, "__init__")  # noqa: B009 - plain access is a type error, for good reason
        return {**typing.get_type_hints(inner, include_extras=True), **_hints(init), "return": inner}
    hints = _hints(inner if inspect.isroutine(inner) else type(inner).__call__)
    awaited = hints.get("return")
    if typing.get_origin(awaited) in (Awaitable, Coroutine) and not inspect.iscoroutinefunction(inner):
        hints["return"] = typing.get_args(awaited)[-1]  # a sync function that hands back a coroutine: it is awaited
    return hints


def _hints(target: object) -> dict[str, object]:
    return typing.get_type_hints(cast("Callable[..., object]", target), include_extras=True)


def name_of(fn: object) -> str:
    """What a callable is called in journals and messages: its qualified name without ``<locals>``."""
    while isinstance(fn, functools.partial):
        fn = cast("functools.partial[object]", fn).func
    qualname = getattr(fn, "__qualname__", None) or type(fn).__qualname__
    return str(qualname).rpartition("<locals>.")[2]
