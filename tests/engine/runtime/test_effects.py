"""Effect classes: what is made again, what is asked about first, and what waits for a person."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import AbstractAsyncContextManager
from typing import ClassVar, Literal

import pytest
import trio
from trio.testing import MockClock

import flowtx
from flowtx.testing.participants import Participants
from flowtx_engine.journal.memory import MemoryStore
from flowtx_engine.journal.records import Filter, Transaction, Write
from flowtx_engine.journal.store import WriteResult
from flowtx_engine.runtime.engine import Engine

OpenEngine = Callable[..., AbstractAsyncContextManager[Engine]]

calls: list[str] = []
answers: list[object] = []
"""What the functions below do, one after another: raise what is an exception, return what is not."""


@pytest.fixture(autouse=True)
def forget() -> None:
    calls.clear()
    answers.clear()


def answer(what: str) -> object:
    calls.append(what)
    told = answers.pop(0) if answers else "paid"
    if isinstance(told, Exception):
        raise told
    return told


async def pay(name: str) -> str:
    return str(answer(f"pay {name}"))


async def pay_slowly(name: str) -> str:
    calls.append("slow")
    await trio.sleep(100)
    return str(answer(f"pay {name}"))


async def has_paid(name: str) -> str | flowtx.NotDone:
    told = answer(f"has paid {name}? {flowtx.current_step().key}")
    return flowtx.NOT_DONE if told is flowtx.NOT_DONE else str(told)


async def pay_back(name: str, *, result: str | flowtx.Unknown) -> None:
    calls.append(f"back {name} {result}")


@flowtx.workflow
async def careful(tx: flowtx.Tx) -> str:
    return await tx.step(pay, "ann", effect=flowtx.once, compensate=pay_back, retry=flowtx.Retry(first_s=1))


@flowtx.workflow
async def asking(tx: flowtx.Tx) -> str:
    return await tx.step(pay, "ann", effect=flowtx.check(has_paid), retry=flowtx.Retry(first_s=1, attempts_max=3))


@flowtx.workflow
async def asking_slowly(tx: flowtx.Tx) -> str:
    return await tx.step(pay_slowly, "ann", effect=flowtx.check(has_paid))


@flowtx.workflow
async def slow_and_careful(tx: flowtx.Tx) -> str:
    return await tx.step(pay_slowly, "ann", effect=flowtx.once)


@flowtx.workflow
async def impatient(tx: flowtx.Tx, fails: bool) -> str:
    with tx.move_on_after(10):
        await tx.step(pay_slowly, "ann", effect=flowtx.once, compensate=pay_back)
    if fails:
        raise flowtx.Abort("it took too long")
    return "went on"


@flowtx.workflow
async def in_branches(tx: flowtx.Tx) -> str:
    async with tx.open_nursery() as nursery:
        nursery.start_step(pay, "ann", effect=flowtx.once)
        nursery.start_step(pay, "bob", effect=flowtx.once)
    return "both"


async def kinds(engine: Engine, gid: str = "g") -> list[str]:
    return [type(event.fact).__name__ for event in await engine.history(gid)]


async def in_doubt(engine: Engine, gid: str = "g") -> Transaction:
    """The transaction when it has waited for a decision for a while: nothing happens meanwhile."""
    await trio.sleep(1000)
    row = await engine.transaction(gid)
    assert row is not None
    assert row.needs_decision, row
    return row


# -- once


async def test_a_once_step_is_journaled_before_it_leaves_and_costs_one_commit_more(
    autojump_clock: MockClock, open_engine: OpenEngine
) -> None:
    class Counting(MemoryStore):
        written: ClassVar[list[str]] = []

        def commit(self, writes: Sequence[Write]) -> list[WriteResult]:
            Counting.written += ["+".join(row.kind for row in write.rows) for write in writes]
            return super().commit(writes)

    async with open_engine(on=Counting()) as engine:
        assert await engine.run(careful, gid="g") == "paid"
    assert Counting.written == ["began", "started", "succeeded+ended"]
    assert calls == ["pay ann"]


async def test_a_refusal_is_an_outcome_and_needs_nobody(autojump_clock: MockClock, open_engine: OpenEngine) -> None:
    answers.append(flowtx.Refused("no money"))
    async with open_engine() as engine:
        with pytest.raises(flowtx.TransactionFailed, match="no money"):
            await engine.run(careful, gid="g")
    assert calls == ["pay ann"]


@pytest.mark.parametrize("answer", [RuntimeError("the line broke"), flowtx.Ongoing("wait"), flowtx.StepTimeout("late")])
async def test_an_unknown_outcome_is_never_tried_again_and_waits_for_a_person(
    autojump_clock: MockClock, open_engine: OpenEngine, answer: Exception
) -> None:
    answers.append(answer)
    async with open_engine() as engine:
        await engine.start(careful, gid="g")
        row = await in_doubt(engine)
        assert row.status == "submitted"
        assert row.last_error.startswith("needs a decision: pay at 0: ")
        assert (row.owner, row.wake_at) == ("", None), "it costs no memory and nobody looks at it"
        assert [one.gid for one in await engine.transactions(Filter(needs_decision=True))] == ["g"]
        assert [one.needs_decision for one in (await engine.tasks("g")).waiting] == [True]
        assert await kinds(engine) == ["Began", "Started", "Doubted"]
    async with open_engine([careful]) as engine:  # nor does a restart try it again
        await in_doubt(engine)
    assert calls == ["pay ann"]


async def test_a_person_can_say_that_it_succeeded(autojump_clock: MockClock, open_engine: OpenEngine) -> None:
    answers.append(RuntimeError("the line broke"))
    async with open_engine() as engine:
        await engine.start(careful, gid="g")
        await in_doubt(engine)
        await engine.decide("g", "0", "succeeded", value="receipt 7")
        assert await engine.wait("g") == "receipt 7"
        row = await engine.transaction("g")
        assert row is not None
        assert (row.needs_decision, row.last_error) == (False, "")
        assert await kinds(engine) == ["Began", "Started", "Doubted", "Decided", "Ended"]
    assert calls == ["pay ann"]


async def test_a_person_can_say_that_it_did_not_happen(autojump_clock: MockClock, open_engine: OpenEngine) -> None:
    answers.append(RuntimeError("the line broke"))
    async with open_engine() as engine:
        await engine.start(careful, gid="g")
        await in_doubt(engine)
        await engine.decide("g", "0", "refused", reason="the bank knows nothing of it")
        with pytest.raises(flowtx.TransactionFailed, match="the bank knows nothing of it") as failed:
            await engine.wait("g")
    assert isinstance(failed.value.__cause__, flowtx.Refused)
    assert calls == ["pay ann"], "what did not happen is not taken back"


async def test_a_person_can_let_it_be_made_again_and_it_can_be_in_doubt_again(
    autojump_clock: MockClock, open_engine: OpenEngine
) -> None:
    answers.extend([RuntimeError("once"), RuntimeError("twice"), "paid at last"])
    async with open_engine() as engine:
        await engine.start(careful, gid="g")
        for _ in range(2):
            await in_doubt(engine)
            await engine.decide("g", "0", "retry")
        assert await engine.wait("g") == "paid at last"
        assert (await kinds(engine)).count("Started") == 3
    assert calls == ["pay ann"] * 3


async def test_what_cannot_be_decided_is_refused_and_changes_nothing(
    autojump_clock: MockClock, open_engine: OpenEngine
) -> None:
    answers.append(RuntimeError("the line broke"))
    async with open_engine() as engine:
        with pytest.raises(flowtx.NoSuchTransaction):
            await engine.decide("g", "0", "retry")
        await engine.start(careful, gid="g")
        await in_doubt(engine)
        before = await engine.history("g")
        with pytest.raises(flowtx.NotInDoubt, match="no step is in doubt at '1'; doubts were noted at 0"):
            await engine.decide("g", "1", "retry")
        with pytest.raises(flowtx.PayloadError, match="the result decided for pay at 0 does not fit str"):
            await engine.decide("g", "0", "succeeded", value=5)
        with pytest.raises(flowtx.WorkflowError, match="has no result"):
            await engine.decide("g", "0", "refused", value="x")
        assert await engine.history("g") == before
        await engine.decide("g", "0", "succeeded", value="yes")
        await engine.wait("g")
        with pytest.raises(flowtx.AlreadyFinal):
            await engine.decide("g", "0", "retry")


async def test_a_value_that_does_not_fit_leaves_the_step_in_doubt_when_the_code_was_not_at_hand(
    autojump_clock: MockClock, open_engine: OpenEngine
) -> None:
    answers.append(RuntimeError("the line broke"))
    async with open_engine() as engine:
        await engine.start(careful, gid="g")
        await in_doubt(engine)
    async with open_engine() as stranger:  # its code is not loaded there
        await stranger.decide("g", "0", "succeeded", value=5)
    async with open_engine([careful]) as engine:
        row = await in_doubt(engine)
        assert "the result decided for pay at 0 does not fit str" in row.last_error
        await engine.decide("g", "0", "succeeded", value="yes")
        assert await engine.wait("g") == "yes"


async def test_branches_are_in_doubt_each_for_itself(autojump_clock: MockClock, open_engine: OpenEngine) -> None:
    answers.extend([RuntimeError("one"), RuntimeError("two")])
    async with open_engine() as engine:
        await engine.start(in_branches, gid="g")
        row = await in_doubt(engine)
        assert "pay at 0/0/0: " in row.last_error
        assert "pay at 0/1/0: " in row.last_error
        await engine.decide("g", "0/0/0", "succeeded", value="yes")
        row = await in_doubt(engine)
        assert "0/0/0" not in row.last_error
        await engine.decide("g", "0/1/0", "retry")
        assert await engine.wait("g") == "both"
    assert sorted(calls) == ["pay ann", "pay bob", "pay bob"] or sorted(calls) == ["pay ann", "pay ann", "pay bob"]


async def test_cancelling_a_run_in_doubt_waits_for_the_decision_before_it_takes_back(
    autojump_clock: MockClock, open_engine: OpenEngine
) -> None:
    answers.append(RuntimeError("the line broke"))
    async with open_engine() as engine:
        await engine.start(careful, gid="g")
        await in_doubt(engine)
        await engine.cancel("g", reason="enough")
        row = await in_doubt(engine)
        assert row.status == "aborting"
        assert [one.address for one in (await engine.tasks("g")).waiting if one.needs_decision] == ["0"]
        with pytest.raises(flowtx.WorkflowError, match="has given up the step at 0"):
            await engine.decide("g", "0", "retry")
        assert calls == ["pay ann"]
        await engine.decide("g", "0", "succeeded", value="receipt 7")
        with pytest.raises(flowtx.TransactionFailed, match="enough"):
            await engine.wait("g")
    assert calls == ["pay ann", "back ann receipt 7"]


async def test_what_a_person_says_did_not_happen_is_not_taken_back(
    autojump_clock: MockClock, open_engine: OpenEngine
) -> None:
    answers.append(RuntimeError("the line broke"))
    async with open_engine() as engine:
        await engine.start(careful, gid="g")
        await in_doubt(engine)
        await engine.cancel("g", reason="enough")
        await in_doubt(engine)
        await engine.decide("g", "0", "refused")
        with pytest.raises(flowtx.TransactionFailed, match="enough"):
            await engine.wait("g")
    assert calls == ["pay ann"]


@pytest.mark.parametrize("fails", [False, True])
async def test_a_call_that_was_given_up_is_let_end_and_its_outcome_counts(
    autojump_clock: MockClock, open_engine: OpenEngine, fails: bool
) -> None:
    async with open_engine() as engine:
        await engine.start(impatient, fails, gid="g")
        if fails:
            with pytest.raises(flowtx.TransactionFailed, match="it took too long"):
                await engine.wait("g")
            assert calls == ["slow", "pay ann", "back ann paid"]
        else:
            assert await engine.wait("g") == "went on"


# -- check


async def test_the_first_attempt_asks_nobody(autojump_clock: MockClock, open_engine: OpenEngine) -> None:
    async with open_engine() as engine:
        assert await engine.run(asking, gid="g") == "paid"
    assert calls == ["pay ann"]


async def test_after_a_fault_it_is_asked_first_and_what_happened_is_the_result(
    autojump_clock: MockClock, open_engine: OpenEngine
) -> None:
    answers.extend([RuntimeError("the line broke"), "paid before"])
    async with open_engine() as engine:
        assert await engine.run(asking, gid="g") == "paid before"
    assert calls == ["pay ann", "has paid ann? g/0"]


async def test_what_has_not_happened_is_made(autojump_clock: MockClock, open_engine: OpenEngine) -> None:
    answers.extend([RuntimeError("the line broke"), flowtx.NOT_DONE, "paid now"])
    async with open_engine() as engine:
        assert await engine.run(asking, gid="g") == "paid now"
    assert calls == ["pay ann", "has paid ann? g/0", "pay ann"]


@pytest.mark.parametrize("answer", [RuntimeError("nobody there"), flowtx.Refused("no"), flowtx.Ongoing("wait")])
async def test_a_question_without_an_answer_is_a_fault_and_the_step_is_not_made(
    autojump_clock: MockClock, open_engine: OpenEngine, answer: Exception
) -> None:
    answers.extend([RuntimeError("the line broke"), answer, RuntimeError("nor now")])
    async with open_engine() as engine:
        with pytest.raises(flowtx.TransactionFailed, match="nor now"):
            await engine.run(asking, gid="g")
    assert calls == ["pay ann", "has paid ann? g/0", "has paid ann? g/0"], "attempts_max counts them"


async def test_after_a_restart_it_is_asked_first(
    autojump_clock: MockClock, open_engine: OpenEngine, store: MemoryStore
) -> None:
    limits = flowtx.EngineLimits(grace_s=0.0)
    async with open_engine(limits=limits) as engine:
        await engine.start(asking_slowly, gid="g")
        await trio.sleep(5)
    answers.append("paid before")
    async with open_engine([asking_slowly], limits=limits) as engine:
        assert await engine.wait("g") == "paid before"
    assert calls == ["slow", "has paid ann? g/0"]


async def test_a_once_step_that_was_on_its_way_when_the_engine_stopped_is_in_doubt(
    autojump_clock: MockClock, open_engine: OpenEngine
) -> None:
    limits = flowtx.EngineLimits(grace_s=0.0)
    async with open_engine(limits=limits) as engine:
        await engine.start(slow_and_careful, gid="g")
        await trio.sleep(5)
    async with open_engine([slow_and_careful], limits=limits) as engine:
        row = await in_doubt(engine)
        assert "was on its way when its engine stopped" in row.last_error
        await engine.decide("g", "0", "succeeded", value="yes")
        assert await engine.wait("g") == "yes"
    assert calls == ["slow"]


# -- key


@flowtx.workflow
async def keyed(tx: flowtx.Tx) -> None:
    await tx.step(flowtx.http("http://bank/pay"), {"n": 1}, key="order-7", compensate=flowtx.http("http://bank/back"))
    raise flowtx.Abort("after all")


async def test_a_key_of_ones_own_is_what_the_participant_gets(
    autojump_clock: MockClock, open_engine: OpenEngine, participants: Participants
) -> None:
    keys: list[str] = []
    participants.on_act = lambda acted, request: keys.append(dict(request.headers)["Idempotency-Key"])
    async with open_engine() as engine:
        with pytest.raises(flowtx.TransactionFailed):
            await engine.run(keyed, gid="g")
    assert keys == ["order-7", "order-7/c"]


@pytest.mark.parametrize("key", ["x" * 513, "two\nlines", 7])
async def test_what_cannot_be_a_key_is_refused_before_anything_is_asked(
    autojump_clock: MockClock, open_engine: OpenEngine, key: str
) -> None:
    @flowtx.workflow
    async def wrong(tx: flowtx.Tx) -> None:
        await tx.step(pay, "ann", key=key)

    async with open_engine() as engine:
        with pytest.raises(flowtx.TransactionFailed, match="expected 1 to 512 printable characters"):
            await engine.run(wrong)
    assert calls == []


async def test_what_is_no_effect_class_is_refused_before_anything_is_asked(
    autojump_clock: MockClock, open_engine: OpenEngine
) -> None:
    @flowtx.workflow
    async def wrong(tx: flowtx.Tx) -> None:
        await tx.step(pay, "ann", effect="once")  # type: ignore[call-overload]  # pyright: ignore[reportCallIssue, reportArgumentType]  # the point

    async with open_engine() as engine:
        with pytest.raises(flowtx.TransactionFailed, match="effect='once' is no effect class"):
            await engine.run(wrong)
    with pytest.raises(flowtx.WorkflowError, match=r"flowtx\.check takes a function, got 5"):
        flowtx.check(5)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]  # the point
    assert calls == []


@flowtx.workflow
async def with_a_savepoint(tx: flowtx.Tx) -> str:
    try:
        async with tx.savepoint():
            with tx.move_on_after(10):
                await tx.step(pay, "ann", effect=flowtx.once, compensate=pay_back)
            raise LookupError
    except LookupError:
        return "went on"


@pytest.mark.parametrize(
    ("verdict", "value", "expected"),
    [("succeeded", "receipt 7", ["pay ann", "back ann receipt 7"]), ("refused", None, ["pay ann"])],
)
async def test_a_savepoint_too_waits_for_the_decision_and_takes_back_what_happened(
    autojump_clock: MockClock,
    open_engine: OpenEngine,
    verdict: Literal["succeeded", "refused"],
    value: str | None,
    expected: list[str],
) -> None:
    answers.append(RuntimeError("the line broke"))
    async with open_engine() as engine:
        await engine.start(with_a_savepoint, gid="g")
        await in_doubt(engine)
        await engine.decide("g", "1", verdict, value=value)
        assert await engine.wait("g") == "went on"
    assert calls == expected
