"""A function as a participant's endpoint, whatever the web framework (spec 3.2).

The law of this file: what a function does decides the answer, and nothing else: it returns (200), raises ``Refused``
(409), raises ``Ongoing`` (425), or breaks (500, asked again). A server also looks for the words FAILURE and ONGOING
anywhere in a body, so texts and values that happen to hold them are written with an escape that JSON reads as the same
letter.
"""

from __future__ import annotations

import inspect
import logging
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import TypeVar, cast

from flowtx.client.barrier import Barrier
from flowtx.client.errors import BarrierError
from flowtx_dsl.codec import Decoder, decoder_of, encode
from flowtx_dsl.errors import FlowtxError, Ongoing, PayloadError, Refused, WorkflowError
from flowtx_dsl.signatures import name_of

Handler = Callable[..., object]
ViewT = TypeVar("ViewT", bound=Callable[..., object])

METHODS = ("GET", "POST")
"""A server calls with POST where there is a payload, else with GET."""

log = logging.getLogger("flowtx.client")


@dataclass(frozen=True, slots=True, kw_only=True)
class BranchRequest:
    """A call as it came: the query of its URL (over gRPC: the dtm metadata), and its body."""

    query: Mapping[str, str]
    body: bytes = b""


@dataclass(frozen=True, slots=True, kw_only=True)
class Reply:
    """An answer; the body is JSON."""

    status: int
    body: bytes


class Participant:
    """A handler and what its parameters ask for.

    A parameter annotated ``Barrier`` is given the barrier of the call, one annotated ``BranchRequest`` all of it,
    keyword parameters are taken from the URL's path, and the one that is left is given the payload, read by its
    annotation; its default stands for an empty body. ``table`` is the barrier's.
    """

    def __init__(self, handler: Handler, *, table: str | None = None) -> None:
        """Raises ``WorkflowError`` for a handler that cannot be given what it asks for."""
        self.name = name_of(handler)
        self.is_async = inspect.iscoroutinefunction(handler)
        self._handler = handler
        self._table = table
        self._makers: list[Callable[[BranchRequest], object]] = []
        payloads: list[str] = []
        for parameter in _parameters(handler, self.name):
            if parameter.kind in (parameter.KEYWORD_ONLY, parameter.VAR_KEYWORD):
                continue  # from the URL's path
            if parameter.annotation is Barrier:
                self._makers.append(lambda request: Barrier.from_query(request.query, table=self._table))
            elif parameter.annotation is BranchRequest:
                self._makers.append(lambda request: request)
            else:
                payloads.append(parameter.name)
                self._makers.append(_payload_maker(parameter, f"the payload of {self.name}"))
        if len(payloads) > 1:
            raise WorkflowError(
                f"{self.name} takes {' and '.join(payloads)}, but a call has one payload",
                remedy="Put them into one dataclass; make what comes from the URL's path keyword-only, after a *.",
            )

    def call(self, request: BranchRequest, path: Mapping[str, object]) -> Reply:
        """Run a plain handler."""
        try:
            return _reply(self._handler(*self._arguments(request), **path))
        except Exception as error:
            return self._reply_to(error)

    async def call_async(self, request: BranchRequest, path: Mapping[str, object]) -> Reply:
        """Run an async handler."""
        try:
            return _reply(await cast("Awaitable[object]", self._handler(*self._arguments(request), **path)))
        except Exception as error:
            return self._reply_to(error)

    def require_plain(self, framework: str) -> None:
        """Raises ``WorkflowError`` for an async handler, where a framework has no loop for it."""
        if self.is_async:
            raise WorkflowError(
                f"{self.name} is async, expected a plain function: {framework} runs its views in threads"
            )

    def naming(self, view: ViewT) -> ViewT:
        """A view under the handler's name, by which frameworks tell views apart; not under its signature."""
        view.__name__ = self.name.rpartition(".")[2]
        view.__qualname__ = self.name
        view.__doc__ = self._handler.__doc__
        view.__module__ = self._handler.__module__
        return view

    def _arguments(self, request: BranchRequest) -> list[object]:
        try:
            return [make(request) for make in self._makers]
        except (BarrierError, PayloadError) as error:
            raise _Misunderstood(error.message) from error

    def _reply_to(self, error: Exception) -> Reply:
        match error:
            case Refused():
                return Reply(status=409, body=_said("FAILURE", error.message))
            case Ongoing():
                return Reply(status=425, body=_said("ONGOING", error.message))
            case _Misunderstood():
                log.warning("%s was called with what it cannot read: %s", self.name, error.message)
                return Reply(status=400, body=_said(None, error.message))
            case _:
                log.error("%s broke, and will be called again", self.name, exc_info=error)
                return Reply(status=500, body=_said(None, text_of(error)))


class _Misunderstood(FlowtxError):
    """A call that no handler should see."""


def text_of(error: BaseException) -> str:
    """An error in one line, for whoever reads the server's last error."""
    said = error.message if isinstance(error, FlowtxError) else str(error)
    return f"{type(error).__name__}: {said}" if said else type(error).__name__


def _parameters(handler: Handler, name: str) -> list[inspect.Parameter]:
    try:
        found = list(inspect.signature(handler, eval_str=True).parameters.values())
    except (ValueError, TypeError, NameError, AttributeError) as error:
        raise WorkflowError(
            f"the signature of {name} cannot be read: {error}",
            remedy="Let its annotations name what its module defines.",
        ) from error
    for parameter in found:
        if parameter.kind is parameter.VAR_POSITIONAL:
            raise WorkflowError(f"{name} takes *{parameter.name}, but a call has one payload")
    return found


def _payload_maker(parameter: inspect.Parameter, what: str) -> Callable[[BranchRequest], object]:
    decoder: Decoder = decoder_of(parameter.annotation, what=what)

    def make(request: BranchRequest) -> object:
        if not request.body and parameter.default is not parameter.empty:
            return parameter.default
        value: object = decoder.decode(request.body, what=what)
        return value

    return make


def _reply(value: object) -> Reply:
    if value is None:
        return Reply(status=200, body=b'{"dtm_result":"SUCCESS"}')
    return Reply(status=200, body=disarm(encode(value, what="the answer")))


def _said(result: str | None, message: str) -> bytes:
    escaped = disarm(encode(message, what="the message"))
    head = f'"dtm_result":"{result}",'.encode() if result else b""
    return b"{" + head + b'"message":' + escaped + b"}"


def disarm(text: bytes) -> bytes:
    """JSON that reads the same and holds neither FAILURE nor ONGOING; both can only stand inside its strings."""
    return text.replace(b"FAILURE", b"FAILUR\\u0045").replace(b"ONGOING", b"ONGOIN\\u0047")
