"""Alerts: whoever is named as web hook is told of branches that keep failing (spec 3.7).

The law of this file: a hook that is slow, hangs or breaks disturbs nobody (spec 12.42). Alerts wait in a queue with a
limit; what does not fit is dropped and counted, and the log says so. A process that ends forgets what is in it.
"""

from __future__ import annotations

import logging
from collections import Counter

import msgspec
import trio

from flowtx_engine.calls.http_types import HttpFault, HttpRequest, HttpTransport
from flowtx_engine.runtime.observer import Fault, Observer

log = logging.getLogger("flowtx.alerts")

QUEUE_MAX = 1_000
"""Alerts that wait to be sent."""
SENDERS = 4
"""Alerts that are sent at once: a hook that hangs costs one of them its timeout."""
HEADERS = (("Content-Type", "application/json"),)


class Alert(msgspec.Struct, frozen=True, kw_only=True):
    """The body of an alert, in DTM's names and order: ``branch`` is what was called (spec 3.7)."""

    branch: str
    error: str
    gid: str
    retry_count: int
    status: str


class Alerts(Observer):
    """Sends an alert for every fault from the ``retry_limit``-th in a row on; ``serve`` must run."""

    def __init__(self, url: str, *, retry_limit: int, timeout_s: float, transport: HttpTransport) -> None:
        self.counts: Counter[str] = Counter()
        """Alerts that were "sent", "failed" and "dropped"."""
        self._url = url
        self._retry_limit = retry_limit
        self._timeout_s = timeout_s
        self._transport = transport
        self._put, self._queue = trio.open_memory_channel[Alert](QUEUE_MAX)
        self._unsent_count = 0
        self._all_sent = trio.Event()
        self._all_sent.set()

    def faulted(self, fault: Fault) -> None:
        """See ``Observer.faulted``."""
        if fault.fault_count < self._retry_limit:
            return
        alert = Alert(
            branch=fault.name, error=fault.error, gid=fault.gid, retry_count=fault.fault_count, status=fault.status
        )
        try:
            self._put.send_nowait(alert)
            self._unsent_count += 1
            if self._all_sent.is_set():
                self._all_sent = trio.Event()
        except trio.WouldBlock:
            self.counts["dropped"] += 1
            log.warning("an alert was dropped: %d wait for the web hook already", QUEUE_MAX, extra={"gid": fault.gid})

    async def wait_sent(self) -> None:
        """Return when the hook was told of all there was, or did not answer in time; for tests, which look there."""
        await self._all_sent.wait()

    async def serve(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Send what is queued, until cancelled."""
        async with trio.open_nursery() as nursery:
            for _ in range(SENDERS):
                nursery.start_soon(self._send_for_ever)
            task_status.started()

    async def _send_for_ever(self) -> None:
        async for alert in self._queue:
            why = await self._send(alert)
            self.counts["failed" if why else "sent"] += 1
            self._unsent_count -= 1
            if not self._unsent_count:
                self._all_sent.set()
            if why:
                # Not the URL: it may be what lets one in.
                log.warning("the web hook did not take an alert: %s", why, extra={"gid": alert.gid})

    async def _send(self, alert: Alert) -> str:
        """Send one; why it was not taken, or nothing."""
        request = HttpRequest(method="POST", url=self._url, headers=HEADERS, body=msgspec.json.encode(alert))
        try:
            with trio.move_on_after(self._timeout_s):
                response = await self._transport.send(request)
                return "" if response.status < 400 else f"it answered {response.status}"
        except HttpFault as fault:
            return str(fault)
        except Exception:
            log.exception("sending an alert failed in a way that nobody foresaw")
            return "see the error before this line"
        return f"it did not answer within {self._timeout_s:g} s"
