"""The log is the server's own: whatever clients send, every line of it is one that the server wrote,
and none holds a secret.
"""

from __future__ import annotations

import json
from pathlib import Path

import trio

from tests.compat.orders import new_gid
from tests.compat.server import running_server

PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\4\0\0\0\0\0"
# Headers that gRPC's library complains about to stderr, with the bytes that came (RFC 7541, 6.2.2; RFC 9113, 6.2).
NAMES = (b"grpc-timeout", b"te", b"content-type", b"grpc-encoding", b"x\xd3", b":method", b":path")
HEAD = b"".join(b"\0" + bytes([len(name)]) + name + b"\x03\x95\xff\n" for name in NAMES)
CALL = len(HEAD).to_bytes(3, "big") + b"\1\5\0\0\0\1" + HEAD


async def test_no_client_writes_into_the_log(tmp_path: Path) -> None:
    with running_server(tmp_path, {"log_level": "info"}) as dtm:
        host, _, port = dtm.grpc.rpartition(":")
        for said in (PREFACE + CALL, CALL, b"GET / HTTP/1.1\r\n\r\n"):
            async with await trio.open_tcp_stream(host, int(port)) as stream:
                await stream.send_all(said)
                with trio.move_on_after(1):
                    while await stream.receive_some():
                        pass
    lines = (tmp_path / "log").read_bytes().splitlines()
    assert lines
    assert all(json.loads(line)["logger"] for line in lines)


async def test_a_participants_password_is_in_no_line_and_no_answer(tmp_path: Path) -> None:
    with running_server(tmp_path, {"log_level": "info"}) as dtm:
        for url in ("http://shop:secret@127.0.0.1:1/pay", "http://shop:secret@[::1/pay", "redis://shop:secret@x/pay"):
            order = {"gid": new_gid(), "trans_type": "msg", "steps": [{"action": url}], "payloads": ["1"]}
            answer = await dtm.post("submit", {**order, "wait_result": True})
            assert answer.status == 500
            assert b"secret" not in answer.body
    log = (tmp_path / "log").read_text()
    assert "pay failed" in log
    assert "secret" not in log
