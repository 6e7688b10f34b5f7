"""Targets: what a step can call, a Python function or a remote participant.

The law of this file: a target is a value that says whom to call and how arguments and results travel; it performs
nothing. Performing is the engine's.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

import msgspec

from flowtx_dsl import codec
from flowtx_dsl.codec import Decoder, Signature, decoder_of, signature_of
from flowtx_dsl.errors import WorkflowError

T = TypeVar("T")


class FunctionTarget(msgspec.Struct, frozen=True):
    """A Python function: awaited on trio when it is async, run in a worker thread when it is not."""

    fn: Callable[..., object]

    @property
    def name(self) -> str:
        """What messages call it."""
        return signature_of(self.fn).name

    @property
    def signature(self) -> Signature:
        """How its arguments and result travel."""
        return signature_of(self.fn)

    def call(self, args: tuple[object, ...]) -> Call:
        """The call with these arguments; raises ``PayloadError`` or ``WorkflowError``."""
        return Call(target=self, payload=signature_of(self.fn).encode_args(args))

    @property
    def result(self) -> Decoder:
        """What reads its result."""
        return signature_of(self.fn).result


@dataclass(frozen=True, slots=True, kw_only=True)
class HttpTarget(Generic[T]):
    """An HTTP participant.

    One argument is the body itself, several (or none) are an array; ``bytes`` travel as they are, everything else as
    JSON. With an empty body and no ``method`` the request is a GET, else a POST (spec 3.2). DTM's four query parameters
    are appended to the URL; ``branch_id`` is the step's address unless given.
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


def http(
    url: str,
    *,
    method: str = "POST",
    headers: Mapping[str, str] | None = None,
    result: type[T] | None = None,
) -> HttpTarget[T]:
    """A step's target: the HTTP participant at ``url``.

    Arguments travel as JSON; the answer is read as JSON into ``result`` (left out: whatever it holds, None when it is
    empty). 200 is success, 409 or the word FAILURE in the body is a refusal, 425 or ONGOING means ask again, everything
    else is a fault and retried (spec 3.2). The step's idempotency key travels as the header ``Idempotency-Key``.
    Raises ``WorkflowError`` for a URL that is not http or https.
    """
    if not url.startswith(("http://", "https://")):
        raise WorkflowError(
            f"flowtx.http({url!r}): the URL has no scheme that can be called",
            remedy="Write it in full, for example http://127.0.0.1:8000/withdraw.",
        )
    return HttpTarget(
        url=url,
        method=method.upper(),
        headers=tuple((headers or {}).items()),
        result_type=Any if result is None else result,
    )


def target_of(callee: Callable[..., object] | Target) -> Target:
    """A function or a target as a target; raises ``WorkflowError`` for anything else."""
    if isinstance(callee, FunctionTarget | HttpTarget):
        return callee  # pyright: ignore[reportUnknownVariableType]  # isinstance cannot say HttpTarget[Any]
    if callable(callee):
        return FunctionTarget(callee)
    raise WorkflowError(
        f"a step calls a function or a target, got {callee!r}",
        remedy="Pass the function itself, without calling it: tx.step(withdraw, t), not tx.step(withdraw(t)).",
    )
