"""Words for what is outside a step, spoken wrongly: the run ends with an error that says what to write."""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from datetime import timedelta
from typing import Any

import pytest

import flowtx
from flowtx_dsl.workflow import AnyWorkflow
from flowtx_engine.kernel.kernel import Kernel

Spoken = Callable[[flowtx.Tx], Coroutine[Any, Any, None]]
Begin = Callable[[AnyWorkflow], Any]


async def act(number: int) -> None: ...


def take_back_two(number: int, other: int) -> None: ...


def needs_keyword(number: int, *, why: str) -> None: ...


class Opaque:
    """Nothing that JSON can hold."""


@flowtx.workflow
async def pay(tx: flowtx.Tx, number: int) -> None: ...


async def opens_without_async(tx: flowtx.Tx) -> None:
    block: Any = tx.open_nursery()
    with block:
        pass


async def opens_savepoint_without_async(tx: flowtx.Tx) -> None:
    block: Any = tx.savepoint()
    with block:
        pass


async def enters_a_scope_with_async(tx: flowtx.Tx) -> None:
    scope: Any = tx.move_on_after(1)
    async with scope:
        pass


def body_of(speak: Callable[[Any], Any]) -> Spoken:
    """A workflow's body that says one word, and waits for it if it can be waited for."""

    async def body(tx: flowtx.Tx) -> None:
        said = speak(tx)
        if hasattr(said, "__await__"):
            await said

    return body


WorkflowError, PayloadError = flowtx.WorkflowError, flowtx.PayloadError


MISUSES: list[tuple[Callable[[Any], Any], type[Exception], str]] = [
    (lambda tx: tx.step(act, 1, compensate=take_back_two), WorkflowError, "takes 2 argument(s), got 1"),
    (lambda tx: tx.step(act, 1, compensate=needs_keyword), WorkflowError, "needs the keyword argument 'why'"),
    (lambda tx: tx.step(act, 1, compensate=act(1)), WorkflowError, "a step calls a function or a target"),
    (lambda tx: tx.compensate(take_back_two, 1), WorkflowError, "takes 2 argument(s), got 1"),
    (lambda tx: tx.compensate(act, Opaque()), PayloadError, "act: argument number cannot be written"),
    (lambda tx: tx.message(take_back_two, 1), WorkflowError, "takes 2 argument(s), got 1"),
    (lambda tx: tx.message(act, "x"), PayloadError, "act: argument number does not fit int"),
    (lambda tx: tx.tcc(act, take_back_two, act, 1), WorkflowError, "takes 2 argument(s), got 1"),
    (lambda tx: tx.signal("paid", type=Opaque), WorkflowError, "tx.signal('paid')"),
    (lambda tx: tx.update("price", type=Opaque), WorkflowError, "tx.update('price')"),
    (lambda tx: tx.child(pay), WorkflowError, "takes 1 argument(s), got 0"),
    (lambda tx: tx.child(pay, "x"), PayloadError, "argument number does not fit int"),
    (lambda tx: tx.child(act, 1), WorkflowError, "take a workflow, got <function act"),
    (lambda tx: tx.child(pay, 1, gid="g" * 129), WorkflowError, "a gid has 1 to 128 characters, got 129"),
    (lambda tx: tx.detach(pay, 1, 2), WorkflowError, "takes 1 argument(s), got 2"),
    (lambda tx: tx.restart(1), WorkflowError, "takes 0 argument(s), got 1"),
    (opens_without_async, WorkflowError, "a plain `with` cannot wait"),
    (opens_savepoint_without_async, WorkflowError, "a plain `with` cannot wait"),
    (enters_a_scope_with_async, WorkflowError, "is entered without `async`"),
    (lambda tx: tx.step(act, 1, effect=flowtx.check(take_back_two)), WorkflowError, "takes 2 argument(s), got 1"),
]


@pytest.mark.parametrize(("speak", "kind", "message"), MISUSES)
def test_a_word_spoken_wrongly_ends_the_run_before_anything_is_asked(
    speak: Callable[[Any], Any], kind: type[Exception], message: str, play: Begin
) -> None:
    declare: Any = flowtx.workflow(name="misused")
    kernel: Kernel = play(declare(body_of(speak))).kernel
    assert kernel.waiting == []
    assert kernel.ended is not None
    assert kernel.ended.error is not None
    assert kernel.ended.error.type == f"flowtx_dsl.errors:{kind.__name__}"
    assert message in kernel.ended.error.text
    assert "\n  -> " in kernel.ended.error.text, "it says what to do"


def test_a_branch_that_is_called_where_it_is_started_is_told_not_to_be(play: Begin) -> None:
    caught: list[flowtx.WorkflowError] = []

    @flowtx.workflow
    async def starts_calls(tx: flowtx.Tx) -> None:
        called: Any = tx.sleep(1)
        async with tx.open_nursery() as nursery:
            with pytest.raises(flowtx.WorkflowError) as refused:
                nursery.start_soon(called)
            caught.append(refused.value)

    assert play(starts_calls).kernel.ended.status == "succeed"
    assert "nursery.start_soon takes an async helper, got <coroutine object Tx.sleep" in str(caught[0])
    assert "start_soon(ship, item), not start_soon(ship(item))" in str(caught[0])


def test_a_scope_of_seconds_has_no_deadline_before_it_is_entered(play: Begin) -> None:
    @flowtx.workflow
    async def looks_early(tx: flowtx.Tx) -> None:
        scope = tx.move_on_after(60)
        with pytest.raises(flowtx.WorkflowError, match="does not have an absolute deadline"):
            print(scope.deadline)
        with pytest.raises(flowtx.WorkflowError, match="a cancel scope of 60 s that was not entered"):
            scope.deadline = tx.now()
        began_at = tx.now()
        with scope:
            assert scope.deadline == began_at + timedelta(seconds=60)
            scope.deadline = None
            assert scope.deadline is None

    assert play(looks_early).kernel.ended.status == "succeed"
