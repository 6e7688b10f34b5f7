"""Test mode: a control API over HTTP that drives a server's time, for integration tests of other programs.

The law of this file: it translates and decides nothing; ``ByHand`` does what is asked. It is served on a loopback
address and nowhere else, because whoever reaches it can empty the database.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Annotated, Any, TypeVar

import msgspec
from quart import Response, request
from quart_trio import QuartTrio

from flowtx_engine.runtime.by_hand import ByHand

WAIT_MAX_S = 60.0
"""The longest long poll."""
AHEAD_MAX_S = 100 * 365 * 86_400.0
"""The farthest a clock is moved at once: a century, so that instants stay ones that a calendar has."""

Seconds = Annotated[float, msgspec.Meta(ge=0, le=AHEAD_MAX_S)]
Milliseconds = Annotated[float, msgspec.Meta(ge=0, le=AHEAD_MAX_S * 1000)]


class _Body(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A body of the control API: what is not named is left as it is, or zero."""


class SettingsBody(_Body, frozen=True, kw_only=True):
    """What ``PUT /settings`` changes."""

    recovery_enabled: bool | msgspec.UnsetType = msgspec.UNSET
    async_start_delay_ms: Milliseconds | msgspec.UnsetType = msgspec.UNSET


class AdvanceBody(_Body, frozen=True, kw_only=True):
    """By how much ``POST /advance`` moves the clock."""

    seconds: Seconds


class CronOnceBody(_Body, frozen=True, kw_only=True):
    """How far ``POST /cron-once`` looks ahead: for what is due, and for timers."""

    now_forward_ms: Milliseconds = 0.0
    cron_forward_ms: Milliseconds = 0.0


BodyT = TypeVar("BodyT", bound=_Body)


def make_control_app(hand: ByHand, *, wait_told: Callable[[], Awaitable[None]]) -> QuartTrio:
    """The application that serves the control API of an engine.

    ``wait_told`` returns when everybody knows who is told of rounds: DTM tells them within the round (spec 3.7).
    """
    app = QuartTrio("flowtx-test-mode", static_folder=None)
    app.register_error_handler(msgspec.MsgspecError, _bad_request)

    @app.get("/ping")
    async def ping() -> Response:
        return _answer({"msg": "pong"})

    @app.post("/reset")
    async def reset() -> Response:
        await hand.reset()
        return _answer({})

    @app.put("/settings")
    async def settings() -> Response:
        body = await _read(SettingsBody)
        if body.async_start_delay_ms is not msgspec.UNSET:
            hand.start_delay_s = body.async_start_delay_ms / 1000
        if body.recovery_enabled is not msgspec.UNSET:
            hand.recovery_enabled = body.recovery_enabled
        return _answer({})

    @app.post("/advance")
    async def advance() -> Response:
        return _answer({"now": hand.advance((await _read(AdvanceBody)).seconds)})

    @app.post("/cron-once")
    async def cron_once() -> Response:
        body = await _read(CronOnceBody)
        done = await hand.cron_once(now_ahead_s=body.now_forward_ms / 1000, due_ahead_s=body.cron_forward_ms / 1000)
        await wait_told()
        return _answer({"gid": done.gid, "error": done.error})

    @app.get("/processed")
    async def processed() -> Response:
        wait_ms = msgspec.convert(request.args.get("wait_ms", "0"), Milliseconds, strict=False)
        gids = await hand.processed(wait_s=min(wait_ms / 1000, WAIT_MAX_S))
        await wait_told()
        return _answer({"gids": gids})

    @app.post("/topics/refresh")
    async def refresh_topics() -> Response:
        return _answer({})  # topics are read where they are used

    @app.get("/state")
    async def state() -> Response:
        return _answer({"in_flight": hand.in_flight_count, "processed_pending": hand.processed_pending_count})

    return app


async def _read(kind: type[BodyT]) -> BodyT:
    """The body of the request, ``{}`` when there is none; raises ``msgspec.MsgspecError``."""
    body = await request.get_data(as_text=False)
    assert isinstance(body, bytes), body
    return msgspec.json.decode(body or b"{}", type=kind)


async def _bad_request(error: Exception) -> Response:
    return _answer({"message": f"the request cannot be understood: {error}"}, status=400)


def _answer(value: Any, *, status: int = 200) -> Response:
    return Response(msgspec.json.encode(value), status, content_type="application/json")
