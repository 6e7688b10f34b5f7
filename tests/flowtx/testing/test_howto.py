"""The how-to on test mode holds: its tests, run with a shop as its reader has one."""

from __future__ import annotations

import json
import re
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import cast
from urllib.parse import parse_qs, urlsplit
from urllib.request import Request, urlopen

import pytest

HOWTO = Path(__file__).parents[3] / "docs/how-to/test-mode.md"


class Shop:
    """A service that submits sagas and takes part in them."""

    def __init__(self) -> None:
        self.is_down = False
        self.booked: list[str] = []
        shop = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                self.rfile.read(int(self.headers["Content-Length"]))
                if not shop.is_down:
                    shop.booked += parse_qs(urlsplit(self.path).query)["gid"]
                self.send_response(500 if shop.is_down else 200)
                self.send_header("Content-Length", "0")
                self.end_headers()

            def log_message(self, format: str, *args: object) -> None:
                """Say nothing."""

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)

    def book(self, url: str, *, gid: str) -> None:
        action = f"http://127.0.0.1:{self.server.server_address[1]}/book"
        body = {"gid": gid, "trans_type": "saga", "steps": [{"action": action}], "payloads": ["{}"]}
        with urlopen(Request(f"{url}/api/dtmsvr/submit", json.dumps(body).encode()), timeout=20) as answer:
            answer.read()


@pytest.fixture
def shop() -> Iterator[Shop]:
    shop = Shop()
    thread = threading.Thread(target=shop.server.serve_forever)
    thread.start()
    yield shop
    shop.server.shutdown()
    shop.server.server_close()
    thread.join()


def documented() -> dict[str, Callable[[Shop], None]]:
    code = "\n".join(re.findall(r"^```python\n(.*?)^```$", HOWTO.read_text(), re.MULTILINE | re.DOTALL))
    names: dict[str, object] = {"__name__": "documented"}
    exec(compile(code, str(HOWTO), "exec"), names)
    found = {name: value for name, value in names.items() if name.startswith("test_")}
    return cast("dict[str, Callable[[Shop], None]]", found)


def test_the_page_has_tests() -> None:
    assert len(documented()) == 2


@pytest.mark.parametrize("name", sorted(documented()))
def test_a_test_of_the_page_passes(shop: Shop, name: str) -> None:
    documented()[name](shop)
