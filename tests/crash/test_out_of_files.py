"""A server that may open no more files answers whom it can in its own words, and gets well with the next one free."""

from __future__ import annotations

import os
import resource
from contextlib import ExitStack
from pathlib import Path
from socket import create_connection
from urllib.parse import urlsplit

import trio

from tests.compat.inside import INSIDE
from tests.compat.orders import new_gid
from tests.compat.server import running_server

LEFT = 10
CONNECTIONS = 30
READ_MAX_S = 0.2
LIST = b"GET /api/dtmsvr/all HTTP/1.1\r\nHost: x\r\n\r\n"


async def test_a_server_out_of_files_answers_in_its_own_words_and_gets_well(tmp_path: Path) -> None:
    with running_server(tmp_path, {"grace_s": 2}) as dtm:
        port = urlsplit(dtm.url).port or 80
        open_files = len(os.listdir(f"/proc/{dtm.pid}/fd"))
        resource.prlimit(dtm.pid, resource.RLIMIT_NOFILE, (open_files + LEFT, 4096))
        with ExitStack() as connections:
            clients = [connections.enter_context(create_connection(("127.0.0.1", port))) for _ in range(CONNECTIONS)]
            answers: list[bytes] = []
            for client in clients:
                client.sendall(LIST)
                client.settimeout(READ_MAX_S)
                try:
                    answers.append(client.recv(65536))
                except TimeoutError:
                    continue  # it waits to be accepted
        assert 0 < len(answers) < CONNECTIONS, "the server was not out of files"
        for answer in answers:
            assert answer.startswith((b"HTTP/1.1 200", b"HTTP/1.1 500")), answer
            assert not INSIDE.search(answer.decode()), answer
        order = {"gid": new_gid(), "trans_type": "saga", "steps": [{"action": ""}], "payloads": ["1"]}
        with trio.fail_after(30):
            while (await dtm.post("submit", {**order, "gid": new_gid(), "wait_result": True})).status != 200:  # noqa: ASYNC110 - seen through a socket
                await trio.sleep(0.1)
