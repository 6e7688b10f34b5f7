"""A DTM server over JSON-RPC (spec 2.6).

The law of this file: five operations are all that DTM's JSON-RPC has; for the rest the same server is asked over HTTP.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import msgspec

from flowtx.client.answers import FoundTransaction, Prepared, answer_error, check_status, unreadable
from flowtx.client.errors import ServerError, ServerOngoing, ServerRefused
from flowtx.client.exchanges import ClientRequest, Exchange, ask
from flowtx.client.wire import JSON_RPC_PATH, Fields, MissingOperation
from flowtx.client.wire_http import http_address, with_data, with_payloads

REFUSED = -32901


class _Error(msgspec.Struct, frozen=True):
    code: int
    message: str = ""


class _Answer(msgspec.Struct, frozen=True):
    error: _Error | None = None
    result: object = None


_read = msgspec.json.Decoder(_Answer).decode


class JsonRpcWire:
    """A ``Wire`` over JSON-RPC. ``url`` is like ``http://localhost:36789/api/json-rpc``."""

    protocol = "json-rpc"

    def __init__(self, url: str, *, timeout_s: float) -> None:
        self.address = http_address(url, JSON_RPC_PATH)
        self._timeout_s = timeout_s

    def new_gid(self) -> Exchange[str]:
        """See ``Wire``."""
        request = self._request("newGid", {})
        result = yield from self._ask(request)
        match result:
            case {"gid": str(gid)} if gid:
                return gid
            case _:
                raise ServerError(
                    f"newGid at {self.address} was answered with {str(result)[:100]}, expected a gid",
                    status=200,
                    body=str(result),
                )

    def write(
        self,
        operation: str,
        fields: Fields,
        payloads: Sequence[bytes] = (),
        *,
        timeout_s: float | None = None,
        is_last_word: bool = False,
    ) -> Exchange[None]:
        """See ``Wire``."""
        params = {**with_payloads(fields, payloads), "protocol": self.protocol}
        yield from self._ask(self._request(operation, params, timeout_s=timeout_s, is_last_word=is_last_word))

    def register(self, fields: Mapping[str, str], data: bytes) -> Exchange[None]:
        """See ``Wire``."""
        yield from self._ask(self._request("registerBranch", with_data(fields, data)))

    def prepare_workflow(self, fields: Fields) -> Exchange[Prepared]:
        """Raises ``MissingOperation``."""
        raise MissingOperation("prepareWorkflow", "JSON-RPC")

    def query(self, gid: str) -> Exchange[FoundTransaction | None]:
        """Raises ``MissingOperation``."""
        raise MissingOperation("query", "JSON-RPC")

    def force_stop(self, gid: str) -> Exchange[None]:
        """Raises ``MissingOperation``."""
        raise MissingOperation("forceStop", "JSON-RPC")

    def subscribe(self, topic: str, url: str, remark: str) -> Exchange[None]:
        """Raises ``MissingOperation``."""
        raise MissingOperation("subscribe", "JSON-RPC")

    def unsubscribe(self, topic: str, url: str) -> Exchange[None]:
        """Raises ``MissingOperation``."""
        raise MissingOperation("unsubscribe", "JSON-RPC")

    def delete_topic(self, topic: str) -> Exchange[None]:
        """Raises ``MissingOperation``."""
        raise MissingOperation("deleteTopic", "JSON-RPC")

    def _request(
        self, method: str, params: Fields, *, timeout_s: float | None = None, is_last_word: bool = False
    ) -> ClientRequest:
        return ClientRequest(
            method="POST",
            url=self.address,
            body=msgspec.json.encode({"jsonrpc": "2.0", "id": "flowtx", "method": method, "params": params}),
            timeout_s=self._timeout_s if timeout_s is None else timeout_s,
            is_last_word=is_last_word,
        )

    def _ask(self, request: ClientRequest) -> Exchange[object]:
        answer = yield from ask(request)
        check_status(request, answer)
        try:
            said = _read(answer.body)
        except (msgspec.MsgspecError, UnicodeDecodeError) as error:
            raise unreadable(request, answer, str(error)) from error
        if said.error is None:
            return said.result
        if said.error.code == REFUSED:
            raise answer_error(ServerRefused, request, answer)
        # A waited-for transaction that goes on has no code of its own: -32603 is also what breaks (spec 2.6).
        if said.error.message == "ONGOING":
            raise answer_error(ServerOngoing, request, answer)
        raise answer_error(ServerError, request, answer)
