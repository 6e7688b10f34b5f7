"""One run of the fuzzer: a real server, misbehaving participants, the attackers side by side, and the watch.

The law of this file: a run ends after its time, or when the server has; afterwards the server must let go of what the
attack made it hold, and stop when it is asked to.
"""

from __future__ import annotations

import tempfile
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from random import Random

import trio

from tests.compat.dtm import Dtm
from tests.compat.server import running_server
from tests.fuzz.attack_bytes import attack_bytes
from tests.fuzz.attack_described import attack_described
from tests.fuzz.attack_grpc import attack_frames, attack_grpc
from tests.fuzz.attack_json import attack_json, attack_rpc
from tests.fuzz.attack_life import attack_life
from tests.fuzz.book import Book
from tests.fuzz.participants import Participants
from tests.fuzz.scene import Scene
from tests.fuzz.watch import Held, Watch

Attack = Callable[[Scene], Awaitable[None]]

ATTACKERS: Mapping[str, tuple[Attack, int]] = {
    "described": (attack_described, 1),
    "bytes": (attack_bytes, 3),
    "json": (attack_json, 2),
    "rpc": (attack_rpc, 2),
    "frames": (attack_frames, 2),
    "grpc": (attack_grpc, 3),
    "life": (attack_life, 6),
}
"""Every attacker, and how many of it work side by side."""
SETTINGS = {"log_level": "warning", "keep_alive_s": 5, "request_timeout_s": 1, "grace_s": 3, "heartbeat_s": 1}

QUIET_MAX_S = 40.0
"""In which time the server must let go of connections and files after the attack."""
FDS_MORE_MAX = 40
"""So many more files may be open at the end: of databases and participants, which are pooled."""
THREADS_MORE_MAX = 250
"""So many more threads may run at the end: gRPC's pool, which only grows, and the idle ones of others."""
GROWTH_MAX_MIB_PER_MINUTE = 8.0
"""How much memory may grow in the second half of a run of some minutes; unfinished transactions are in it."""
GROWTH_FROM_S = 240.0
"""Shorter runs say nothing about growth."""


@dataclass(frozen=True, kw_only=True)
class Report:
    """What a run came to; ``book`` has the findings."""

    seed: str
    seconds: float
    book: Book
    held: list[Held]
    canary_s: list[float]
    log_lines: int

    @property
    def growth(self) -> float:
        """MiB a minute in the second half, by least squares."""
        late = [each for each in self.held if each.at >= self.held[0].at + self.seconds / 2]
        mean_at = sum(each.at for each in late) / len(late)
        mean_mib = sum(each.rss_mib for each in late) / len(late)
        spread = sum((each.at - mean_at) ** 2 for each in late)
        return 60 * sum((each.at - mean_at) * (each.rss_mib - mean_mib) for each in late) / spread if spread else 0.0

    def __str__(self) -> str:
        """The report, as a person reads it."""
        first, last = self.held[0], self.held[-1]
        lines = [f"seed {self.seed}, {self.seconds:.0f} s"]
        for attacker, came in self.book.told().items():
            lines.append(f"{attacker}: {self.book.sent[attacker]:,} sent")
            lines.append("    " + ", ".join(f"{what} {count:,}" for what, count in came.items()))
        slowest = sorted(self.canary_s)
        lines += [
            f"canaries: {len(slowest)}, median {slowest[len(slowest) // 2]:.3f} s, slowest {slowest[-1]:.3f} s",
            f"memory: {first.rss_mib:.0f} MiB at the start, {last.rss_mib:.0f} at the end, at most "
            f"{max(each.rss_mib for each in self.held):.0f}; {self.growth:+.2f} MiB a minute in the second half",
            f"files: {first.fds} at the start, {last.fds} at the end, at most {max(each.fds for each in self.held)}",
            f"threads: {first.threads} at the start, {last.threads} at the end",
            f"log: {self.log_lines:,} lines",
            f"findings: {sum(self.book.found.values())}",
            *(f"    {count:,} times: {kind}" for kind, count in self.book.found.items()),
        ]
        return "\n".join(lines)


async def fuzz(seed: str, seconds: float, folder: Path, attackers: Mapping[str, tuple[Attack, int]]) -> Report:
    """Attack a server for so long; findings are saved in ``folder``."""
    book = Book(folder)
    with tempfile.TemporaryDirectory(prefix="flowtx-fuzz-") as place:
        opening = running_server(Path(place), SETTINGS)
        dtm = await trio.to_thread.run_sync(opening.__enter__)
        try:
            watch = await _attack(dtm, Path(place) / "log", seed, seconds, book, attackers)
        finally:
            try:
                await trio.to_thread.run_sync(opening.__exit__, None, None, None)
            except Exception as error:  # of every kind: it did not stop, or its log is bad
                book.find("the server did not stop well", repr(error))
    report = Report(
        seed=seed, seconds=seconds, book=book, held=watch.held, canary_s=watch.canary_s, log_lines=watch.log_lines
    )
    if seconds >= GROWTH_FROM_S and report.growth > GROWTH_MAX_MIB_PER_MINUTE:
        book.find("memory grows", f"{report.growth:+.2f} MiB a minute in the second half")
    return report


async def _attack(
    dtm: Dtm, log: Path, seed: str, seconds: float, book: Book, attackers: Mapping[str, tuple[Attack, int]]
) -> Watch:
    participants = Participants(f"{seed}/participants")
    async with trio.open_nursery() as beside:
        await beside.start(participants.serve)
        watch = Watch(dtm=dtm, log=log, good_url=f"{participants.url}/good", book=book)
        with trio.move_on_after(seconds):
            async with trio.open_nursery() as nursery:
                for name, (attack, count) in attackers.items():
                    for number in range(1, count + 1):
                        nursery.start_soon(attack, _scene(name, number, dtm, participants, book, seed))
                await watch.run()  # returns when the server has ended
                nursery.cancel_scope.cancel()
        if watch.is_alive:
            await _wait_quiet(watch)
        beside.cancel_scope.cancel()
    return watch


def _scene(name: str, number: int, dtm: Dtm, participants: Participants, book: Book, seed: str) -> Scene:
    dice = Random(f"{seed}/{name}/{number}")
    return Scene(name=name, number=number, dtm=dtm, participants=participants, book=book, dice=dice)


async def _wait_quiet(watch: Watch) -> None:
    """Wait until the server holds little more than at the start; what it keeps holding is a finding."""
    first = watch.held[0]
    with trio.move_on_after(QUIET_MAX_S) as waiting:
        while True:
            watch.look()
            last = watch.held[-1]
            if last.fds <= first.fds + FDS_MORE_MAX and last.threads <= first.threads + THREADS_MORE_MAX:
                break
            await trio.sleep(0.5)
    if waiting.cancelled_caught:
        watch.book.find("the server does not let go", f"at the start {first}, after the attack {watch.held[-1]}")
