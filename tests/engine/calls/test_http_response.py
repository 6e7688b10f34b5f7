"""What the response parser does beside reading; what it reads, and refuses, are properties."""

import gc

from flowtx_engine.calls.http_response import ResponseParser

OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"


def new_parser() -> ResponseParser:
    return ResponseParser(method="POST", headers_max=1000, body_max=1000)


def test_a_response_that_was_read_leaves_nothing_to_the_garbage_collector() -> None:
    gc.collect()
    gc.disable()
    try:
        parser = new_parser()
        assert parser.feed(OK)
        assert parser.response().body == b"ok"
        del parser
        assert gc.collect() == 0
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
