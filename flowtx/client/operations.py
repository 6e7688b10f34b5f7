"""What a client does with a DTM server, each an exchange (spec 2.4, 10).

The law of this file: nothing is repeated here and nothing is guessed; whether to repeat is the caller's decision. It
knows no protocol: a ``Wire`` says what is wanted.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TypeVar
from urllib.parse import urlsplit

from flowtx.client.barrier import Barrier
from flowtx.client.branch_calls import BranchCall, call_branch
from flowtx.client.errors import ClientError
from flowtx.client.exchanges import Exchange, perform
from flowtx.client.message import TOPIC, Message, message_fields, prepare_fields
from flowtx.client.options import Options, payload_bytes
from flowtx.client.saga import Saga, saga_fields
from flowtx.client.wire import Fields, wire_of
from flowtx_dsl.errors import Ongoing, Refused, WorkflowError
from flowtx_dsl.queues import is_queue, parse_queue_url

T = TypeVar("T")

LAST_WORD_S = 5.0
"""How long a request may take that is sent because of an error: the error, perhaps a cancellation, waits for it."""


class Operations:
    """What can be done with one server, beyond what its ``wire`` says in one request.

    ``url`` is its address, as ``wire_of`` takes it. Raises ``ClientError`` for what is none.
    """

    def __init__(self, url: str, *, timeout_s: float) -> None:
        self.wire = wire_of(url, timeout_s=timeout_s)
        self.timeout_s = timeout_s

    def submit(self, transaction: Saga | Message) -> Exchange[None]:
        """Hand a saga, or a message, over."""
        fields = saga_fields(transaction) if isinstance(transaction, Saga) else message_fields(transaction)
        payloads = self._payloads(transaction)
        yield from self.wire.write("submit", fields, payloads, timeout_s=self.submit_timeout_s(transaction.options))

    def prepare(self, message: Message) -> Exchange[None]:
        """Let the server know of a message that may be submitted."""
        yield from self.wire.write("prepare", prepare_fields(message), self._payloads(message))

    def abort(self, message: Message) -> Exchange[None]:
        """Take a prepared message back."""
        yield from self.wire.write("abort", _only_its_name(message))

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
                yield from self.last_word("submit", message_fields(message), *self._payloads(message))
            else:
                yield from self.last_word("abort", _only_its_name(message))
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
                    protocol=self.wire.protocol,
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
        yield from self.wire.register({**fields, "trans_type": "xa", "url": phase2_url}, b"")

    def last_word(self, operation: str, fields: Fields, *payloads: bytes) -> Exchange[None]:
        """A write because of an error, which waits for it."""
        limit_s = min(self.timeout_s, LAST_WORD_S)
        yield from self.wire.write(operation, fields, payloads, timeout_s=limit_s, is_last_word=True)

    def submit_timeout_s(self, options: Options) -> float:
        """How long a submit may keep silent: a waiting one is answered when the calls are done."""
        asked_s = options.request_timeout_s or 0
        return max(self.timeout_s, asked_s) if options.wait_result else self.timeout_s

    def payload(self, payload: object, *, what: str) -> bytes:
        """A payload as it travels to this server; raises ``PayloadError``."""
        return payload_bytes(payload, what=what, protocol=self.wire.protocol)

    def check_url(self, url: str, *, what: str) -> None:
        """Raises ``WorkflowError`` for a participant's URL that this server would call in vain, for ever (spec 3.1)."""
        if is_queue(url):
            parse_queue_url(url)
        elif self.wire.protocol == "http" and urlsplit(url).scheme not in ("http", "https"):
            raise WorkflowError(
                f"{what} has the URL {url!r}, expected http://... or https://...",
                remedy="A participant over gRPC, host:port/Service/Method, is called in transactions that are "
                "submitted over gRPC: DtmClient('grpc://host:36790').",
            )

    def _payloads(self, transaction: Saga | Message) -> tuple[bytes, ...]:
        """Its payloads as they travel, after a look at the URLs that they are for."""
        if isinstance(transaction, Saga):
            name = f"saga {transaction.gid}"
            steps = [([step.action, step.compensate], step.payload) for step in transaction.steps]
        else:
            name = f"message {transaction.gid}"
            steps = [([step.action], step.payload) for step in transaction.steps]
        payloads: list[bytes] = []
        for number, (urls, payload) in enumerate(steps):
            for url in urls:
                if url and not url.startswith(TOPIC):
                    self.check_url(url, what=f"step {number} of {name}")
            payloads.append(self.payload(payload, what=f"payload of step {number} of {name}"))
        return tuple(payloads)


def _only_its_name(message: Message) -> Fields:
    return {"gid": message.gid, "trans_type": "msg"}
