"""Alerts: who is told, of what, and that a bad hook disturbs nobody."""

from __future__ import annotations

import json
import logging
from collections.abc import Awaitable, Callable

import pytest
import trio
from trio.testing import MockClock

from flowtx.observers import alerts
from flowtx.observers.alerts import Alerts
from flowtx_engine.calls.http_types import HttpFault, HttpRequest, HttpResponse
from flowtx_engine.runtime.observer import Fault


class Hook:
    """A transport that leads to one web hook."""

    def __init__(self) -> None:
        self.got: list[HttpRequest] = []
        self.answers: Callable[[], Awaitable[int]] = self._ok

    async def _ok(self) -> int:
        await trio.lowlevel.checkpoint()
        return 200

    async def send(self, request: HttpRequest) -> HttpResponse:
        self.got.append(request)
        return HttpResponse(status=await self.answers(), headers=(), body=b"")


def fault(fault_count: int, gid: str = "g") -> Fault:
    return Fault(gid=gid, address="0", name="http://b/x", error="down", fault_count=fault_count, status="submitted")


@pytest.fixture
def hook() -> Hook:
    return Hook()


async def serving(hook: Hook, nursery: trio.Nursery) -> Alerts:
    made = Alerts("http://hook/in", retry_limit=3, timeout_s=3, transport=hook)
    await nursery.start(made.serve)
    return made


async def test_the_hook_is_told_from_the_limit_on_each_time(
    autojump_clock: MockClock, hook: Hook, nursery: trio.Nursery
) -> None:
    made = await serving(hook, nursery)
    for fault_count in range(1, 6):
        made.faulted(fault(fault_count))
    await trio.testing.wait_all_tasks_blocked()
    assert sorted(json.loads(request.body)["retry_count"] for request in hook.got) == [3, 4, 5]
    first = min(hook.got, key=lambda request: request.body)
    assert (first.method, first.url) == ("POST", "http://hook/in")
    assert json.loads(first.body) == {
        "branch": "http://b/x",
        "error": "down",
        "gid": "g",
        "retry_count": 3,
        "status": "submitted",
    }
    assert made.counts == {"sent": 3}


async def test_who_wants_to_know_when_the_hook_was_told_waits_for_it(
    autojump_clock: MockClock, hook: Hook, nursery: trio.Nursery
) -> None:
    async def slow() -> int:
        await trio.sleep(2)
        return 200

    hook.answers = slow
    made = await serving(hook, nursery)
    await made.wait_sent()
    assert trio.current_time() == 0
    for _ in range(alerts.SENDERS + 1):
        made.faulted(fault(3))
    await made.wait_sent()
    assert trio.current_time() == 4
    assert made.counts == {"sent": alerts.SENDERS + 1}


async def test_a_hook_that_hangs_costs_its_timeout_and_no_more(
    autojump_clock: MockClock, hook: Hook, nursery: trio.Nursery, caplog: pytest.LogCaptureFixture
) -> None:
    async def hang() -> int:
        await trio.sleep_forever()
        raise AssertionError("it sleeps for ever")

    hook.answers = hang
    made = await serving(hook, nursery)
    began = trio.current_time()
    for _ in range(alerts.SENDERS):
        made.faulted(fault(3))
    assert trio.current_time() == began, "whoever reports a fault does not wait"
    await trio.sleep(3.1)
    assert made.counts == {"failed": alerts.SENDERS}
    assert "it did not answer within 3 s" in caplog.text
    assert "http://hook/in" not in caplog.text, "the hook's URL is a secret"


@pytest.mark.parametrize("trouble", [HttpFault("connect failed"), RuntimeError("a bug"), 500])
async def test_a_hook_that_breaks_is_logged_and_the_next_alert_is_sent(
    autojump_clock: MockClock, hook: Hook, nursery: trio.Nursery, caplog: pytest.LogCaptureFixture, trouble: object
) -> None:
    async def break_down() -> int:
        await trio.lowlevel.checkpoint()
        if isinstance(trouble, Exception):
            raise trouble
        return 500

    hook.answers = break_down
    made = await serving(hook, nursery)
    for _ in range(2 * alerts.SENDERS):
        made.faulted(fault(3))
    await trio.testing.wait_all_tasks_blocked()
    assert made.counts == {"failed": 2 * alerts.SENDERS}
    assert "the web hook did not take an alert" in caplog.text


async def test_what_does_not_fit_is_dropped_and_said(
    hook: Hook, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(alerts, "QUEUE_MAX", 2)
    made = Alerts("http://hook/in", retry_limit=1, timeout_s=3, transport=hook)
    with caplog.at_level(logging.WARNING):
        for number in range(5):
            made.faulted(fault(1, gid=f"g{number}"))
    assert made.counts == {"dropped": 3}
    assert "an alert was dropped" in caplog.text
