"""The control API of a server in test mode, called.

The law of this file: it blocks, and uses the standard library alone, so that any test can use it.
"""

from __future__ import annotations

import http.client
from collections.abc import Mapping
from typing import TypeVar
from urllib.parse import urlsplit

import msgspec

from flowtx_dsl.errors import FlowtxError

CALL_MAX_S = 120.0
"""How long an answer may take: one is given only when work has come to rest."""

AnswerT = TypeVar("AnswerT")


class ControlError(FlowtxError):
    """The control API did not do as it was asked."""

    remedy = "See that the server still runs and that it is of the same version as this library."


class Round(msgspec.Struct, frozen=True):
    """What ``cron_once`` did: for which ``gid`` ("" when nothing was due), and the ``error`` it rests with."""

    gid: str
    error: str


class _Now(msgspec.Struct, frozen=True):
    now: float


class _Gids(msgspec.Struct, frozen=True):
    gids: list[str]


class _State(msgspec.Struct, frozen=True):
    in_flight: int


class _Nothing(msgspec.Struct, frozen=True):
    pass


class Control:
    """The control API at a base URL."""

    def __init__(self, url: str) -> None:
        self.url = url
        self._host = urlsplit(url).netloc

    def advance(self, seconds: float) -> float:
        """Move the clock; the new time."""
        return self._call(_Now, "POST", "/advance", {"seconds": seconds}).now

    def reset(self) -> None:
        """Forget everything, once nothing is in flight."""
        self._call(_Nothing, "POST", "/reset", {})

    def in_flight(self) -> int:
        """How many transactions are driven just now."""
        return self._call(_State, "GET", "/state", None).in_flight

    def cron_once(self, *, now_forward_s: float, cron_forward_s: float) -> Round:
        """Do for one transaction what time would do."""
        body = {"now_forward_ms": now_forward_s * 1000, "cron_forward_ms": cron_forward_s * 1000}
        return self._call(Round, "POST", "/cron-once", body)

    def processed(self, *, wait_s: float) -> list[str]:
        """The gids of the rounds that ended."""
        return self._call(_Gids, "GET", f"/processed?wait_ms={wait_s * 1000:.0f}", None).gids

    def set(self, *, recovery_enabled: bool | None, async_start_delay_s: float | None) -> None:
        """Change what is not None."""
        body: dict[str, object] = {}
        if recovery_enabled is not None:
            body["recovery_enabled"] = recovery_enabled
        if async_start_delay_s is not None:
            body["async_start_delay_ms"] = async_start_delay_s * 1000
        self._call(_Nothing, "PUT", "/settings", body)

    def _call(self, kind: type[AnswerT], method: str, path: str, body: Mapping[str, object] | None) -> AnswerT:
        connection = http.client.HTTPConnection(self._host, timeout=CALL_MAX_S)
        try:
            connection.request(method, path, None if body is None else msgspec.json.encode(body))
            response = connection.getresponse()
            text = response.read()
        except OSError as error:
            raise ControlError(f"{method} {self.url}{path} had no answer: {error}") from error
        finally:
            connection.close()
        if response.status != 200:
            raise ControlError(f"{method} {self.url}{path} was answered {response.status}: {text.decode()}")
        return msgspec.json.decode(text, type=kind)
