"""The operations of a DTM server, each an exchange (spec 2.4, 10).

The law of this file: nothing is repeated here and nothing is guessed; whether to repeat is the caller's decision.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TypeVar
from urllib.parse import quote, urlencode, urlsplit

import msgspec

from flowtx.client.answers import FoundTransaction, check_success, read_found, read_gid
from flowtx.client.barrier import Barrier
from flowtx.client.branch_calls import BranchCall, call_branch
from flowtx.client.errors import ClientError
from flowtx.client.exchanges import ClientRequest, Exchange, ask, perform
from flowtx.client.message import Message, message_body, prepare_body
from flowtx.client.options import Options
from flowtx.client.saga import Saga, saga_body
from flowtx_dsl.errors import Ongoing, Refused

T = TypeVar("T")

API_PATH = "/api/dtmsvr"
LAST_WORD_S = 5.0
"""How long a request may take that is sent because of an error: the error, perhaps a cancellation, waits for it."""


class Operations:
    """The operations of one server.

    ``url`` is the server's (``http://localhost:36789``), or the base address that other DTM clients are given, which
    ends in ``/api/dtmsvr``. Raises ``ClientError`` for anything else.
    """

    def __init__(self, url: str, *, timeout_s: float) -> None:
        self.base = _base(url)
        self.timeout_s = timeout_s

    def new_gid(self) -> Exchange[str]:
        """A gid that nobody has."""
        request = self.get("newGid")
        return read_gid(request, (yield from ask(request)))

    def query(self, gid: str) -> Exchange[FoundTransaction | None]:
        """What the server has under a gid; None where it has nothing."""
        request = self.get("query", gid=gid)
        return read_found(request, (yield from ask(request)))

    def force_stop(self, gid: str) -> Exchange[None]:
        """End a transaction as failed; nothing is called."""
        yield from self.post("forceStop", msgspec.json.encode({"gid": gid}))

    def submit(self, transaction: Saga | Message) -> Exchange[None]:
        """Hand a saga, or a message, over."""
        body = saga_body(transaction) if isinstance(transaction, Saga) else message_body(transaction)
        yield from self.post("submit", body, timeout_s=self.submit_timeout_s(transaction.options))

    def prepare(self, message: Message) -> Exchange[None]:
        """Let the server know of a message that may be submitted."""
        yield from self.post("prepare", prepare_body(message))

    def abort(self, message: Message) -> Exchange[None]:
        """Take a prepared message back."""
        yield from self.post("abort", _abort_body(message))

    def do_and_submit(self, message: Message, business: Callable[[Barrier], T], table: str | None) -> Exchange[object]:
        """Prepare, run the business, and submit or abort by what became of it (spec 10)."""
        yield from self.prepare(message)
        barrier = message.barrier(table=table)
        try:
            value = yield from perform(lambda: business(barrier))
        except BaseException as error:
            yield from self._settle(message, error)
            raise
        yield from self.submit(message)
        return value

    def _settle(self, message: Message, error: BaseException) -> Exchange[None]:
        """Bring a message to its end whose business raised; what cannot be told now, the server will ask itself."""
        try:
            if not isinstance(error, Refused) and (yield from self._was_committed(message)):
                yield from self.post("submit", message_body(message), is_last_word=True)
            else:
                yield from self.post("abort", _abort_body(message), is_last_word=True)
        except (ClientError, Ongoing) as also:
            error.add_note(
                f"what becomes of message {message.gid} is left to the server, which will ask its query_prepared: "
                f"{also.message}"
            )

    def _was_committed(self, message: Message) -> Exchange[bool]:
        try:
            yield from call_branch(
                BranchCall(
                    url=message.query_prepared,
                    gid=message.gid,
                    trans_type="msg",
                    branch_id="00",
                    op="msg",
                    headers=tuple(message.options.branch_headers.items()),
                    timeout_s=min(self.timeout_s, LAST_WORD_S),
                    is_last_word=True,
                )
            )
        except Refused:
            return False
        return True

    def register_xa(self, query: Mapping[str, str], phase2_url: str) -> Exchange[None]:
        """Let the server know which URL commits or rolls back a branch of an xa transaction."""
        fields = {name: query[name] for name in ("gid", "branch_id")}
        body = {**fields, "trans_type": "xa", "url": phase2_url}
        yield from self.post("registerBranch", msgspec.json.encode(body))

    def subscribe(self, topic: str, url: str, remark: str) -> Exchange[None]:
        """Let a topic's messages reach a URL."""
        yield from self._act(self.get("subscribe", topic=topic, url=url, remark=remark))

    def unsubscribe(self, topic: str, url: str) -> Exchange[None]:
        """Let a topic's messages not reach a URL any more."""
        yield from self._act(self.get("unsubscribe", topic=topic, url=url))

    def delete_topic(self, topic: str) -> Exchange[None]:
        """Forget a topic and its subscribers."""
        url = f"{self.base}/topic/{quote(topic, safe='')}"
        yield from self._act(ClientRequest(method="DELETE", url=url, timeout_s=self.timeout_s))

    def submit_timeout_s(self, options: Options) -> float:
        """How long a submit may keep silent: a waiting one is answered when the calls are done."""
        asked_s = options.request_timeout_s or 0
        return max(self.timeout_s, asked_s) if options.wait_result else self.timeout_s

    def get(self, operation: str, **parameters: str) -> ClientRequest:
        """A request that reads, or that DTM's API makes a GET."""
        query = f"?{urlencode(parameters, quote_via=quote, safe='')}" if parameters else ""
        return ClientRequest(method="GET", url=f"{self.base}/{operation}{query}", timeout_s=self.timeout_s)

    def post(
        self, operation: str, body: bytes, *, timeout_s: float | None = None, is_last_word: bool = False
    ) -> Exchange[None]:
        """A write."""
        limit_s = self.timeout_s if timeout_s is None else timeout_s
        yield from self._act(
            ClientRequest(
                method="POST",
                url=f"{self.base}/{operation}",
                body=body,
                timeout_s=min(limit_s, LAST_WORD_S) if is_last_word else limit_s,
                is_last_word=is_last_word,
            )
        )

    def _act(self, request: ClientRequest) -> Exchange[None]:
        check_success(request, (yield from ask(request)))


def _abort_body(message: Message) -> bytes:
    return msgspec.json.encode({"gid": message.gid, "trans_type": "msg"})


def _base(url: str) -> str:
    plain = url.rstrip("/")
    try:
        parts = urlsplit(plain)
        is_address = parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
    except ValueError:  # a port that is no number, brackets that do not close
        raise _no_address(url) from None
    if not is_address or parts.query or parts.fragment:
        raise _no_address(url)
    return plain if parts.path else plain + API_PATH


def _no_address(url: str) -> ClientError:
    return ClientError(
        f"the server's address is {url!r}, expected one like http://localhost:36789",
        remedy="Give scheme, host and port; the path /api/dtmsvr is added where there is none.",
    )
