"""Nurseries, scopes and deadlines in the kernel: addresses, replay, compensation, and what is refused."""

from __future__ import annotations

import contextlib
import gc
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest

import flowtx
from flowtx_dsl.commands import Compensate
from flowtx_dsl.error_codec import decode_error
from flowtx_engine.kernel import loop
from flowtx_engine.kernel.events import Began, Event
from flowtx_engine.kernel.kernel import Kernel

Begin = Callable[[flowtx.Workflow[..., Any]], Any]


def act(what: int) -> int:
    return what


def other(what: int) -> None: ...


def take_back(what: int) -> None: ...


def cause_of(play: Any) -> BaseException:
    assert play.kernel.ended is not None
    assert play.kernel.ended.error is not None
    return decode_error(play.kernel.ended.error)


# ---------------------------------------------------------------------------------------------------- addresses


def test_an_address_is_the_place_in_the_task_tree(play: Begin) -> None:
    @flowtx.workflow
    async def tree(tx: flowtx.Tx) -> None:
        async def inner() -> None:
            async with tx.open_nursery() as nursery:
                nursery.start_step(act, 1)
            await tx.step(act, 2)

        await tx.step(act, 0)
        async with tx.open_nursery() as nursery:
            nursery.start_soon(inner)
            nursery.start_step(act, 3)
            await tx.step(act, 4)

    run = play(tree)
    assert run.waiting == ["0"]
    run.succeed("0")
    assert run.waiting == ["2", "1/1/0", "1/0/0/0/0"]
    run.succeed("1/0/0/0/0")
    assert run.waiting == ["2", "1/1/0", "1/0/1"]


def test_who_starts_a_branch_numbers_it_and_no_timing_moves_that(play: Begin) -> None:
    @flowtx.workflow
    async def started_by_others(tx: flowtx.Tx) -> None:
        async def start(nursery: flowtx.Nursery, first: int) -> None:
            await tx.step(act, first)
            nursery.start_step(act, first + 1)

        async with tx.open_nursery() as nursery:
            nursery.start_soon(start, nursery, 10)
            nursery.start_soon(start, nursery, 20)

    one, two = play(started_by_others), play(started_by_others)
    one.succeed("0/0/0", "0/1/0")
    two.succeed("0/1/0", "0/0/0")
    assert one.waiting == ["0/0.0.1/0", "0/0.1.1/0"]
    assert two.waiting == ["0/0.1.1/0", "0/0.0.1/0"]


def test_when_a_cancellation_comes_moves_no_address(play: Begin) -> None:
    @flowtx.workflow
    async def cancelled(tx: flowtx.Tx) -> None:
        async def work(scope: flowtx.CancelScope) -> None:
            with scope:
                await tx.step(act, 1)
                await tx.step(act, 2)
            await tx.step(act, 3)

        scope = tx.CancelScope()
        async with tx.open_nursery() as nursery:
            nursery.start_soon(work, scope)
            await tx.step(act, 0)
            scope.cancel()

    early = play(cancelled)
    early.succeed("1")
    assert early.orders == ["<Abandoned 0/0/1>", "<Asked 0/0/2 act>"], "it never came to ask for its second step"
    late = play(cancelled)
    late.succeed("0/0/1", "1")
    assert late.orders == ["<Abandoned 0/0/2>", "<Asked 0/0/3 act>"]


# ---------------------------------------------------------------------------------------------------- replay


def test_steps_of_one_name_that_end_in_any_order_replay_right(play: Begin) -> None:
    seen: list[dict[int, int]] = []

    @flowtx.workflow
    async def race(tx: flowtx.Tx) -> None:
        results: dict[int, int] = {}
        seen.append(results)

        async def branch(i: int) -> None:
            results[i] = await tx.step(act, 7)

        async with tx.open_nursery() as nursery:
            for i in range(3):
                nursery.start_soon(branch, i)

    run = play(race)
    for i in (2, 0, 1):
        run.succeed(f"0/{i}/0", value=i * 100)
        run.replay()
    assert all(list(results.items()) == list(seen[0].items())[: len(results)] for results in seen)
    assert seen[0] == {2: 200, 0: 0, 1: 100}


def test_an_error_of_a_branch_replays_equal(play: Begin) -> None:
    caught: list[list[str]] = []

    @flowtx.workflow
    async def fails(tx: flowtx.Tx) -> None:
        try:
            async with tx.open_nursery() as nursery:
                nursery.start_step(act, 1)
                nursery.start_step(act, 2)
                nursery.start_step(act, 3)
        except* flowtx.Refused as group:
            caught.append([repr(error) for error in group.exceptions])
            raise

    run = play(fails)
    run.succeed("0/0/0", value=1)
    run.refuse("0/2/0", flowtx.Refused("no room"))
    assert run.orders == ["<Abandoned 0/1/0>"]
    run.replay()
    assert caught == [["Refused('no room')"]] * 2


def test_dice_of_branches_fall_the_same_whoever_comes_first(play: Begin) -> None:
    thrown: list[tuple[int, float]] = []

    @flowtx.workflow
    async def throws(tx: flowtx.Tx) -> None:
        async def branch(i: int) -> None:
            await tx.step(act, i)
            thrown.append((i, tx.random.random()))

        async with tx.open_nursery() as nursery:
            for i in range(2):
                nursery.start_soon(branch, i)

    play(throws).succeed("0/0/0", "0/1/0", value=1)
    play(throws).succeed("0/1/0", "0/0/0", value=1)
    assert sorted(thrown[:2]) == sorted(thrown[2:])
    assert thrown[0][1] != thrown[1][1]


def test_a_finally_that_waits_performs_nothing_when_a_run_is_dropped(play: Begin) -> None:
    told: list[str] = []

    @flowtx.workflow
    async def cleans_up(tx: flowtx.Tx) -> None:
        event = tx.Event()

        async def branch() -> None:
            try:
                await event.wait()
            finally:
                try:
                    await tx.step(other, 1)
                except flowtx.RunClosed:
                    told.append("branch")
                    raise

        try:
            async with tx.open_nursery() as nursery:
                nursery.start_soon(branch)
                with tx.move_on_after(5):
                    await tx.step(act, 1)
        finally:
            try:
                await tx.checkpoint()
            except flowtx.RunClosed:
                told.append("workflow")
                raise

    run = play(cleans_up)
    waiting = run.waiting
    run.kernel.close()
    gc.collect()
    assert sorted(told) == ["branch", "workflow"]
    assert run.waiting == waiting, "a drop is not a cancellation: nothing was asked and nothing given up"


# ---------------------------------------------------------------------------------------------------- compensation


def test_branches_are_taken_back_in_parallel_and_each_newest_first(play: Begin) -> None:
    @flowtx.workflow
    async def works(tx: flowtx.Tx) -> None:
        async def branch(first: int) -> None:
            await tx.step(act, first, compensate=take_back)
            await tx.step(act, first + 1, compensate=take_back)

        await tx.step(act, 0, compensate=take_back)
        async with tx.open_nursery() as nursery:
            nursery.start_soon(branch, 10)
            nursery.start_soon(branch, 20)
        await tx.step(act, 30, compensate=take_back)
        raise flowtx.Abort("no")

    run = play(works)
    run.succeed("0", "1/0/0", "1/1/0", "1/1/1", "1/0/1", "2", value=1)
    assert run.waiting == ["2/c"]
    run.replay()
    run.succeed("2/c")
    assert sorted(run.waiting) == ["1/0/1/c", "1/1/1/c"]
    run.succeed("1/1/1/c", "1/1/0/c")
    assert run.waiting == ["1/0/1/c"], "the parent's own waits for every branch"
    run.cancel("hurry")
    assert run.orders == [], "nothing cancels a compensation"
    run.succeed("1/0/1/c", "1/0/0/c")
    assert run.waiting == ["0/c"]
    run.replay()
    run.succeed("0/c")
    assert run.kernel.ended is not None


def test_a_step_that_was_given_up_stays_due_with_an_unknown_result(play: Begin) -> None:
    @flowtx.workflow
    async def gives_up(tx: flowtx.Tx) -> None:
        with tx.move_on_after(5):
            await tx.step(act, 1, compensate=take_back)
        await tx.step(act, 2, compensate=take_back)
        raise flowtx.Abort("no")

    run = play(gives_up)
    run.fire("0")
    assert run.orders == ["<Abandoned 1>", "<Asked 2 act>"]
    run.succeed("2", value=2)
    run.succeed("2/c")
    command = run.asked("1/c").command
    assert isinstance(command, Compensate)
    assert command.result is None


def test_a_step_that_was_given_up_before_it_left_the_kernel_never_happened(play: Begin) -> None:
    @flowtx.workflow
    async def changes_its_mind(tx: flowtx.Tx) -> None:
        async with tx.open_nursery() as nursery:
            nursery.start_step(act, 1, compensate=take_back)
            await tx.checkpoint()
            nursery.cancel_scope.cancel()
        raise flowtx.Abort("no")

    run = play(changes_its_mind)
    assert run.orders == []
    assert isinstance(cause_of(run), flowtx.Abort), "there was nothing to take back"


# ---------------------------------------------------------------------------------------------------- scopes


def test_a_deadline_is_an_instant_that_a_replay_keeps(play: Begin) -> None:
    @flowtx.workflow
    async def in_time(tx: flowtx.Tx) -> str:
        with tx.move_on_after(10) as scope:
            await tx.step(act, 1)
            assert scope.deadline == tx.now() + timedelta(seconds=10)
            scope.deadline = tx.now() + timedelta(seconds=15)
            await tx.step(act, 2)
        return "moved on" if scope.cancelled_caught else "done"

    run = play(in_time)
    assert run.asked("0").command.until_at == 10
    run.succeed("1", value=1)
    assert run.orders == ["<Abandoned 0>", "<Asked 2 deadline>", "<Asked 3 act>"]
    run.replay()
    assert run.asked("2").command.until_at == 15
    run.fire("2")
    assert bytes(run.kernel.ended.value) == b'"moved on"'


def test_a_deadline_that_has_passed_cancels_at_once_and_asks_for_no_timer(play: Begin) -> None:
    @flowtx.workflow
    async def too_late(tx: flowtx.Tx) -> bool:
        with tx.move_on_at(tx.now() - timedelta(seconds=1)) as scope:
            await tx.step(act, 1)
        return scope.cancelled_caught

    run = play(too_late)
    assert run.orders == []
    assert bytes(run.kernel.ended.value) == b"true"


def test_fail_after_raises_too_slow(play: Begin) -> None:
    @flowtx.workflow
    async def slow(tx: flowtx.Tx) -> None:
        with tx.fail_after(5):
            await tx.step(act, 1)

    run = play(slow)
    run.fire("0")
    assert isinstance(cause_of(run), flowtx.TooSlowError)
    assert "1970-01-01 00:00:05" in str(cause_of(run))


def test_cancelling_a_run_waits_for_what_is_shielded_and_keeps_the_reason(play: Begin) -> None:
    @flowtx.workflow
    async def shielded(tx: flowtx.Tx) -> None:
        try:
            async with tx.open_nursery() as nursery:
                nursery.start_step(act, 1)
        finally:
            with tx.CancelScope(shield=True):
                await tx.step(other, 2)

    run = play(shielded)
    run.cancel("changed my mind")
    assert run.orders == ["<Abandoned 0/0/0>", "<Asked 2 other>"]
    run.succeed("2", value=None)
    assert repr(cause_of(run)) == "Cancelled('changed my mind')"


def test_the_first_of_several_wins_a_race(play: Begin) -> None:
    @flowtx.workflow
    async def first_of(tx: flowtx.Tx) -> int:
        won: list[int] = []

        async def run_for_it(nursery: flowtx.Nursery, i: int) -> None:
            won.append(await tx.step(act, i, compensate=take_back))
            nursery.cancel_scope.cancel()

        async with tx.open_nursery() as nursery:
            for i in range(3):
                nursery.start_soon(run_for_it, nursery, i)
        return won[0]

    run = play(first_of)
    run.succeed("0/1/0", value=41)
    assert run.orders == ["<Abandoned 0/0/0>", "<Abandoned 0/2/0>"]
    assert bytes(run.kernel.ended.value) == b"41"


def test_a_shield_that_goes_up_before_a_cancellation_is_felt_holds_at_a_channel(play: Begin) -> None:
    # trio fails an assertion of its own here: "this should never happen", in checkpoint_if_cancelled.
    @flowtx.workflow
    async def shielded_in_time(tx: flowtx.Tx) -> int:
        send, receive = tx.open_memory_channel[int](1)
        with tx.CancelScope() as outer:
            async with tx.open_nursery() as nursery:

                async def shield() -> None:
                    nursery.cancel_scope.shield = True
                    await send.send(7)

                outer.cancel()
                nursery.start_soon(shield)
                return await receive.receive()
        return 0

    assert bytes(play(shielded_in_time).kernel.ended.value) == b"7"


# ---------------------------------------------------------------------------------------------------- refusals


def test_a_nursery_that_has_ended_takes_no_branches(play: Begin) -> None:
    @flowtx.workflow
    async def late(tx: flowtx.Tx) -> None:
        async with tx.open_nursery() as nursery:
            pass
        nursery.start_step(act, 1)

    error = cause_of(play(late))
    assert isinstance(error, flowtx.WorkflowError)
    assert "Nursery is closed to new arrivals" in str(error)


def test_the_nursery_scope_event_and_channel_of_another_run_are_refused(play: Begin) -> None:
    kept: dict[str, Any] = {}

    @flowtx.workflow
    async def lends(tx: flowtx.Tx) -> None:
        kept["event"], (kept["send"], kept["receive"]) = tx.Event(), tx.open_memory_channel(1)
        async with tx.open_nursery() as kept["nursery"]:
            await tx.step(act, 1)

    words: list[Callable[[], object]] = [
        lambda: kept["nursery"].start_step(act, 1),
        lambda: kept["nursery"].cancel_scope.cancel(),
        lambda: kept["event"].set(),
        lambda: kept["send"].send_nowait(1),
        lambda: kept["receive"].receive_nowait(),
        lambda: kept["send"].close(),
    ]

    @flowtx.workflow
    async def borrows(tx: flowtx.Tx) -> None:
        for word in words:
            with pytest.raises(flowtx.RunClosed, match="used outside its workflow"):
                word()

    lender = play(lends)
    assert play(borrows).kernel.ended.status == "succeed"
    assert lender.waiting == ["1"]


def test_what_is_no_async_helper_or_no_step_is_refused_where_it_is_started(play: Begin) -> None:
    @flowtx.workflow
    async def starts_badly(tx: flowtx.Tx) -> None:
        async with tx.open_nursery() as nursery:
            with pytest.raises(flowtx.WorkflowError, match="takes an async helper"):
                nursery.start_soon(act, 1)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]  # the point
            with pytest.raises(flowtx.WorkflowError, match="takes 1 argument"):
                nursery.start_step(act)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]  # the point
        scope = tx.CancelScope()
        with scope:
            pass
        with pytest.raises(flowtx.WorkflowError, match="entered twice"), scope:
            pass
        for wrong in (-1, 0.5, "1"):
            with pytest.raises(flowtx.WorkflowError, match="expected a whole number"):
                tx.open_memory_channel(wrong)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]  # the point

    assert play(starts_badly).kernel.ended.status == "succeed"


def test_scopes_that_are_left_in_the_wrong_order_say_so(play: Begin) -> None:
    @flowtx.workflow
    async def misnests(tx: flowtx.Tx) -> None:
        outer, inner = tx.CancelScope(), tx.CancelScope()
        outer.__enter__()
        inner.__enter__()
        outer.__exit__(None, None, None)

    error = cause_of(play(misnests))
    assert isinstance(error, flowtx.WorkflowError)
    assert "before one inside it" in str(error)


def test_a_task_that_never_waits_is_closed(play: Begin, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(loop, "TURNS_MAX", 1_000)

    @flowtx.workflow
    async def swallows(tx: flowtx.Tx) -> None:
        while True:
            with contextlib.suppress(flowtx.Cancelled):
                await tx.step(act, 1)

    run = play(swallows)
    run.cancel("enough")
    assert isinstance(cause_of(run), flowtx.WorkflowError)
    assert "goes on and on" in str(cause_of(run))


def test_a_foreign_wait_in_a_branch_is_refused(play: Begin) -> None:
    import trio  # noqa: PLC0415 - the point: a workflow must not wait for it

    @flowtx.workflow
    async def waits_for_trio(tx: flowtx.Tx) -> None:
        async def branch() -> None:
            await trio.lowlevel.wait_task_rescheduled(lambda _: trio.lowlevel.Abort.SUCCEEDED)

        async with tx.open_nursery() as nursery:
            nursery.start_soon(branch)

    error = cause_of(play(waits_for_trio))
    assert "ForeignAwaitError" in repr(error)


def test_a_run_that_is_forgotten_and_never_closed_disturbs_nobody() -> None:
    @flowtx.workflow
    async def forgotten(tx: flowtx.Tx) -> None:
        send, _ = tx.open_memory_channel[int](0)
        with send, tx.move_on_after(5):
            async with tx.open_nursery():
                await tx.step(act, 1)

    kernel = Kernel(forgotten, b"[]", gid="g")
    kernel.feed(Event(seq=0, at=0.0, address="", fact=Began(workflow="forgotten")))
    del kernel
    gc.collect()  # an error in there would be a warning, and a warning is an error
