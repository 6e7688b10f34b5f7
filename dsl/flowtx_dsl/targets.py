"""Targets: what a step can call, a Python function or a remote participant.

The law of this file: a target is a value that says whom to call and how arguments and results travel; it performs
nothing. Performing is the engine's.
"""

from __future__ import annotations

import inspect
from abc import ABC, abstractmethod
from collections.abc import Callable, Coroutine
from dataclasses import dataclass, field
from functools import cached_property, lru_cache
from types import FunctionType
from typing import Any, Generic, TypeVar, cast

import msgspec

from flowtx_dsl import codec
from flowtx_dsl.codec import Decoder, decoder_of
from flowtx_dsl.errors import PayloadError, WorkflowError
from flowtx_dsl.queues import shown_url
from flowtx_dsl.signatures import Signature

T = TypeVar("T")
T_co = TypeVar("T_co", covariant=True)


@dataclass(frozen=True)
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

    @cached_property
    def result(self) -> Decoder:
        """What reads its result; raises ``WorkflowError`` when no such result can be journaled."""
        return self.signature.result


@dataclass(frozen=True, slots=True, kw_only=True)
class RemoteTarget(ABC, Generic[T]):
    """A participant, whatever the transport: what DTM tells every one of them, and how its answer is read.

    ``branch_id`` is the step's address unless given; ``op`` is "action", or "compensate" for a compensation, unless
    given. An empty ``url`` is a success without a call (spec 3.1).
    """

    url: str
    headers: tuple[tuple[str, str], ...] = ()
    result_type: object = Any
    branch_id: str = ""
    op: str = ""
    trans_type: str = "workflow"

    @property
    def name(self) -> str:
        """What messages call it."""
        return self.url

    @property
    def result(self) -> Decoder:
        """What reads its result."""
        return decoder_of(self.result_type)

    @abstractmethod
    def call(self, args: tuple[object, ...]) -> Call:
        """The call with these arguments; raises ``PayloadError``."""


@dataclass(frozen=True, slots=True, kw_only=True)
class HttpTarget(RemoteTarget[T]):
    """An HTTP participant.

    No argument is an empty body, one is the body itself, several are an array; ``bytes`` travel as they are, everything
    else as JSON. With an empty body and no ``method`` the request is a GET, else a POST (spec 3.2). DTM's four query
    parameters are appended to the URL.
    """

    method: str = ""

    def call(self, args: tuple[object, ...]) -> Call:
        """The call with these arguments; raises ``PayloadError``."""
        if len(args) == 1 and isinstance(args[0], bytes):
            return _call_with_bytes(self, args[0])
        return _call_with_json(self, args)


@dataclass(frozen=True, slots=True, kw_only=True)
class GrpcTarget(RemoteTarget[T]):
    """A gRPC participant: one unary method, ``host:port/package.Service/Method`` (spec 3.4).

    No argument is an empty message, one is the message itself, several are a JSON array; ``bytes`` travel as they are,
    protobuf messages as they serialize themselves, everything else as JSON. DTM's facts travel as metadata.
    """

    def call(self, args: tuple[object, ...]) -> Call:
        """The call with these arguments; raises ``PayloadError``."""
        return _call_with_message(self, args)


@dataclass(frozen=True, slots=True, kw_only=True)
class JsonRpcTarget(RemoteTarget[T]):
    """A JSON-RPC 2.0 participant, posted to at ``url`` exactly as it is written (spec 3.3).

    The one argument is ``params``, a JSON object; no argument is an empty one. ``bytes`` are taken for JSON. DTM's
    facts are added to it: ``gid``, ``trans_type``, ``branch_id``, ``op``.
    """

    method: str

    def call(self, args: tuple[object, ...]) -> Call:
        """The call with these arguments; raises ``PayloadError`` for what is no JSON object."""
        if len(args) == 1 and isinstance(args[0], bytes):
            return _call_with_bytes(self, args[0])  # what they hold is known when it is sent
        call = _call_with_json(self, args)
        if len(args) > 1 or (args and not call.body.startswith((b"{", b"null"))):
            found = f"{len(args)} arguments" if len(args) > 1 else type(args[0]).__qualname__
            raise PayloadError(
                f"the arguments of {self.url}: JSON-RPC to a participant takes one JSON object, got {found}",
                remedy="Pass one dict, dataclass or model; its fields are the parameters by name.",
            )
        return call


@dataclass(frozen=True, slots=True, kw_only=True, repr=False)
class QueueTarget(RemoteTarget[T]):
    """A message queue, whose broker takes one message for each call and answers nothing.

    No argument is an empty message, one is the message itself, several are a JSON array; ``bytes`` travel as they are,
    protobuf messages as they serialize themselves, everything else as JSON. DTM's facts travel as headers.
    """

    @property
    def name(self) -> str:
        """What messages call it: the URL without the user and password in it."""
        return shown_url(self.url)

    def call(self, args: tuple[object, ...]) -> Call:
        """The call with these arguments; raises ``PayloadError``."""
        return _call_with_message(self, args)

    def __repr__(self) -> str:
        return f"<QueueTarget {self.name}>"


class OfWorkflow(Coroutine[Any, Any, T_co]):
    """What calling a workflow gives, for checkers only: by it they tell a workflow from any other async function.

    ``Callable[[Tx, *Ts], OfWorkflow[T]]`` is how words that take a workflow say so, because that, and no class of our
    own, lets both checkers leave out arguments that have a default.
    """


CHILD_GID_MAX = 128
"""The longest gid of a child, in characters: as of every transaction."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ChildTarget:
    """A transaction inside another one: a ``workflow``, begun under ``gid`` ("": its parent's gid and address).

    One that is detached is its own master: it is begun, and that is all.
    """

    workflow: Any
    gid: str = ""
    is_detached: bool = False

    @property
    def name(self) -> str:
        """What messages call it."""
        return f"{'detached' if self.is_detached else 'child'} {self.workflow.name}"

    def call(self, args: tuple[object, ...]) -> Call:
        """The call with these arguments; raises ``PayloadError`` or ``WorkflowError``."""
        if not isinstance(getattr(self.workflow, "signature", None), Signature):
            raise WorkflowError(
                f"tx.child and tx.detach take a workflow, got {self.workflow!r}",
                remedy="Declare it with @flowtx.workflow; call a function with tx.step(...).",
            )
        if len(self.gid) > CHILD_GID_MAX or "\0" in self.gid:
            raise WorkflowError(
                f"{self.name}: a gid has 1 to {CHILD_GID_MAX} characters, got {len(self.gid)}: {self.gid[:40]!r}...",
                remedy="Use a shorter gid; left out, it is made of this one's and the place.",
            )
        return Call(target=self, payload=self.workflow.signature.encode_args(args))

    @property
    def result(self) -> Decoder:
        """What reads its result; of a detached one, its gid."""
        return decoder_of(str) if self.is_detached else cast("Signature", self.workflow.signature).result


Target = FunctionTarget | HttpTarget[Any] | GrpcTarget[Any] | JsonRpcTarget[Any] | QueueTarget[Any] | ChildTarget


class Call(msgspec.Struct, frozen=True, kw_only=True):
    """One call of a target: its arguments as a JSON array, and for a remote one the request's body."""

    target: Target
    payload: bytes
    body: bytes = b""

    @property
    def name(self) -> str:
        """What messages and events call it."""
        return self.target.name


_Remote = HttpTarget[Any] | GrpcTarget[Any] | JsonRpcTarget[Any] | QueueTarget[Any]


def _call_with_message(target: GrpcTarget[Any] | QueueTarget[Any], args: tuple[object, ...]) -> Call:
    if len(args) == 1 and (message := _as_message(args[0], target.name)) is not None:
        return _call_with_bytes(target, message)
    return _call_with_json(target, args)


def _call_with_bytes(target: _Remote, body: bytes) -> Call:
    kept = body.decode(errors="backslashreplace")  # for people to read: the body itself is what is sent
    return Call(target=target, payload=codec.encode([kept], what=target.name), body=body)


def _call_with_json(target: _Remote, args: tuple[object, ...]) -> Call:
    if not args:
        return Call(target=target, payload=b"[]")
    what = f"the arguments of {target.name}"
    payload = codec.encode(args, what=what)
    return Call(target=target, payload=payload, body=codec.encode(args[0], what=what) if len(args) == 1 else payload)


def _as_message(value: object, url: str) -> bytes | None:
    """A value's bytes when it is some already, or a protobuf message, known by its method; else None."""
    if isinstance(value, bytes):
        return value
    serialize: object = getattr(type(value), "SerializeToString", None)
    if not callable(serialize):
        return None
    try:
        # Deterministic, because what a step was asked with is compared when it is replayed.
        serialized: object = serialize(value, deterministic=True)
    except Exception as error:  # protobuf's EncodeError: a required field is not set
        raise PayloadError(f"the {type(value).__qualname__} for {url} cannot be serialized: {error}") from error
    assert isinstance(serialized, bytes), serialized
    return serialized


def target_of(callee: Callable[..., object] | FunctionTarget | RemoteTarget[Any]) -> Target:
    """A function or a target as a target; raises ``WorkflowError`` for anything else."""
    if type(callee) is not FunctionType and isinstance(callee, RemoteTarget):
        return cast("Target", callee)
    try:
        return _function_target_of(callee)
    except TypeError:  # a callable object that cannot be hashed
        return _new_function_target(callee)


def step_target_of(callee: Callable[..., object] | FunctionTarget | RemoteTarget[Any]) -> Target:
    """``target_of``, for what is asked as a step; raises ``WorkflowError`` for what only a compensation can be."""
    if type(callee) is not FunctionType and isinstance(callee, RemoteTarget):  # which asks an ABC, and that is dear
        return cast("Target", callee)
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
