"""Remote participants: the words that name them, and DTM's rule for the transport a URL is called over.

The law of this file: it makes targets and calls nobody. What can never be called is refused here, where it is written;
what DTM's clients order is taken as it comes, because DTM tries such a call and says what is wrong with it.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, TypeVar, overload
from urllib.parse import parse_qs, urlsplit

from flowtx_dsl.codec import readable_decoder_of
from flowtx_dsl.errors import WorkflowError
from flowtx_dsl.queues import is_queue, parse_queue_url
from flowtx_dsl.targets import GrpcTarget, HttpTarget, JsonRpcTarget, QueueTarget

if TYPE_CHECKING:
    from typing_extensions import TypeForm  # what checkers know by themselves; nothing imports it

T = TypeVar("T")

Headers = Mapping[str, str]
ParticipantTarget = HttpTarget[None] | GrpcTarget[None] | JsonRpcTarget[None] | QueueTarget[None]


@overload
def http(url: str, *, method: str = "POST", headers: Headers | None = None, result: TypeForm[T]) -> HttpTarget[T]: ...
@overload
def http(url: str, *, method: str = "POST", headers: Headers | None = None, result: None = None) -> HttpTarget[Any]: ...
def http(
    url: str, *, method: str = "POST", headers: Headers | None = None, result: TypeForm[T] | None = None
) -> HttpTarget[Any]:
    """A step's target: the HTTP participant at ``url``.

    Arguments travel as JSON; the answer is read as JSON into ``result`` (left out: whatever it holds, None when it is
    empty). 200 is success, 409 or the word FAILURE in the body is a refusal, 425 or ONGOING means ask again, everything
    else is a fault and retried (spec 3.2). The step's idempotency key travels as the header ``Idempotency-Key``.
    Raises ``WorkflowError`` for a URL that is not http or https, and for a ``result`` that no JSON can be read into.
    """
    what = f"flowtx.http({url!r})"
    _check_http(url, what)
    return HttpTarget(
        url=url,
        method=method.upper(),
        headers=_pairs(headers),
        result_type=_readable(Any, result, f"{what}: its result"),
    )


@overload
def grpc(url: str, *, headers: Headers | None = None, result: TypeForm[T]) -> GrpcTarget[T]: ...
@overload
def grpc(url: str, *, headers: Headers | None = None, result: None = None) -> GrpcTarget[bytes]: ...
def grpc(url: str, *, headers: Headers | None = None, result: TypeForm[T] | None = None) -> GrpcTarget[Any]:
    """A step's target: the unary gRPC method at ``url``, written ``host:port/package.Service/Method``.

    A protobuf message or ``bytes`` are the request as they are, everything else travels as JSON. The reply is handed
    back as bytes; with ``result`` it is read into that type: a message class by its ``FromString``, all else from JSON.
    OK is success, ABORTED a refusal, FAILED_PRECONDITION means ask again, every other status is a fault and retried
    (spec 3.4). ``headers`` and the step's idempotency key (``idempotency-key``) travel as metadata.
    Raises ``WorkflowError`` for a URL of another form, and for a ``result`` that cannot be journaled.
    """
    what = f"flowtx.grpc({url!r})"
    host, slash, method = url.partition("/")
    if "://" in url or not host or not slash or "/" not in method.strip("/"):
        raise WorkflowError(
            f"{what}: this is no method that can be called",
            remedy="Write host, port, service and method, without a scheme, for example hotel:50051/hotel.Hotel/Book.",
        )
    result_type = _readable(bytes, result, f"{what}: its result")
    return GrpcTarget(url=url, headers=_pairs(headers), result_type=result_type)


@overload
def json_rpc(url: str, *, method: str, headers: Headers | None = None, result: TypeForm[T]) -> JsonRpcTarget[T]: ...
@overload
def json_rpc(url: str, *, method: str, headers: Headers | None = None, result: None = None) -> JsonRpcTarget[Any]: ...
def json_rpc(
    url: str, *, method: str, headers: Headers | None = None, result: TypeForm[T] | None = None
) -> JsonRpcTarget[Any]:
    """A step's target: ``method`` of the JSON-RPC 2.0 participant at ``url``.

    The step's one argument is ``params``: a dict, dataclass or model, to which ``gid``, ``trans_type``, ``branch_id``
    and ``op`` are added. The answer's ``result`` is read into ``result`` (left out: whatever it holds). An error with
    the code -32901 is a refusal, with -32902 it means ask again, any other is a fault and retried (spec 3.3, 12.5).
    Raises ``WorkflowError`` for a URL that is not http or https, and for a ``result`` that no JSON can be read into.
    """
    what = f"flowtx.json_rpc({url!r})"
    _check_http(url, what)
    if not method:
        raise WorkflowError(f"{what}: the method is empty", remedy='Name it: flowtx.json_rpc(url, method="book").')
    result_type = _readable(Any, result, f"{what}: its result")
    return JsonRpcTarget(url=url, method=method, headers=_pairs(headers), result_type=result_type)


def queue(url: str, *, headers: Headers | None = None) -> QueueTarget[None]:
    """A step's target: a message queue.

    ``amqp://host/vhost/exchange/routing-key``, ``nats://host/subject`` or ``redis://host/0/stream-key``; each may name
    user, password and port, and has a scheme for TLS: ``amqps``, ``nats+tls``, ``rediss``.

    A protobuf message or ``bytes`` are the message as they are, everything else travels as JSON. The step has succeeded
    when the broker has taken the message, durably as it means that, and its result is None; all else is a fault and
    retried, so a message may arrive twice, with the same id: the step's idempotency key. ``headers`` travel with it.
    Raises ``WorkflowError`` for a URL of another form.
    """
    parse_queue_url(url)
    return QueueTarget(url=url, headers=_pairs(headers), result_type=None)


def _check_http(url: str, what: str) -> None:
    if not url.startswith(("http://", "https://")):
        raise WorkflowError(
            f"{what}: the URL has no scheme that can be called",
            remedy="Write it in full, for example http://127.0.0.1:8000/withdraw.",
        )


def _pairs(headers: Headers | None) -> tuple[tuple[str, str], ...]:
    return tuple((headers or {}).items())


def _readable(default: object, result: TypeForm[T] | None, what: str) -> object:
    result_type: object = default if result is None else result
    readable_decoder_of(result_type, what)
    return result_type


# -- DTM's participants


def participant_target(
    protocol: str,
    url: str,
    *,
    trans_type: str,
    branch_id: str,
    op: str = "",
    headers: tuple[tuple[str, str], ...] = (),
) -> ParticipantTarget:
    """The target that DTM calls for a branch, by its rule of transports (spec 3.1); nobody reads what it answers.

    URLs of queues, which DTM cannot call, come before that rule, whatever the protocol.
    ``protocol`` is the transaction's: "http" (or empty), "grpc", "json-rpc". ``op`` is what the participant is asked;
    left out, it is "action", or "compensate" for a compensation.
    """
    if is_queue(url):
        return QueueTarget(
            url=url, headers=headers, result_type=None, branch_id=branch_id, op=op, trans_type=trans_type
        )
    is_http = protocol in ("", "http") or url.startswith(("http://", "https://"))
    if url and not is_http:
        return GrpcTarget(url=url, headers=headers, result_type=None, branch_id=branch_id, op=op, trans_type=trans_type)
    if protocol == "json-rpc" and "method" in url:
        return JsonRpcTarget(
            url=url,
            method=_method_in(url),
            headers=headers,
            result_type=None,
            branch_id=branch_id,
            op=op,
            trans_type=trans_type,
        )
    return HttpTarget(
        url=url,
        # DTM posts an empty body to participants of xa only; an empty payload is a GET to all others (spec 3.2).
        method="POST" if trans_type == "xa" else "",
        headers=headers,
        result_type=None,
        branch_id=branch_id,
        op=op,
        trans_type=trans_type,
    )


def _method_in(url: str) -> str:
    """The value of the query parameter ``method``; empty when the word stands elsewhere, as DTM has it."""
    try:
        query = urlsplit(url).query
    except ValueError:  # brackets that hold no IPv6 address: the call itself says what is wrong
        return ""
    return parse_qs(query, keep_blank_values=True).get("method", [""])[0]


def workflow_callback_body(protocol: str, data: bytes) -> bytes:
    """What a DTM workflow's callback is sent: its data, over gRPC in a ``workflow.WorkflowData`` message (spec 3.6)."""
    if protocol != "grpc" or not data:
        return data
    # Field 1, its type "length and bytes", then the length, seven bits a byte, the least significant first.
    header = bytearray(b"\x0a")
    rest = len(data)
    while rest > 0x7F:
        header.append(rest & 0x7F | 0x80)
        rest >>= 7
    header.append(rest)
    return bytes(header) + data
