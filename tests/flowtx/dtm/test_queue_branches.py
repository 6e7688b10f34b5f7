"""Branches that are queues: taken where nobody need say no, refused where an answer is needed, never shown whole."""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable
from contextlib import AbstractAsyncContextManager
from io import StringIO

import msgspec
import pytest
import trio
from rich.console import Console, RenderableType
from trio.testing import MockClock

from flowtx.cli.lines import lines_of
from flowtx.cli.show import pictures_of, shown
from flowtx.dtm.operations.branches import register_branch
from flowtx.dtm.operations.desk import Desk, answered
from flowtx.dtm.operations.kv import query_kv
from flowtx.dtm.operations.prepare import prepare
from flowtx.dtm.operations.submit import submit
from flowtx.dtm.operations.topics import subscribe, unsubscribe
from flowtx.dtm.outcomes import Done, DtmError, Outcome
from flowtx.dtm.wire.views import KvPage
from flowtx.testing.participants import Participants
from tests.brokers.missing import hide_libraries
from tests.flowtx.dtm.asking import looked, request, rows, status, tcc_branch, transaction, xa_branch

OpenDesk = Callable[..., AbstractAsyncContextManager[Desk]]
SECRET = "geheim-7391"
QUEUE = f"redis://ann:{SECRET}@h/0/orders"
SHOWN = "redis://***@h/0/orders"
MALFORMED = f"redis://ann:{SECRET}@h/orders"


async def test_a_message_goes_to_queues_and_participants_alike(autojump_clock: MockClock, open_desk: OpenDesk) -> None:
    participants = Participants(delay_s=0.0)
    async with open_desk(participants) as desk:
        order = request("msg", QUEUE, "/a", payloads=(b"\x00\xff", b"{}"), branch_headers={"tenant": "7"})
        assert await submit(desk, order) == Done()
        await trio.sleep(1)
        assert (await status(desk), await rows(desk)) == ("succeed", "S S")
    (message,) = participants.messages
    assert (message.body, message.address.password) == (b"\x00\xff", SECRET)
    assert message.message_id.startswith("g/")
    facts = {"dtm-gid": "g", "dtm-trans_type": "msg", "dtm-branch_id": "01", "dtm-op": "action", "tenant": "7"}
    assert facts.items() <= dict(message.headers).items()


async def test_a_broker_that_does_not_take_it_is_asked_again_under_the_same_id(
    autojump_clock: MockClock, open_desk: OpenDesk
) -> None:
    participants = Participants(delay_s=0.0)
    participants.script("/0/orders", ["break", "refuse", "ongoing", "accept silently"])
    async with open_desk(participants) as desk:
        await submit(desk, request("msg", QUEUE))
        await trio.sleep(1)
        row = await transaction(desk)
        assert (row.status, row.next_cron_interval) == ("submitted", 20)
        await trio.sleep(3600)
        assert await status(desk) == "succeed"
    assert len(participants.asked) == 5
    assert len({(asked.gid, asked.branch_id) for asked in participants.asked}) == 1
    assert len(participants.acted) == 1  # a consumer that keeps ids takes it once


async def test_a_saga_publishes_its_actions_and_on_the_way_back_its_compensations(
    autojump_clock: MockClock, open_desk: OpenDesk
) -> None:
    participants = Participants(delay_s=0.0)
    participants.script("/no", ["refuse"])
    async with open_desk(participants) as desk:
        steps = ({"action": QUEUE, "compensate": QUEUE}, {"action": "http://p/no", "compensate": "http://p/back"})
        assert await submit(desk, request("saga", steps=steps, payloads=(b"1", b"2"))) == Done()
        await trio.sleep(60)
        assert await status(desk) == "failed"
    ops = [(dict(each.headers)["dtm-op"], each.body) for each in participants.messages]
    assert ops == [("action", b"1"), ("compensate", b"1")]
    assert len({each.message_id for each in participants.messages}) == 2


async def test_a_tcc_is_confirmed_and_cancelled_over_queues(autojump_clock: MockClock, open_desk: OpenDesk) -> None:
    participants = Participants(delay_s=0.0)
    async with open_desk(participants) as desk:
        await prepare(desk, request("tcc"))
        assert await answered(register_branch(desk, tcc_branch("01", confirm=QUEUE, cancel=QUEUE))) == Done()
        await submit(desk, request("tcc"))
        await trio.sleep(60)
        assert await status(desk) == "succeed"
        assert SECRET not in json.dumps([each.url for each in (await looked(desk)).branches])
    assert [dict(each.headers)["dtm-op"] for each in participants.messages] == ["confirm"]


@pytest.mark.parametrize("trans_type", ["msg", "saga"])
@pytest.mark.parametrize("operation", [submit, prepare])
async def test_a_malformed_queue_is_refused_and_nothing_is_stored(
    open_desk: OpenDesk, trans_type: str, operation: Callable[..., Awaitable[Outcome]]
) -> None:
    async with open_desk() as desk:
        outcome = await answered(operation(desk, request(trans_type, "/a", MALFORMED)))
        assert isinstance(outcome, DtmError)
        assert "no message can be sent to 'redis://***@h/orders': its path has 1 segments" in outcome.message
        assert "Write it like redis://host:6379/0/orders" in outcome.message
        assert SECRET not in outcome.message
        assert (await looked(desk)).transaction is None


async def test_a_malformed_compensation_or_confirmation_is_refused_too(open_desk: OpenDesk) -> None:
    async with open_desk() as desk:
        order = request("saga", steps=({"action": "http://p/a", "compensate": MALFORMED},), payloads=(b"",))
        outcome = await answered(submit(desk, order))
        assert isinstance(outcome, DtmError)
        assert outcome.message.startswith("compensate of step 0: no message can be sent to ")
        await prepare(desk, request("tcc"))
        for op in ("confirm", "cancel"):
            outcome = await answered(register_branch(desk, tcc_branch("01", **{op: MALFORMED})))
            assert isinstance(outcome, DtmError)
            assert outcome.message.startswith(f"{op}: no message can be sent to ")
        assert (await looked(desk)).branches == []


async def test_a_queue_is_refused_where_an_answer_is_needed(open_desk: OpenDesk) -> None:
    async with open_desk() as desk:
        for trans_type in ("msg", "workflow"):
            outcome = await answered(prepare(desk, request(trans_type, query_prepared=QUEUE)))
            assert outcome == DtmError(
                f"query_prepared is the queue {SHOWN}, which cannot answer; expected a participant over HTTP or gRPC",
                kind="crash",
            )
        await prepare(desk, request("xa"))
        outcome = await answered(register_branch(desk, msgspec.structs.replace(xa_branch("01"), url=QUEUE)))
        assert isinstance(outcome, DtmError)
        assert "the branch of an xa is the queue" in outcome.message


async def test_a_server_without_the_library_refuses_what_names_its_queue(
    open_desk: OpenDesk, monkeypatch: pytest.MonkeyPatch
) -> None:
    hide_libraries(monkeypatch)
    async with open_desk() as desk:
        for outcome in (
            await answered(submit(desk, request("msg", QUEUE))),
            await answered(subscribe(desk, topic="t", url=QUEUE, remark="")),
        ):
            assert isinstance(outcome, DtmError)
            assert "pip install 'flowtx[redis]'" in outcome.message
        assert (await looked(desk)).transaction is None


async def test_queues_subscribe_to_topics(autojump_clock: MockClock, open_desk: OpenDesk) -> None:
    participants = Participants(delay_s=0.0)
    async with open_desk(participants) as desk:
        wrong = await answered(subscribe(desk, topic="t", url=MALFORMED, remark=""))
        assert isinstance(wrong, DtmError)
        assert "its path has 1 segments" in wrong.message
        for url in (QUEUE, "http://p/a"):
            assert await answered(subscribe(desk, topic="t", url=url, remark="")) == Done()
        page = await query_kv(desk, category="topics", key="t")
        assert isinstance(page, Done)
        assert isinstance(page.value, KvPage)
        assert [each["url"] for each in json.loads(page.value.kv[0].v)] == [SHOWN, "http://p/a"]
        await submit(desk, request("msg", "topic://t"))
        await trio.sleep(1)
        assert (await status(desk), len(participants.messages)) == ("succeed", 1)
        # Who reads the topic sees no password, and can remove what is shown.
        assert await answered(unsubscribe(desk, topic="t", url=SHOWN)) == Done()
        assert isinstance(await answered(unsubscribe(desk, topic="t", url=QUEUE)), DtmError)


async def test_the_password_is_shown_nowhere(autojump_clock: MockClock, open_desk: OpenDesk) -> None:
    participants = Participants(delay_s=0.0)
    participants.script("/0/orders", [], then="break")
    async with open_desk(participants) as desk:
        await submit(desk, request("msg", QUEUE, concurrent=True))
        await prepare(desk, request("tcc", gid="t"))
        await register_branch(desk, tcc_branch("01", gid="t", confirm=QUEUE, cancel=QUEUE))
        await submit(desk, request("tcc", gid="t"))
        await trio.sleep(60)
        for gid in ("g", "t"):
            row, events = await desk.engine.transaction(gid), await desk.engine.history(gid)
            assert row is not None
            lines = lines_of(row, events)
            pictures = pictures_of(row, events, now_at=0.0)
            told = (shown(row, events), lines, await looked(desk, gid), [_text(each) for each in pictures])
            for each in told:
                assert SECRET not in repr(each)
            assert SHOWN in repr(lines)
            assert SHOWN in repr(told[2])
            assert SECRET not in row.last_error
            assert SHOWN in row.last_error


def _text(picture: RenderableType) -> str:
    out = StringIO()
    Console(file=out, width=300).print(picture)
    return out.getvalue()
