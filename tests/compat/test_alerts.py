"""The alert hook: checks 71 and 72."""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable

import pytest

from tests.compat.dtm import Dtm
from tests.compat.orders import msg
from tests.compat.web import Participant, Reply

OpenDtm = Callable[..., Awaitable[Dtm]]


@pytest.mark.parametrize("hook_status", [200, 500])
async def test_071_072_three_errors_one_after_another_are_told_to_the_hook(
    open_dtm: OpenDtm, participant: Participant, hook_status: int
) -> None:
    participant.replies("/hook", Reply(status=hook_status, body=b"whatever"))
    participant.replies("/a", *[Reply(status=500, body=b"out of order")] * 3, Reply())
    dtm = await open_dtm(alert_web_hook=f"{participant.url}/hook", alert_retry_limit=3)
    order = msg(participant, "/a", retry_limit=0, retry_interval=1)
    await dtm.post("submit", order)
    for count in (1, 2, 3):
        await participant.until_called("/a", count)
        await dtm.post("resetNextCronTime", {"gid": order["gid"]})
    await participant.until_called("/hook")
    (told,) = participant.calls_of("/hook")
    assert told.method == "POST"
    said = json.loads(told.body)
    assert sorted(said) == ["branch", "error", "gid", "retry_count", "status"]
    assert (said["gid"], said["status"], said["retry_count"]) == (order["gid"], "submitted", 3)
    assert said["branch"] == f"{participant.url}/a"
    assert "out of order" in said["error"]
    await dtm.post("resetNextCronTime", {"gid": order["gid"]})
    await dtm.until(order["gid"], "succeed", timeout_s=30)
