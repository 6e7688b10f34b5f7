"""Savepoints, changes of code, updates and restarts in the kernel."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import msgspec
import pytest

import flowtx
from flowtx_engine.kernel.events import Began, Cancelled, Changed, Ended, Event, Kept, Returned, Signalled, Updated
from flowtx_engine.kernel.kernel import Kernel
from flowtx_engine.kernel.tasks import name_of, payload_of

Begin = Callable[[flowtx.Workflow[..., Any]], Any]


def act(what: int) -> int:
    return what


def other(what: int) -> None: ...


def take_back(what: int) -> None: ...


def value_of(play: Any) -> object:
    assert play.kernel.ended is not None, play.kernel
    return msgspec.json.decode(play.kernel.ended.value)


# -- savepoints


def test_a_savepoint_takes_back_what_was_done_inside_when_it_raises(play: Begin) -> None:
    @flowtx.workflow
    async def trip(tx: flowtx.Tx) -> str:
        await tx.step(act, 0, compensate=take_back)
        try:
            async with tx.savepoint():
                await tx.step(act, 1, compensate=take_back)
                async with tx.open_nursery() as nursery:
                    nursery.start_step(act, 2, compensate=take_back)
                tx.message(other, 3)
                await tx.step(act, 4)
        except flowtx.Refused:
            await tx.step(act, 5)
        return "went on"

    run = play(trip)
    run.succeed("0", "1", "2/0/0")
    run.refuse("4", flowtx.Refused("full"))
    assert run.waiting == ["2/0/0/c"]
    run.succeed("2/0/0/c")
    run.replay()
    assert run.waiting == ["1/c"]
    run.succeed("1/c")
    assert run.waiting == ["6"], "the scope of the way back takes number 5"
    run.succeed("6")
    assert value_of(run) == "went on"
    run.replay()


def test_what_a_savepoint_took_back_is_not_taken_back_again(play: Begin) -> None:
    @flowtx.workflow
    async def trip(tx: flowtx.Tx) -> None:
        await tx.step(act, 0, compensate=take_back)
        async with tx.savepoint():
            await tx.step(act, 1, compensate=take_back)
            raise flowtx.Abort("no")

    run = play(trip)
    run.succeed("0", "1")
    run.succeed("1/c")
    assert run.waiting == ["0/c"]
    run.succeed("0/c")
    assert run.kernel.ended.status == "failed"


def test_a_savepoint_that_does_not_raise_leaves_everything_due(play: Begin) -> None:
    @flowtx.workflow
    async def trip(tx: flowtx.Tx) -> None:
        async with tx.savepoint():
            await tx.step(act, 0, compensate=take_back)
        raise flowtx.Abort("no")

    run = play(trip)
    run.succeed("0")
    assert run.waiting == ["0/c"]


def test_cancelling_does_not_stop_a_savepoint_on_its_way_back(play: Begin) -> None:
    @flowtx.workflow
    async def trip(tx: flowtx.Tx) -> None:
        async with tx.savepoint():
            await tx.step(act, 0, compensate=take_back)
            await tx.step(act, 1)

    run = play(trip)
    run.succeed("0")
    run.refuse("1", flowtx.Refused("no"))
    run.cancel("enough")
    assert run.waiting == ["0/c"]
    run.succeed("0/c")
    assert run.kernel.ended.status == "failed"
    run.replay()


# -- changes


def began(seq: int = 0) -> Event:
    return Event(seq=seq, at=0.0, address="", fact=Began(workflow="fees"))


@flowtx.workflow(name="fees")
async def with_fees(tx: flowtx.Tx) -> str:
    word = await tx.signal("go", type=str)
    if tx.changed("fees"):
        await tx.step(other, 1)
    await tx.step(act, 1)
    return word


def go(*, is_unheard: bool) -> Event:
    fact = Signalled(name="go", value=msgspec.Raw(b'"go"'), is_unheard=is_unheard)
    return Event(seq=1, at=1.0, address="", fact=fact)


def fed(events: list[Event]) -> Kernel:
    kernel = Kernel(with_fees, b"[]", gid="g", recorded=events)
    for event in events:
        kernel.feed(event)
    return kernel


def test_a_run_that_was_past_the_change_keeps_its_old_way() -> None:
    kernel = fed([began(), go(is_unheard=False)])
    assert name_of(kernel.waiting[0].command) == "act"
    assert [asked.address for asked in kernel.waiting] == ["0"]
    assert kernel.next_note() is None
    kernel.close()


@pytest.mark.parametrize("is_live", [True, False])
def test_a_run_that_comes_there_later_takes_the_new_way_and_writes_that_down(is_live: bool) -> None:
    if is_live:
        kernel = Kernel(with_fees, b"[]", gid="g")
        kernel.feed(began())
        kernel.feed(go(is_unheard=False))
    else:  # written past the driver: no code has seen the signal yet
        kernel = fed([began(), go(is_unheard=True)])
    assert kernel.next_note() == Changed(change="fees")
    assert name_of(kernel.waiting[0].command) == "other"
    note = Event(seq=2, at=1.0, address="", fact=Changed(change="fees"))
    kernel.feed(note)
    assert kernel.next_note() is None
    kernel.close()
    again = fed([began(), go(is_unheard=not is_live), note])
    assert (name_of(again.waiting[0].command), again.next_note()) == ("other", None)
    again.close()


# -- updates and queries


@flowtx.workflow
async def basket(tx: flowtx.Tx) -> list[str]:
    items: list[str] = []
    tx.expose("items", lambda: list(items))

    def count(start: int) -> int:
        return start + len(items)

    tx.expose("count", count)

    def not_too_long(item: str) -> None:
        if len(item) > 5:
            raise flowtx.Refused(f"{item} is too long")

    tx.guard("add", not_too_long, type=str)
    while len(items) < 2:
        update = await tx.update("add", type=str)
        if update.value in items:
            update.refuse("it is there already")
            continue
        await tx.step(act, 1)
        items.append(update.value)
        update.answer(len(items))
    return items


def add(play: Any, item: object, key: str) -> None:
    play.feed("", Updated(name="add", key=key, value=msgspec.Raw(msgspec.json.encode(item))))


def test_an_update_is_answered_when_the_workflow_says_so(play: Begin) -> None:
    run = play(basket)
    add(run, "pen", "k1")
    assert run.kernel.answered_count == 0
    assert run.kernel.dialogue.query("items", ()) == b"[]"
    run.succeed("0")
    assert bytes(run.kernel.dialogue.answers["k1"].value) == b"1"
    add(run, "pen", "k1")
    assert run.waiting == [], "the same key is the same update"
    add(run, "pen", "k2")
    assert run.kernel.dialogue.answers["k2"].error.text == "it is there already"
    assert run.kernel.dialogue.query("count", (10,)) == b"11"
    again = run.replay()
    assert again.dialogue.query("items", ()) == b'["pen"]'
    assert again.answered_count == 2


def test_a_guard_refuses_what_does_not_fit_and_what_it_raises_for(play: Begin) -> None:
    run = play(basket)
    with pytest.raises(flowtx.Refused, match="too long"):
        run.kernel.dialogue.check("add", b'"umbrella"')
    with pytest.raises(flowtx.PayloadError, match="update add does not fit str"):
        run.kernel.dialogue.check("add", b"3")
    run.kernel.dialogue.check("add", b'"pen"')
    run.kernel.dialogue.check("other", b"3")


def test_a_query_of_nothing_that_is_exposed_says_what_is(play: Begin) -> None:
    run = play(basket)
    with pytest.raises(flowtx.QueryError, match="it exposes count, items"):
        run.kernel.dialogue.query("price", ())
    with pytest.raises(flowtx.QueryError, match="could not answer"):
        run.kernel.dialogue.query("count", ())


# -- children, as they see it


def child(workflow: flowtx.Workflow[..., Any]) -> Kernel:
    kernel = Kernel(workflow, b"[]", gid="g")
    kernel.feed(Event(seq=0, at=0.0, address="", fact=Began(workflow=workflow.name, parent="p")))
    return kernel


@flowtx.workflow
async def part(tx: flowtx.Tx) -> int:
    tx.compensate(take_back, 1)
    tx.message(other, 2)
    return 7


@pytest.mark.parametrize(
    ("word", "address", "status"), [(Kept(), "1/m", "succeed"), (Cancelled(reason="no"), "0/c", "failed")]
)
def test_a_child_waits_for_its_parents_word(word: Kept | Cancelled, address: str, status: str) -> None:
    kernel = child(part)
    assert (kernel.phase, kernel.status, kernel.ended) == ("held", "submitted", None)
    assert kernel.next_note() == Returned(value=msgspec.Raw(b"7"))
    kernel.feed(Event(seq=1, at=0.0, address="", fact=Returned(value=msgspec.Raw(b"7"))))
    kernel.feed(Event(seq=2, at=0.0, address="", fact=word))
    (asked,) = kernel.waiting
    assert asked.address == address
    kernel.close()


# -- restarts


def test_a_run_that_restarts_ends_its_journal_with_the_beginning_of_the_next(play: Begin) -> None:
    @flowtx.workflow
    async def loop(tx: flowtx.Tx, round: int = 0) -> None:
        await tx.step(act, round, compensate=take_back)
        tx.message(other, round)
        tx.restart(round + 1)

    run = play(loop)
    run.feed("", Signalled(name="later", value=msgspec.Raw(b"3"), key="k"))
    run.succeed("0")
    assert run.waiting == ["1/m"]
    run.succeed("1/m")
    assert (run.kernel.phase, run.kernel.next_note()) == ("restarting", None)
    first, second = run.kernel.beginning
    assert first == Began(workflow="loop", input=msgspec.Raw(b"[1]"), heard=("k",))
    assert second == Signalled(name="later", value=msgspec.Raw(b"3"))
    fresh = Kernel(loop, b"[0]", gid="g")
    fresh.feed(Event(seq=4, at=9.0, address="", fact=first))
    assert payload_of(fresh.waiting[0].command) == b"[1]"
    assert (fresh.next_seq, fresh.event_count) == (5, 1)
    fresh.close()


def test_a_restart_out_of_a_nursery_cancels_its_branches(play: Begin) -> None:
    @flowtx.workflow
    async def loop(tx: flowtx.Tx, round: int = 0) -> None:
        async with tx.open_nursery() as nursery:
            nursery.start_soon(tx.sleep, 1000)
            await tx.step(act, round)
            tx.restart(round + 1)

    run = play(loop)
    run.succeed("1")
    assert run.kernel.phase == "restarting"


def test_input_that_does_not_fit_is_refused_where_the_restart_is_asked(play: Begin) -> None:
    @flowtx.workflow
    async def loop(tx: flowtx.Tx, round: int = 0) -> None:
        tx.restart("one")

    run = play(loop)
    assert isinstance(run.kernel.ended, Ended)
    assert "round" in str(run.kernel.ended.error)
