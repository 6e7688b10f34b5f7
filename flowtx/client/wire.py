"""What a DTM server can be asked, whatever protocol it is asked in; and which protocol an address stands for.

The law of this file: a wire is thin. It says one operation in its protocol and judges the answer; what the operations
are for, and what is said to participants, is the same over all.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Protocol

from flowtx.client.answers import FoundTransaction, Prepared
from flowtx.client.errors import ClientError
from flowtx.client.exchanges import GRPC, Exchange

JSON_RPC_PATH = "/api/json-rpc"

Fields = Mapping[str, object]
"""A request's fields, under the names of DTM's HTTP API (spec 2.3); its payloads travel beside them."""


class Wire(Protocol):
    """One server, and the protocol it is asked in. Every method raises ``ClientError`` for what was not success.

    ``address`` is what participants are told of the server, ``protocol`` what its transactions are stored with.
    """

    address: str
    protocol: str

    def new_gid(self) -> Exchange[str]:
        """A gid that nobody has."""
        ...

    def write(
        self,
        operation: str,
        fields: Fields,
        payloads: Sequence[bytes] = (),
        *,
        timeout_s: float | None = None,
        is_last_word: bool = False,
    ) -> Exchange[None]:
        """Prepare, submit or abort a transaction."""
        ...

    def register(self, fields: Mapping[str, str], data: bytes) -> Exchange[None]:
        """Let the server know of a branch, whose payload or result is ``data``."""
        ...

    def prepare_workflow(self, fields: Fields) -> Exchange[Prepared]:
        """Begin a workflow, or learn how far it is."""
        ...

    def query(self, gid: str) -> Exchange[FoundTransaction | None]:
        """What the server has under a gid."""
        ...

    def force_stop(self, gid: str) -> Exchange[None]:
        """End a transaction as failed."""
        ...

    def subscribe(self, topic: str, url: str, remark: str) -> Exchange[None]:
        """Let a topic's messages reach a URL."""
        ...

    def unsubscribe(self, topic: str, url: str) -> Exchange[None]:
        """Let a topic's messages not reach a URL any more."""
        ...

    def delete_topic(self, topic: str) -> Exchange[None]:
        """Forget a topic."""
        ...


class MissingOperation(ClientError):
    """The protocol that the server is asked in has no such operation."""

    def __init__(self, operation: str, protocol: str) -> None:
        super().__init__(
            f"DTM's {protocol} API has no {operation}",
            remedy="Ask the same server over HTTP: DtmClient('http://host:36789').",
        )


def wire_of(url: str, *, timeout_s: float) -> Wire:
    """The way to a server; raises ``ClientError`` for an address that is none.

    ``http://host:36789`` is asked over HTTP, ``http://host:36789/api/json-rpc`` over JSON-RPC, and
    ``grpc://host:36790`` over gRPC.
    """
    # Each is loaded when it is asked for: protobuf is heavy, and few need two.
    if url.startswith(GRPC):
        from flowtx.client.wire_grpc import GrpcWire  # noqa: PLC0415 - as said

        return GrpcWire(url, timeout_s=timeout_s)
    from flowtx.client.wire_http import HttpWire  # noqa: PLC0415 - as said

    if url.rstrip("/").endswith(JSON_RPC_PATH):
        from flowtx.client.wire_json_rpc import JsonRpcWire  # noqa: PLC0415 - as said

        return JsonRpcWire(url, timeout_s=timeout_s)
    return HttpWire(url, timeout_s=timeout_s)
