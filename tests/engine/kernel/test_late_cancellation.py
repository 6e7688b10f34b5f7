"""Cancellations at the edge: deadlines that have passed when they are set, and shields that come before the delivery.

The smallest programs in which the kernel once differed from trio; tests/properties/test_kernel_against_trio.py finds
more of their kind.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from datetime import timedelta
from typing import Any

import flowtx

Begin = Callable[[flowtx.Workflow[..., Any]], Any]


def test_a_deadline_that_has_passed_is_felt_at_the_next_checkpoint_and_needs_no_event(play: Begin) -> None:
    seen: list[str] = []

    @flowtx.workflow
    async def late(tx: flowtx.Tx) -> None:
        with tx.CancelScope() as scope:
            scope.deadline = tx.now() - timedelta(seconds=1)
            seen.append("goes on")
            await tx.checkpoint()
            seen.append("is not reached")
        seen.append(f"caught {scope.cancelled_caught}")

    run = play(late)
    assert seen == ["goes on", "caught True"]
    assert run.orders == [], "nobody outside is asked for a timer"
    assert run.kernel.ended is not None


def test_a_nursery_feels_a_deadline_of_now_when_its_block_ends(play: Begin) -> None:
    seen: list[bool] = []

    @flowtx.workflow
    async def late(tx: flowtx.Tx) -> None:
        async with tx.open_nursery() as nursery:
            nursery.cancel_scope.deadline = tx.now()
        seen.append(nursery.cancel_scope.cancel_called)

    play(late)
    assert seen == [True]


def test_a_deadline_that_has_passed_is_forgotten_when_it_is_changed_before_anybody_felt_it(play: Begin) -> None:
    seen: list[bool] = []

    @flowtx.workflow
    async def corrected(tx: flowtx.Tx) -> None:
        with tx.CancelScope() as scope:
            scope.deadline = tx.now() - timedelta(seconds=1)
            scope.deadline = None
            await tx.checkpoint()
        seen.append(scope.cancel_called)
        with tx.CancelScope() as left:
            left.deadline = tx.now() - timedelta(seconds=1)
        await tx.checkpoint()
        seen.append(left.cancel_called)

    play(corrected)
    assert seen == [False, False]


def test_a_sleep_of_no_time_is_a_timer_and_not_a_mere_checkpoint(play: Begin) -> None:
    @flowtx.workflow
    async def sleeps(tx: flowtx.Tx) -> None:
        await tx.sleep(0)

    run = play(sleeps)
    assert run.waiting == ["0"]
    run.fire("0")
    assert run.kernel.ended is not None


def test_setting_a_shield_looks_at_the_deadline(play: Begin) -> None:
    seen: list[bool] = []

    @flowtx.workflow
    async def shielded(tx: flowtx.Tx) -> None:
        with tx.CancelScope() as scope:
            scope.deadline = tx.now() - timedelta(seconds=1)
            scope.shield = False
        seen.append(scope.cancel_called)

    play(shielded)
    assert seen == [True]


def test_deadlines_that_have_passed_come_the_earliest_first(play: Begin) -> None:
    seen: list[str] = []

    @flowtx.workflow
    async def several(tx: flowtx.Tx) -> None:
        async def waits(name: str, seconds: float) -> None:
            with tx.CancelScope() as scope:
                scope.deadline = tx.now() - timedelta(seconds=seconds)
                await tx.Event().wait()
            seen.append(name)

        async with tx.open_nursery() as nursery:
            nursery.start_soon(waits, "late", 1)
            nursery.start_soon(waits, "early", 2)

    play(several)
    assert seen == ["early", "late"]


async def held_off(tx: flowtx.Tx, wait: Callable[[], Awaitable[object]], seen: list[str]) -> None:
    """``wait`` is cancelled from outside, and a shield goes up before it has felt that."""
    with tx.CancelScope() as outside, tx.CancelScope() as inside:

        async def cancelled() -> None:
            await wait()
            seen.append("went on")

        async with tx.open_nursery() as nursery:
            outside.cancel()
            nursery.start_soon(cancelled)
            with tx.CancelScope(shield=True):
                await tx.checkpoint()
                await tx.checkpoint()  # now the cancellation is on its way
                inside.shield = True


def test_a_checkpoint_forgets_a_cancellation_that_a_shield_holds_off_before_it_arrives(play: Begin) -> None:
    seen: list[str] = []

    @flowtx.workflow
    async def checkpoints(tx: flowtx.Tx) -> None:
        await held_off(tx, tx.checkpoint, seen)

    play(checkpoints)
    assert seen == ["went on"]


def test_a_channel_goes_on_when_a_shield_holds_a_cancellation_off_before_it_arrives(play: Begin) -> None:
    """As ``checkpoint``; trio 0.35 fails an assertion of its own here ("this should never happen")."""
    seen: list[str] = []

    @flowtx.workflow
    async def sends(tx: flowtx.Tx) -> None:
        send, receive = tx.open_memory_channel[int](1)
        await held_off(tx, lambda: send.send(1), seen)
        seen.append(f"received {await receive.receive()}")

    play(sends)
    assert seen == ["went on", "received 1"]
