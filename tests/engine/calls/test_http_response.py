"""What the response parser does beside reading; what it reads, and refuses, are properties."""

import gc
import weakref

from flowtx_engine.calls.http_response import ResponseParser

OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"


def new_parser() -> ResponseParser:
    return ResponseParser(method="POST", headers_max=1000, body_max=1000)


class Watched(ResponseParser):
    """One whose end can be seen: without slots of its own it takes weak references."""


def test_a_response_that_was_read_leaves_nothing_to_the_garbage_collector() -> None:
    gc.disable()  # for a moment, so that it is known who took it away
    try:
        parser = Watched(method="POST", headers_max=1000, body_max=1000)
        assert parser.feed(OK)
        assert parser.response().body == b"ok"
        is_there = weakref.ref(parser)
        del parser
        assert is_there() is None
    finally:
        gc.enable()


def test_a_parser_shows_how_far_it_is() -> None:
    parser = new_parser()
    shown = [(repr(parser), parser.is_begun)]
    for piece in (OK[:1], OK[1:-1], OK[-1:]):
        parser.feed(piece)
        shown.append((repr(parser), parser.is_begun))
    assert shown == [
        ("<ResponseParser POST --- at its head, 0 body bytes>", False),
        ("<ResponseParser POST --- at its head, 0 body bytes>", True),
        ("<ResponseParser POST 200 at its body, 1 body bytes>", True),
        ("<ResponseParser POST 200 complete, 2 body bytes>", True),
    ]
