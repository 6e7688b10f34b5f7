"""What a run leaves to do for its end: messages, confirmations, compensations without a step, and their order."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, cast

import pytest

import flowtx
from flowtx_dsl.commands import Compensate, Confirm
from flowtx_dsl.error_codec import decode_error, encode_error
from flowtx_engine.kernel.events import Attempted, Stopped

Begin = Callable[[flowtx.Workflow[..., Any]], Any]


def act(what: int) -> int:
    return what


def tell(what: int) -> None: ...


def take_back(what: int, *, result: object = None) -> None: ...


def ended(play: Any) -> str:
    assert play.kernel.ended is not None
    return str(play.kernel.ended.status)


def fault(play: Any, address: str, error: Exception) -> None:
    asked = play.asked(address)
    fact = Attempted(
        call=asked.record, outcome="unknown", error=encode_error(error), attempt=1, fault_count=1, retry_at=5.0
    )
    play.feed(address, fact)


def test_messages_go_out_oldest_first_after_the_workflow_has_returned(play: Begin) -> None:
    @flowtx.workflow
    async def order(tx: flowtx.Tx) -> str:
        tx.message(tell, 1)
        await tx.message(tell, 2)
        await tx.step(act, 3)
        return "done"

    run = play(order)
    assert run.waiting == ["2"]
    run.succeed("2")
    assert run.kernel.phase == "confirming"
    assert run.kernel.status == "submitted"
    assert run.waiting == ["0/m"]
    run.succeed("0/m")
    run.replay()
    assert run.waiting == ["1/m"]
    run.succeed("1/m")
    assert ended(run) == "succeed"
    run.replay()


def test_a_failed_run_sends_no_message(play: Begin) -> None:
    @flowtx.workflow
    async def order(tx: flowtx.Tx) -> None:
        tx.message(tell, 1)
        await tx.step(act, 2)

    run = play(order)
    run.refuse("1", flowtx.Refused("no"))
    assert ended(run) == "failed"
    assert run.orders == []


def test_messages_of_parallel_branches_go_out_in_parallel(play: Begin) -> None:
    @flowtx.workflow
    async def fan_out(tx: flowtx.Tx) -> None:
        async def branch(number: int) -> None:
            tx.message(tell, number)
            tx.message(tell, number + 1)

        tx.message(tell, 0)
        async with tx.open_nursery() as nursery:
            nursery.start_soon(branch, 10)
            nursery.start_soon(branch, 20)

    run = play(fan_out)
    assert run.waiting == ["0/m"]
    run.succeed("0/m")
    assert run.waiting == ["1/0/0/m", "1/1/0/m"]
    run.succeed("1/1/0/m", "1/1/1/m", "1/0/0/m")
    run.replay()
    assert run.waiting == ["1/0/1/m"]
    run.succeed("1/0/1/m")
    assert ended(run) == "succeed"


def test_a_run_that_is_confirming_cannot_be_cancelled_any_more(play: Begin) -> None:
    @flowtx.workflow
    async def order(tx: flowtx.Tx) -> str:
        await tx.step(act, 1, compensate=take_back)
        tx.message(tell, 2)
        return "done"

    run = play(order)
    run.succeed("0")
    run.cancel("too late")
    assert run.waiting == ["1/m"]
    run.succeed("1/m")
    assert ended(run) == "succeed"


def test_a_registered_compensation_takes_its_place_among_the_steps(play: Begin) -> None:
    @flowtx.workflow
    async def order(tx: flowtx.Tx) -> None:
        await tx.step(act, 0, compensate=take_back)
        tx.compensate(take_back, 1)
        await tx.step(act, 2, compensate=take_back)
        raise flowtx.Abort("no")

    run = play(order)
    run.succeed("0", "2")
    for address, payload in (("2/c", b"[2]"), ("1/c", b"[1]"), ("0/c", b"[0]")):
        assert run.waiting == [address]
        assert run.asked(address).command.call.payload == payload
        run.replay()
        run.succeed(address)
    assert ended(run) == "failed"


def test_a_compensation_without_a_step_that_needs_a_result_is_refused_where_it_is_registered(play: Begin) -> None:
    def needs(what: int, *, result: int) -> None: ...

    @flowtx.workflow
    async def order(tx: flowtx.Tx) -> None:
        tx.compensate(needs, 1)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]  # the point

    run = play(order)
    assert "needs result=" in str(run.kernel.ended.error.text)


def test_a_try_is_confirmed_when_the_run_succeeds_and_cancelled_when_it_fails(play: Begin) -> None:
    @flowtx.workflow
    async def buy(tx: flowtx.Tx) -> int:
        held = await tx.tcc(act, tell, take_back, 7)
        await tx.step(act, 8)
        return held

    good = play(buy)
    good.succeed("0", value=7)
    good.succeed("1")
    assert good.waiting == ["0/m"]
    confirm = good.asked("0/m").command
    assert isinstance(confirm, Confirm)
    assert (confirm.call.payload, confirm.result) == (b"[7]", b"7")
    good.succeed("0/m")
    assert ended(good) == "succeed"

    bad = play(buy)
    bad.succeed("0", value=7)
    bad.refuse("1", flowtx.Refused("no"))
    assert bad.waiting == ["0/c"]
    bad.succeed("0/c")
    assert ended(bad) == "failed"


def test_a_refused_try_is_cancelled_too(play: Begin) -> None:
    @flowtx.workflow
    async def buy(tx: flowtx.Tx) -> None:
        await tx.tcc(act, tell, take_back, 7)

    run = play(buy)
    run.refuse("0", flowtx.Refused("no"))
    assert run.waiting == ["0/c"]


def test_a_try_that_was_given_up_is_cancelled_even_when_the_run_succeeds(play: Begin) -> None:
    @flowtx.workflow
    async def buy(tx: flowtx.Tx) -> str:
        with tx.move_on_after(5):
            await tx.tcc(act, tell, take_back, 7)
        return "without it"

    run = play(buy)
    run.fire("0")
    assert run.waiting == ["1/c"]
    assert isinstance(run.asked("1/c").command, Compensate)
    assert run.asked("1/c").command.result is None
    run.replay()
    run.succeed("1/c")
    assert ended(run) == "succeed"


def test_what_compensations_failed_with_joins_the_group_of_a_run_that_is_stopped_by_force(play: Begin) -> None:
    @flowtx.workflow
    async def order(tx: flowtx.Tx) -> None:
        await tx.step(act, 1, compensate=take_back)
        raise flowtx.Abort("no")

    run = play(order)
    run.succeed("0")
    fault(run, "0/c", ValueError("the bank is closed"))
    run.feed("", Stopped(reason="enough"))
    group = cast("ExceptionGroup[Exception]", decode_error(run.kernel.ended.error))
    assert [str(member) for member in group.exceptions] == ["Stopped: enough", "the bank is closed"]


@pytest.mark.parametrize("word", ["message", "compensate"])
def test_arguments_that_do_not_fit_are_refused_where_they_are_passed(play: Begin, word: str) -> None:
    @flowtx.workflow
    async def order(tx: flowtx.Tx) -> None:
        getattr(tx, word)(act, "no number")

    run = play(order)
    assert "act" in run.kernel.ended.error.text


def test_who_stops_a_run_whose_end_is_not_written_yet_is_obeyed(play: Begin) -> None:
    """Its word stands in the journal, and the end that the run had come to never will."""

    @flowtx.workflow
    async def order(tx: flowtx.Tx) -> str:
        await tx.step(act, 1)
        return "done"

    run = play(order)
    run.succeed("0")
    assert ended(run) == "succeed"
    run.feed("", Stopped(reason="enough"))
    assert ended(run) == "failed"
    run.replay()
    assert ended(run) == "failed"
