"""Watching a server under attack: that it lives, what it logs, what it holds, and that a canary saga still succeeds.

The law of this file: it reads /proc and the log, and asks what any client could ask. Memory is compared between the
middle and the end, when whatever is made once has been made.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, cast

import trio

from tests.compat.dtm import API, Dtm
from tests.compat.grpc_side import OK, GrpcDtm, request_of
from tests.compat.server import NOT_FORESEEN
from tests.compat.web import ask
from tests.fuzz.book import Book

EVERY_S = 1.0
CANARY_MAX_S = 15.0
"""In which time a saga of one step over HTTP must have succeeded, on a machine that is busy with the attack."""


@dataclass(frozen=True, kw_only=True)
class Held:
    """What a process holds at an instant."""

    at: float
    rss_mib: float
    fds: int
    threads: int


def held_by(pid: int) -> Held:
    """Raises ``FileNotFoundError`` when the process is gone."""
    status = dict(
        line.split(":\t", 1) for line in Path(f"/proc/{pid}/status").read_text().splitlines() if ":\t" in line
    )
    if "VmRSS" not in status:
        raise FileNotFoundError(f"process {pid} has ended")
    return Held(
        at=trio.current_time(),
        rss_mib=int(status["VmRSS"].split()[0]) / 1024,
        fds=len(list(Path(f"/proc/{pid}/fd").iterdir())),
        threads=int(status["Threads"]),
    )


@dataclass
class Watch:
    """The watch over ``dtm``, whose log is at ``log``; its canary calls ``good_url``."""

    dtm: Dtm
    log: Path
    good_url: str
    book: Book
    held: list[Held] = field(default_factory=list[Held])
    canary_s: list[float] = field(default_factory=list[float])
    log_lines: int = 0
    is_alive: bool = True

    async def run(self) -> None:
        """Watch until cancelled, or until the server has ended."""
        lines = self._new_lines()
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._send_canaries)
            while self.is_alive:
                self.look()
                for line in next(lines):
                    self._read(line)
                await trio.sleep(EVERY_S)
            nursery.cancel_scope.cancel()

    def look(self) -> None:
        """Note what the server holds."""
        try:
            self.held.append(held_by(self.dtm.pid))
        except FileNotFoundError:
            self.is_alive = False
            self.book.find("the server has ended", self.log.read_text(errors="backslashreplace")[-5000:])

    def _new_lines(self) -> Iterator[list[str]]:
        with self.log.open(errors="backslashreplace") as log:
            while True:
                yield log.readlines()

    def _read(self, line: str) -> None:
        self.log_lines += 1
        try:
            said: dict[str, Any] = json.loads(line)
        except ValueError:
            self.book.find("the log has a line that is none of its", line)
            return
        if "stacktrace" in said or NOT_FORESEEN in line or said["level"] == "error":
            self.book.find(f"logged: {str(said['msg'])[:60]}", line.replace("\\n", "\n"))

    async def _send_canaries(self) -> None:
        number = 0
        while True:
            number += 1
            began_at = trio.current_time()
            await self._send_canary(number)
            took_s = trio.current_time() - began_at
            self.canary_s.append(took_s)
            await trio.sleep(max(0.0, EVERY_S - took_s))

    async def _send_canary(self, number: int) -> None:
        order: dict[str, Any] = {"gid": f"canary-{number}", "trans_type": "saga", "wait_result": True}
        order |= {"steps": [{"action": self.good_url, "compensate": self.good_url}], "payloads": ["1"]}
        kind = ("http", "json-rpc", "grpc")[number % 3]
        try:
            with trio.fail_after(CANARY_MAX_S):
                said = await _ask(self.dtm, kind, order)
        except Exception as error:  # whatever it is, the canary has not succeeded
            said = repr(error)
        self.book.note(f"canary {kind}", said[:30])
        if said != "succeeded":
            self.book.find("a canary did not succeed", f"{order['gid']} over {kind}: {said}")


async def _ask(dtm: Dtm, kind: str, order: dict[str, Any]) -> str:
    if kind == "grpc":
        ended = await GrpcDtm(dtm.grpc).call("Submit", request_of(order))
        return "succeeded" if ended == OK else f"{ended.code} {ended.details}"
    if kind == "json-rpc":
        call = {"jsonrpc": "2.0", "id": "c", "method": "submit", "params": order}
        answer = await ask(dtm.url, "POST", "/api/json-rpc", json.dumps(call).encode())
        error = cast("dict[str, object]", answer.json)["error"]
        return "succeeded" if error is None else repr(error)
    answer = await ask(dtm.url, "POST", f"{API}/submit", json.dumps(order).encode())
    return "succeeded" if answer.status == 200 else repr(answer)
