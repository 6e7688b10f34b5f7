"""All observers of a server, put together.

The law of this file: what watches ends with the server, and the server never waits for it.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager

import trio

from flowtx.observers.alerts import Alerts
from flowtx.observers.log import LogObserver, log_request
from flowtx.observers.metrics import Metrics
from flowtx.observers.tally import Tally
from flowtx.observers.traces import PassingOn, Traces, provider_from_environment
from flowtx.settings import Settings
from flowtx_engine.calls.http import HttpClient
from flowtx_engine.runtime.engine import Engine


class Watch:
    """What watches one server: its ``metrics``, and who is told of its requests."""

    def __init__(self, engine: Engine, settings: Settings) -> None:
        self._tally = Tally(started_at=engine.now_at())
        self._http = HttpClient()
        self._alerts = None
        if settings.alert_web_hook:
            self._alerts = Alerts(
                settings.alert_web_hook,
                retry_limit=settings.alert_retry_limit,
                timeout_s=settings.request_timeout_s,
                transport=self._http,
            )
        traces = Traces(provider_from_environment()) if settings.tracing else PassingOn()
        for observer in (self._tally, LogObserver(), traces, self._alerts):
            if observer is not None:
                engine.observers.add(observer)
        counts = self._alerts.counts if self._alerts is not None else None
        self.metrics = Metrics(self._tally, engine.statistics, alerts=counts)

    def served(self, kind: str, api: str, status: int, elapsed_s: float) -> None:
        """A request came over ``kind``, asked for ``api``, and was answered with a status as HTTP has it."""
        self._tally.served(kind, api, status, elapsed_s)
        log_request(kind, api, status, elapsed_s)

    async def wait_told(self) -> None:
        """Return when the web hook was told of all there was, if there is a hook."""
        if self._alerts is not None:
            await self._alerts.wait_sent()

    async def serve(self) -> None:
        """Do what takes time, until cancelled."""
        async with self._http:
            if self._alerts is not None:
                await self._alerts.serve()


@asynccontextmanager
async def watching(engine: Engine, settings: Settings) -> AsyncGenerator[Watch]:
    """Watch a server for a block."""
    watch = Watch(engine, settings)
    raised: Exception | None = None
    async with trio.open_nursery() as nursery:
        nursery.start_soon(watch.serve)
        try:
            yield watch
        except Exception as error:
            raised = error  # kept from the nursery, which would wrap it
        nursery.cancel_scope.cancel()
    if raised is not None:
        raise raised
