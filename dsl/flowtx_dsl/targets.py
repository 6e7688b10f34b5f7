"""Targets: what a step can call, a Python function or a remote participant.

The law of this file: a target is a value that says whom to call and how arguments and results travel; it performs
nothing. Performing is the engine's.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any, Generic, TypeVar, overload

import msgspec

from flowtx_dsl import codec
from flowtx_dsl.codec import Decoder, decoder_of, readable_decoder_of
from flowtx_dsl.errors import WorkflowError
from flowtx_dsl.signatures import Signature

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class FunctionTarget:
    """A Python function: awaited on trio when it is async, run in a worker thread when it is not.

    ``name`` is what messages call it, ``signature`` how its arguments and result travel. Raises ``WorkflowError`` for
    what cannot be called as a step.
    """

    fn: Callable[..., object]
    signature: Signature = field(init=False, repr=False, compare=False)
    name: str = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        signature = Signature(self.fn)
        object.__setattr__(self, "signature", signature)
        object.__setattr__(self, "name", signature.name)

    def call(self, args: tuple[object, ...]) -> Call:
        """The call with these arguments; raises ``PayloadError`` or ``WorkflowError``."""
        return Call(target=self, payload=self.signature.encode_args(args))

    @property
    def result(self) -> Decoder:
        """What reads its result; raises ``WorkflowError`` when no such result can be journaled."""
        return self.signature.result


@dataclass(frozen=True, slots=True, kw_only=True)
class HttpTarget(Generic[T]):
    """An HTTP participant.

    No argument is an empty body, one is the body itself, several are an array; ``bytes`` travel as they are, everything
    else as JSON. With an empty body and no ``method`` the request is a GET, else a POST (spec 3.2). DTM's four query
    parameters are appended to the URL; ``branch_id`` is the step's address unless given.
    """

    url: str
    method: str = ""
    headers: tuple[tuple[str, str], ...] = ()
    result_type: object = Any
    branch_id: str = ""
    trans_type: str = "workflow"

    @property
    def name(self) -> str:
        """What messages call it."""
        return self.url

    def call(self, args: tuple[object, ...]) -> Call:
        """The call with these arguments; raises ``PayloadError``."""
        if not args:
            return Call(target=self, payload=b"[]")
        if len(args) == 1 and isinstance(args[0], bytes):
            kept = args[0].decode(errors="backslashreplace")  # for people to read: the body itself is what is sent
            return Call(target=self, payload=codec.encode([kept], what=self.url), body=args[0])
        what = f"the arguments of {self.url}"
        payload = codec.encode(args, what=what)
        return Call(target=self, payload=payload, body=codec.encode(args[0], what=what) if len(args) == 1 else payload)

    @property
    def result(self) -> Decoder:
        """What reads its result."""
        return decoder_of(self.result_type)


Target = FunctionTarget | HttpTarget[Any]


class Call(msgspec.Struct, frozen=True, kw_only=True):
    """One call of a target: its arguments as a JSON array, and for a remote one the request's body."""

    target: Target
    payload: bytes
    body: bytes = b""

    @property
    def name(self) -> str:
        """What messages and events call it."""
        return self.target.name


@overload
def http(
    url: str, *, method: str = "POST", headers: Mapping[str, str] | None = None, result: type[T]
) -> HttpTarget[T]: ...
@overload
def http(
    url: str, *, method: str = "POST", headers: Mapping[str, str] | None = None, result: None = None
) -> HttpTarget[Any]: ...
def http(
    url: str,
    *,
    method: str = "POST",
    headers: Mapping[str, str] | None = None,
    result: type[T] | None = None,
) -> HttpTarget[Any]:
    """A step's target: the HTTP participant at ``url``.

    Arguments travel as JSON; the answer is read as JSON into ``result`` (left out: whatever it holds, None when it is
    empty). 200 is success, 409 or the word FAILURE in the body is a refusal, 425 or ONGOING means ask again, everything
    else is a fault and retried (spec 3.2). The step's idempotency key travels as the header ``Idempotency-Key``.
    Raises ``WorkflowError`` for a URL that is not http or https, and for a ``result`` that no JSON can be read into.
    """
    if not url.startswith(("http://", "https://")):
        raise WorkflowError(
            f"flowtx.http({url!r}): the URL has no scheme that can be called",
            remedy="Write it in full, for example http://127.0.0.1:8000/withdraw.",
        )
    result_type: object = Any if result is None else result
    readable_decoder_of(result_type, f"flowtx.http({url!r}): its result")
    return HttpTarget(
        url=url,
        method=method.upper(),
        headers=tuple((headers or {}).items()),
        result_type=result_type,
    )


def target_of(callee: Callable[..., object] | Target) -> Target:
    """A function or a target as a target; raises ``WorkflowError`` for anything else."""
    if isinstance(callee, HttpTarget):
        return callee  # pyright: ignore[reportUnknownVariableType]  # isinstance cannot say HttpTarget[Any]
    try:
        return _function_target_of(callee)
    except TypeError:  # a callable object that cannot be hashed
        return _new_function_target(callee)


def step_target_of(callee: Callable[..., object] | Target) -> Target:
    """``target_of``, for what is asked as a step; raises ``WorkflowError`` for what only a compensation can be."""
    if isinstance(callee, HttpTarget):
        return callee  # pyright: ignore[reportUnknownVariableType]  # isinstance cannot say HttpTarget[Any]
    try:
        return _step_function_target_of(callee)
    except TypeError:  # a callable object that cannot be hashed
        return _new_step_function_target(callee)


def _new_function_target(callee: object) -> FunctionTarget:
    if isinstance(callee, FunctionTarget):
        return callee
    if callable(callee):
        return FunctionTarget(callee)
    if inspect.iscoroutine(callee):
        callee.close()  # it was never going to be awaited, and this error says why
    raise WorkflowError(
        f"a step calls a function or a target, got {callee!r}",
        remedy="Pass the function itself, without calling it: tx.step(withdraw, t), not tx.step(withdraw(t)).",
    )


def _new_step_function_target(callee: object) -> FunctionTarget:
    target = _new_function_target(callee)
    if target.signature.needs_result:
        raise WorkflowError(
            f"{target.name} needs result=, which only a compensation is given",
            remedy="Pass it as compensate=, or give result a default.",
        )
    target.result  # noqa: B018 - a result that cannot be journaled is refused now, not when the step has happened
    return target


_function_target_of = lru_cache(maxsize=4096)(_new_function_target)
_step_function_target_of = lru_cache(maxsize=4096)(_new_step_function_target)
