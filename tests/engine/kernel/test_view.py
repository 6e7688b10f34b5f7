"""What a run waits for, as a person sees it: every kind of waiting, at its place in the tree and with its line."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Protocol

import pytest

import flowtx
from flowtx_dsl import structured
from flowtx_dsl.error_codec import encode_error
from flowtx_dsl.workflow import AnyWorkflow
from flowtx_engine.kernel.events import Attempted, Event
from flowtx_engine.kernel.kernel import Kernel
from flowtx_engine.kernel.tasks import Asked
from flowtx_engine.kernel.view import NurseryView, RunView, TaskView, Waiting, view_of, view_of_journal


class Play(Protocol):
    """What the tests use of the play in ``conftest.py``."""

    kernel: Kernel
    events: list[Event]

    def feed(self, address: str, fact: object, *, at: float = 0.0) -> None: ...
    def succeed(self, *addresses: str, value: object = 1) -> None: ...
    def refuse(self, address: str, error: Exception) -> None: ...
    def asked(self, address: str) -> Asked: ...


Begin = Callable[[AnyWorkflow], Play]


def line_of(fn: Callable[..., object], text: str) -> str:
    """Where a text stands in a function's source."""
    lines, first = inspect.getsourcelines(inspect.unwrap(fn))
    (number,) = [i for i, line in enumerate(lines, first) if text in line]
    return f"test_view.py:{number}"


async def pay(name: str) -> int:
    return 1


async def pay_back(name: str) -> None: ...


async def branch(tx: flowtx.Tx, name: str) -> None:
    await tx.step(pay, name, compensate=pay_back)
    await tx.sleep(60)


async def listen(tx: flowtx.Tx, event: structured.Event) -> None:
    await event.wait()  # the event


@flowtx.workflow
async def everything(tx: flowtx.Tx) -> None:
    event = tx.Event()
    into, out = tx.open_memory_channel[int](0)
    async with tx.open_nursery() as nursery:  # the outer one
        nursery.start_soon(branch, tx, "ann")
        nursery.start_step(pay, "bob")
        nursery.start_soon(listen, tx, event)
        nursery.start_soon(out.receive)
        nursery.start_soon(tx.checkpoint)
        with tx.move_on_after(100):  # the deadline
            async with tx.open_nursery() as inner:
                inner.start_soon(branch, tx, "inner")
        await tx.signal("go")  # the signal
    await into.send(1)


def waiting_at(view: RunView, address: str) -> Waiting:
    """What is waited for under an address."""
    (found,) = [one for one in view.waiting if one.address == address]
    return found


def test_every_task_says_what_it_waits_for_and_where(play: Begin) -> None:
    run = play(everything)
    view = view_of(run.kernel, in_flight={"0/1/0"})
    assert view.phase == "running"
    (root,) = view.tasks
    assert root.waits_for == Waiting(
        kind="task", what="nursery 2", where=line_of(everything, "async with tx.open_nursery() as inner")
    )
    outer, inner = root.nurseries
    assert (outer.address, outer.where) == ("0", line_of(everything, "the outer one"))
    told = [(task.address, task.name, task.waits_for and task.waits_for.what) for task in outer.branches]
    assert told == [
        ("0/0", "branch", "pay(name='ann')"),
        ("0/1", "", "pay(name='bob')"),
        ("0/2", "listen", "an event"),
        ("0/3", "", "a value from a channel"),
    ]
    assert waiting_at(view, "0/0/0").where == line_of(branch, "tx.step")
    assert waiting_at(view, "0/1/0").is_on_its_way
    event = outer.branches[2].waits_for
    assert event is not None
    assert event.where == line_of(listen, "# the event")
    assert [task.address for task in inner.branches] == ["2/0"]
    (deadline,) = view.deadlines
    assert (deadline.kind, deadline.where, deadline.due_at) == ("deadline", line_of(everything, "the deadline"), 100.0)


def test_it_follows_the_run_through_attempts_sleeps_and_signals(play: Begin) -> None:
    run = play(everything)
    error = encode_error(ValueError("no money\nin the house"))
    fact = Attempted(
        call=run.asked("2/0/0").record, outcome="unknown", error=error, attempt=3, fault_count=3, retry_at=7.5
    )
    run.feed("2/0/0", fact)
    tried = waiting_at(view_of(run.kernel), "2/0/0")
    assert (tried.attempt_count, tried.due_at, tried.error) == (3, 7.5, "ValueError: no money")
    run.succeed("2/0/0")
    asleep = waiting_at(view_of(run.kernel), "2/0/1")
    assert (asleep.kind, asleep.where) == ("sleep", line_of(branch, "tx.sleep"))


@flowtx.workflow
async def turned_round(tx: flowtx.Tx) -> None:
    async with tx.open_nursery() as nursery:
        nursery.start_step(pay, "a", compensate=pay_back)
        nursery.start_step(pay, "b", compensate=pay_back)
    tx.message(pay, "done")
    await tx.step(pay, "c")


def test_what_settles_a_run_is_in_the_tree(play: Begin) -> None:
    back, done = play(turned_round), play(turned_round)
    for run in (back, done):
        run.succeed("0/0/0", "0/1/0")
    back.refuse("2", flowtx.Refused("no"))
    view = view_of(back.kernel)
    assert view.phase == "compensating"
    assert sorted((one.kind, one.address, one.where) for one in view.waiting if one.address) == [
        ("compensation", "0/0/0/c", line_of(turned_round, 'pay, "a"')),
        ("compensation", "0/1/0/c", line_of(turned_round, 'pay, "b"')),
    ]
    done.succeed("2")
    view = view_of(done.kernel)
    assert [(one.kind, one.what) for one in view.waiting] == [("confirmation", "pay(name='done')")]
    assert view.phase == "confirming"
    done.succeed("1/m")
    assert view_of(done.kernel) == RunView(phase="ended")


def test_looking_changes_nothing(play: Begin) -> None:
    run = play(everything)
    before = [one.address for one in run.kernel.waiting]
    assert view_of(run.kernel) == view_of(run.kernel)
    assert [one.address for one in run.kernel.waiting] == before
    run.succeed("0/0/0", "0/1/0", "2/0/0")


def test_the_journal_alone_tells_what_was_tried_and_has_no_outcome(play: Begin) -> None:
    run = play(everything)
    for address in ("0/0/0", "0/1/0", "2/0/0"):
        asked, error = run.asked(address), encode_error(ValueError("no"))
        fact = Attempted(call=asked.record, outcome="unknown", error=error, attempt=1, fault_count=1, retry_at=9.0)
        run.feed(address, fact)
    run.succeed("0/1/0")
    view = view_of_journal(run.events)
    nurseries = [
        NurseryView(address=nursery, branches=(TaskView(address=task, name="", waits_for=tried(f"{task}/0", name)),))
        for nursery, task, name in (("0", "0/0", "ann"), ("2", "2/0", "inner"))
    ]
    assert view == RunView(phase="unknown", tasks=(TaskView(address="", name="", nurseries=tuple(nurseries)),))


def tried(address: str, name: str) -> Waiting:
    return Waiting(
        kind="step",
        what=f"pay('{name}')",
        where=line_of(branch, "tx.step"),
        address=address,
        attempt_count=1,
        due_at=9.0,
        error="ValueError: no",
    )


@pytest.mark.parametrize("address", ["0", "0/c", "1/0/2", "1/0/2/m", "1/0.1/0/2/0"])
def test_any_address_finds_its_place_in_the_journals_tree(address: str, play: Begin) -> None:
    call = play(everything).asked("0/0/0").record
    fact = Attempted(
        call=call, outcome="unknown", error=encode_error(ValueError()), attempt=1, fault_count=1, retry_at=9.0
    )
    (waiting,) = view_of_journal([Event(seq=1, at=0.0, address=address, fact=fact)]).waiting
    assert waiting.address == address
