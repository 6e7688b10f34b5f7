"""An HTTP/1.1 response out of bytes (RFC 9112).

Law: pure. Bytes go in, a response comes out, and the same bytes give the same response however they are cut. Nothing
but `HttpFault` is raised, whatever a peer sends, and never is more held in memory than the limits say.

The parsing of lines and chunks is llhttp's (through httptools). What it leaves to its user is decided here: when a
response is whole, whether its connection may be used again, and how much is too much.
"""

from __future__ import annotations

import httptools

from flowtx_engine.calls.http_content import DECODABLE, decode_content
from flowtx_engine.calls.http_types import AnswerTooLong, HttpFault, HttpResponse

_SWITCHING_PROTOCOLS = 101
_BODILESS = frozenset({204, 304})
_BODILESS_METHODS = frozenset({"HEAD", "CONNECT"})
_SAMPLE_SIZE = 40


class ResponseParser:
    """Parses one response, fed piece by piece.

    Once `is_complete`, `response()` returns it, and `is_reusable` says whether another request may be sent on the same
    connection. `is_begun` turns true with the first byte. Sizes in bytes: `headers_max` is for everything up to the end
    of the headers (interim responses included) and again for the trailers, `body_max` for the body, on the wire as well
    as decoded.
    """

    __slots__ = (
        "_awaits_chunk",
        "_body",
        "_body_max",
        "_fault",
        "_fed_count",
        "_headers",
        "_headers_max",
        "_is_at_body",
        "_is_framed_twice",
        "_is_interim",
        "_is_until_end",
        "_length",
        "_method",
        "_parser",
        "_quiet_count",
        "_raw_headers",
        "_status",
        "is_complete",
        "is_reusable",
    )

    def __init__(self, *, method: str, headers_max: int, body_max: int) -> None:
        self.is_complete = False
        self.is_reusable = False
        self._method = method
        self._headers_max = headers_max
        self._body_max = body_max
        self._status = 0
        self._raw_headers: list[tuple[bytes, bytes]] = []
        self._headers: tuple[tuple[str, str], ...] = ()
        self._length: int | None = None
        self._body = bytearray()
        self._fault: HttpFault | None = None
        self._awaits_chunk = False
        self._is_at_body = False
        self._is_framed_twice = False
        self._is_interim = False
        self._is_until_end = False
        self._fed_count = 0
        self._quiet_count = 0  # bytes since the body last grew: trailers and chunk extensions have no other limit
        self._parser = httptools.HttpResponseParser(self)
        # Go reads lines that end in a bare LF, and lets chunks win over a length that is there too. Participants
        # written by hand do both.
        self._parser.set_dangerous_leniencies(lenient_chunked_length=True, lenient_optional_cr_before_lf=True)

    def __repr__(self) -> str:
        """Return the state, for the reader of a failing test."""
        state = "complete" if self.is_complete else "at its body" if self._is_at_body else "at its head"
        return f"<ResponseParser {self._method} {self._status or '---'} {state}, {len(self._body)} body bytes>"

    @property
    def is_begun(self) -> bool:
        """Whether any byte of a response has come."""
        return self._fed_count > 0

    def feed(self, data: bytes | bytearray) -> bool:
        """Take in what was received, and return whether the response is complete.

        Bytes beyond the end of the response are dropped, and then `is_reusable` is false.

        Raises `HttpFault` when the bytes are no HTTP response, or more than the limits allow.
        """
        assert not self.is_complete, self
        self._fed_count += len(data)
        body_count = len(self._body)
        try:
            self._parser.feed_data(data)
        except (httptools.HttpParserError, httptools.HttpParserUpgrade) as error:
            # Behind a complete response, `on_message_begin` has already noted that there is more.
            if not self.is_complete:
                raise self._fault or _not_http(error, data) from error
        if self._fault is not None:
            raise self._fault
        if self._fed_count > self._headers_max:
            self._check_limits(len(data), len(self._body) > body_count)
        if len(self._body) > self._body_max:
            raise self._too_long()
        return self._settle()

    def feed_end(self) -> None:
        """Take in that the peer will send no more, which completes a body that ends with its connection.

        Raises `HttpFault` when the response is cut short.
        """
        assert not self.is_complete, self
        if not self._is_until_end:
            raise self._cut_short()
        self.is_complete = True
        self._settle()

    def response(self) -> HttpResponse:
        """Return the response, its body decoded; Content-Encoding and Content-Length are then gone, as with Go.

        Raises `HttpFault` when the body cannot be decoded.
        """
        assert self.is_complete, self
        body, headers = bytes(self._body), self._headers
        if body:
            coding = next((value.lower() for name, value in headers if name == "content-encoding"), None)
            if coding in DECODABLE:
                try:
                    body = decode_content(body, coding, body_max=self._body_max)
                except AnswerTooLong as fault:
                    fault.status = self._status
                    raise
                headers = tuple([each for each in headers if each[0] not in {"content-encoding", "content-length"}])
        return HttpResponse(status=self._status, headers=headers, body=body)

    # What httptools calls. Nothing is raised in there: it would come out wrapped, and in the middle of a feed.

    def on_message_begin(self) -> None:
        """Note the first byte of a message; one that begins after the response was not asked for."""
        self.is_reusable = False

    def on_header(self, name: bytes, value: bytes) -> None:
        """Keep a header; trailers are dropped, for nobody asks for them."""
        if not self._is_at_body:
            self._raw_headers.append((name, value))

    def on_headers_complete(self) -> None:
        """Decide, at the empty line, what the headers mean for the rest."""
        if self.is_complete:
            return
        self._status = status = self._parser.get_status_code()
        self._is_interim = 100 <= status < 200
        if self._is_interim:
            self._raw_headers.clear()
            if status == _SWITCHING_PROTOCOLS:
                self._fault = _switched()
            return
        self._is_at_body = True
        # llhttp takes off the white space before a value and leaves what follows it (RFC 9112, section 5.1).
        self._headers = tuple(
            [
                (name.lower().decode("latin-1"), value.rstrip(b" \t").decode("latin-1"))
                for name, value in self._raw_headers
            ]
        )
        fields = dict(self._headers)
        length, coding = fields.get("content-length"), fields.get("transfer-encoding")
        if self._method in _BODILESS_METHODS:
            # No body follows, whatever the headers say; and only beside a length would llhttp notice if one did.
            self.is_complete = True
            self.is_reusable = length is not None and coding is None and self._parser.should_keep_alive()
        elif coding is not None:
            self._awaits_chunk = True
            self._is_framed_twice = length is not None
            if coding.lower() != "chunked" or sum(name == "transfer-encoding" for name, _ in self._headers) > 1:
                self._fault = _not_understood(self._headers)
        elif status not in _BODILESS:
            self._length = None if length is None else int(length)
            self._is_until_end = length is None
            if self._length is not None and self._length > self._body_max:
                self._fault = self._too_long()

    def on_body(self, data: bytes) -> None:
        """Keep a piece of the body, chunk sizes removed."""
        if self.is_complete:
            self.is_reusable = False
        elif self._awaits_chunk:
            # We read "chunked" in the headers and llhttp did not: it minds a tab behind the word, for one.
            self._fault = self._fault or _not_understood(self._headers)
        else:
            self._body += data

    def on_chunk_header(self) -> None:
        """Note that llhttp does read chunks."""
        self._awaits_chunk = False

    def on_message_complete(self) -> None:
        """Note the last byte of a message; an interim one is not the response."""
        if self._is_at_body and not self.is_complete:
            self.is_complete = True
            # RFC 9112, section 6.3: with both a length and chunks, another might have read this differently.
            self.is_reusable = self._parser.should_keep_alive() and not self._is_framed_twice

    def _settle(self) -> bool:
        if self.is_complete:
            # It holds our methods and we hold it: a cycle for the garbage collector in every call, if it stayed.
            del self._parser
        return self.is_complete

    def _check_limits(self, fed_count: int, is_body_grown: bool) -> None:
        if not self._is_at_body:
            raise HttpFault(f"the headers of the answer are longer than {self._headers_max} bytes")
        if sum(len(name) + len(value) for name, value in self._raw_headers) > self._headers_max:
            raise HttpFault(f"the headers of the answer are longer than {self._headers_max} bytes")
        self._quiet_count = 0 if is_body_grown else self._quiet_count + fed_count
        if self._quiet_count > self._headers_max:
            raise HttpFault(f"the trailers of the answer are longer than {self._headers_max} bytes")

    def _too_long(self) -> AnswerTooLong:
        size = "" if self._length is None else f": it has {self._length}"
        fault = AnswerTooLong(f"the body of the answer is longer than {self._body_max} bytes{size}")
        fault.status = self._status
        return fault

    def _cut_short(self) -> HttpFault:
        if not self._fed_count:
            return HttpFault("the connection was closed before any answer came")
        if not self._is_at_body:
            return HttpFault(
                f"the connection was closed within the headers of the answer, after {self._fed_count} bytes"
            )
        expected = "the last chunk was missing" if self._length is None else f"expected {self._length}"
        return HttpFault(f"the connection was closed after {len(self._body)} bytes of the answer's body; {expected}")


def _switched() -> HttpFault:
    return HttpFault("the answer switches to another protocol (status 101); drop the Upgrade header from the call")


def _not_understood(headers: tuple[tuple[str, str], ...]) -> HttpFault:
    found = ", ".join(value for name, value in headers if name == "transfer-encoding")
    return HttpFault(f"the answer has the transfer encoding {found!r}; only chunked is understood")


def _not_http(error: Exception, data: bytes | bytearray) -> HttpFault:
    sample = bytes(data[:_SAMPLE_SIZE])
    return HttpFault(f"what came is not an HTTP/1.1 response: {error}; received {sample!r}")
