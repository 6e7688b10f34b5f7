"""A DTM server over HTTP (spec 2.2 to 2.5).

The law of this file: only 200 is success, and for a write only without the word FAILURE, as every DTM client judges.
Payloads stand in JSON texts here, so they are texts.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from urllib.parse import quote, urlencode, urlsplit

import msgspec

from flowtx.client.answers import FoundTransaction, Prepared, check_success, read_found, read_gid, read_prepared
from flowtx.client.errors import ClientError
from flowtx.client.exchanges import ClientRequest, Exchange, ask
from flowtx.client.wire import Fields

API_PATH = "/api/dtmsvr"


class HttpWire:
    """A ``Wire`` over HTTP. ``url`` is the server's, or the base address that other DTM clients are given."""

    protocol = "http"

    def __init__(self, url: str, *, timeout_s: float) -> None:
        self.address = http_address(url, API_PATH)
        self._timeout_s = timeout_s

    def new_gid(self) -> Exchange[str]:
        """See ``Wire``."""
        request = self._get("newGid")
        return read_gid(request, (yield from ask(request)))

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
        yield from self._act(
            self._post(operation, with_payloads(fields, payloads), timeout_s=timeout_s, is_last_word=is_last_word)
        )

    def register(self, fields: Mapping[str, str], data: bytes) -> Exchange[None]:
        """See ``Wire``."""
        yield from self._act(self._post("registerBranch", with_data(fields, data)))

    def prepare_workflow(self, fields: Fields) -> Exchange[Prepared]:
        """See ``Wire``."""
        request = self._post("prepareWorkflow", fields)
        return read_prepared(request, (yield from ask(request)))

    def query(self, gid: str) -> Exchange[FoundTransaction | None]:
        """See ``Wire``."""
        request = self._get("query", gid=gid)
        return read_found(request, (yield from ask(request)))

    def force_stop(self, gid: str) -> Exchange[None]:
        """See ``Wire``."""
        yield from self._act(self._post("forceStop", {"gid": gid}))

    def subscribe(self, topic: str, url: str, remark: str) -> Exchange[None]:
        """See ``Wire``."""
        yield from self._act(self._get("subscribe", topic=topic, url=url, remark=remark))

    def unsubscribe(self, topic: str, url: str) -> Exchange[None]:
        """See ``Wire``."""
        yield from self._act(self._get("unsubscribe", topic=topic, url=url))

    def delete_topic(self, topic: str) -> Exchange[None]:
        """See ``Wire``."""
        url = f"{self.address}/topic/{quote(topic, safe='')}"
        yield from self._act(ClientRequest(method="DELETE", url=url, timeout_s=self._timeout_s))

    def _get(self, operation: str, **parameters: str) -> ClientRequest:
        query = f"?{urlencode(parameters, quote_via=quote, safe='')}" if parameters else ""
        return ClientRequest(method="GET", url=f"{self.address}/{operation}{query}", timeout_s=self._timeout_s)

    def _post(
        self, operation: str, body: Fields, *, timeout_s: float | None = None, is_last_word: bool = False
    ) -> ClientRequest:
        return ClientRequest(
            method="POST",
            url=f"{self.address}/{operation}",
            body=msgspec.json.encode(body),
            timeout_s=self._timeout_s if timeout_s is None else timeout_s,
            is_last_word=is_last_word,
        )

    def _act(self, request: ClientRequest) -> Exchange[None]:
        check_success(request, (yield from ask(request)))


def with_payloads(fields: Fields, payloads: Sequence[bytes]) -> Fields:
    """The fields of a transaction with its payloads, as JSON has them."""
    return {**fields, "payloads": [each.decode() for each in payloads]} if payloads else fields


def with_data(fields: Mapping[str, str], data: bytes) -> Mapping[str, str]:
    """The fields of a branch with its data, as JSON has it."""
    return {**fields, "data": data.decode()} if data else fields


def http_address(url: str, path: str) -> str:
    """A server's address, with ``path`` where it has none; raises ``ClientError``."""
    plain = url.rstrip("/")
    try:
        parts = urlsplit(plain)
        is_address = parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
    except ValueError:  # a port that is no number, brackets that do not close
        raise no_address(url) from None
    if not is_address or parts.query or parts.fragment:
        raise no_address(url)
    return plain if parts.path else plain + path


def no_address(url: str) -> ClientError:
    """The error for what is no server's address."""
    return ClientError(
        f"the server's address is {url!r}, expected one like http://localhost:36789",
        remedy="Give scheme, host and port: http://host:36789, http://host:36789/api/json-rpc or grpc://host:36790.",
    )
