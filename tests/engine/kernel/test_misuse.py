"""What people do wrong in a workflow, and what they are told: the line, what stood there, and what to write instead."""

from __future__ import annotations

import asyncio
import inspect
import math
from collections.abc import AsyncIterator, Awaitable, Callable, Generator
from contextlib import closing
from datetime import datetime, timedelta
from typing import Any

import pytest
import trio
from trio.testing import wait_all_tasks_blocked

import flowtx
from flowtx_dsl.error_codec import decode_error
from flowtx_engine.kernel.events import Began, Event
from flowtx_engine.kernel.kernel import Kernel
from flowtx_engine.kernel.loop import FOREIGN_AWAITS_MAX

Begin = Callable[[flowtx.Workflow[..., Any]], Any]


def act() -> int:
    return 1


def take_back() -> None: ...


def cause_of(kernel: Kernel) -> BaseException:
    assert kernel.cause is not None, kernel
    return decode_error(kernel.cause)


class Bare:
    """The least that can be awaited."""

    def __await__(self) -> Generator[None, None, None]:
        yield


# -- foreign waits. Each stands on one line that ends in the comment "here", with what the message must call it.


async def sleeps(tx: flowtx.Tx) -> None:
    await trio.sleep(1)  # here: trio.sleep


async def checkpoints(tx: flowtx.Tx) -> None:
    await trio.lowlevel.checkpoint()  # here: trio.checkpoint


async def waits_for_ever(tx: flowtx.Tx) -> None:
    await trio.sleep_forever()  # here: trio.sleep_forever


async def goes_to_a_thread(tx: flowtx.Tx) -> None:
    await trio.to_thread.run_sync(act)  # here: trio.to_thread_run_sync


async def waits_for_an_event(tx: flowtx.Tx) -> None:
    await trio.Event().wait()  # here: trio.Event.wait


async def opens_a_nursery(tx: flowtx.Tx) -> None:
    async with trio.open_nursery() as nursery:  # here: trio.
        nursery.start_soon(trio.sleep, 1)


async def opens_a_nursery_around_a_step(tx: flowtx.Tx) -> None:
    async with trio.open_nursery() as nursery:  # here: trio.
        nursery.start_soon(trio.sleep, 1)
        await tx.step(act)


async def sets_a_deadline(tx: flowtx.Tx) -> None:
    with trio.move_on_after(0.1):  # here: trio.CancelScope
        await tx.step(act)


async def shields(tx: flowtx.Tx) -> None:
    with trio.CancelScope(shield=True):  # here: trio.CancelScope
        await tx.step(act)


async def sleeps_on_asyncio(tx: flowtx.Tx) -> None:
    await asyncio.sleep(1)  # here: asyncio.sleep


async def waits_for_a_future(tx: flowtx.Tx) -> None:
    loop = asyncio.new_event_loop()
    try:
        await loop.create_future()  # here: an object of type
    finally:
        loop.close()


async def waits_for_an_object(tx: flowtx.Tx) -> None:
    await Bare()


async def waits_in_a_helper(tx: flowtx.Tx) -> None:
    await deep_helper(3)


async def deep_helper(depth: int) -> None:
    if depth:
        await deep_helper(depth - 1)
    await trio.sleep(1)  # here: trio.sleep


FOREIGN: list[tuple[Callable[[flowtx.Tx], Awaitable[None]], Callable[..., object]]] = [
    (sleeps, sleeps),
    (checkpoints, checkpoints),
    (waits_for_ever, waits_for_ever),
    (goes_to_a_thread, goes_to_a_thread),
    (waits_for_an_event, waits_for_an_event),
    (opens_a_nursery, opens_a_nursery),
    (opens_a_nursery_around_a_step, opens_a_nursery_around_a_step),
    (sets_a_deadline, sets_a_deadline),
    (shields, shields),
    (sleeps_on_asyncio, sleeps_on_asyncio),
    (waits_for_a_future, waits_for_a_future),
    (waits_in_a_helper, deep_helper),
]


def fault_in(fn: Callable[..., object]) -> tuple[int, str]:
    """The line marked "here", and what must be named."""
    lines, first = inspect.getsourcelines(fn)
    for number, line in enumerate(lines, first):
        if "# here: " in line:
            return number, line.partition("# here: ")[2].strip()
    raise AssertionError(fn)


def check_foreign(begin: Begin, misuse: Callable[[flowtx.Tx], Awaitable[None]], where: Callable[..., object]) -> None:
    @flowtx.workflow(name="misuse")
    async def misusing(tx: flowtx.Tx) -> None:
        await tx.step(act, compensate=take_back)
        await misuse(tx)

    run = begin(misusing)
    run.succeed("0")
    error = cause_of(run.kernel)
    assert isinstance(error, flowtx.ForeignAwaitError)
    line, what = fault_in(where)
    assert f" {what}" in error.message
    assert f" at {__file__}:{line} (in {where.__name__}); " in error.message
    assert error.message.startswith("workflow misuse g ")
    assert "call it with tx.step(...)" in str(error)
    assert run.waiting == ["0/c"], "the run is taken back"
    run.succeed("0/c")
    assert run.kernel.ended.status == "failed"


@pytest.mark.parametrize(("misuse", "where"), FOREIGN)
async def test_a_foreign_wait_under_trio_is_refused_at_its_line_and_harms_nobody(
    misuse: Callable[[flowtx.Tx], Awaitable[None]], where: Callable[..., object], play: Begin, autojump_clock: object
) -> None:
    task = trio.lowlevel.current_task()
    nurseries = list(task.child_nurseries)
    with trio.fail_after(100):
        check_foreign(play, misuse, where)
        await trio.sleep(10)
        await wait_all_tasks_blocked()
    assert trio.lowlevel.current_task() is task
    assert task.child_nurseries == nurseries


@pytest.mark.parametrize(("misuse", "where"), FOREIGN)
def test_a_foreign_wait_outside_of_trio_is_refused_at_its_line(
    misuse: Callable[[flowtx.Tx], Awaitable[None]], where: Callable[..., object], play: Begin
) -> None:
    check_foreign(play, misuse, where)


def test_an_awaitable_of_ones_own_is_refused_where_it_yields(play: Begin) -> None:
    run = play(flowtx.workflow(waits_for_an_object))
    error = cause_of(run.kernel)
    assert isinstance(error, flowtx.ForeignAwaitError)
    assert f"awaited something at {__file__}:" in error.message
    assert "(in Bare.__await__)" in error.message


def test_a_workflow_may_survive_a_foreign_wait(play: Begin) -> None:
    @flowtx.workflow
    async def stubborn(tx: flowtx.Tx) -> str:
        try:
            await Bare()
        except flowtx.ForeignAwaitError as error:
            await tx.step(act)
            return type(error).__name__
        return "never"

    run = play(stubborn)
    run.succeed("0")
    assert bytes(run.kernel.ended.value) == b'"ForeignAwaitError"'


def test_a_workflow_that_never_stops_waiting_for_foreign_things_is_closed(play: Begin) -> None:
    count = 0

    @flowtx.workflow
    async def deaf(tx: flowtx.Tx) -> None:
        nonlocal count
        while True:
            count += 1
            try:
                await Bare()
            except Exception:
                continue

    assert isinstance(cause_of(play(deaf).kernel), flowtx.ForeignAwaitError)
    assert FOREIGN_AWAITS_MAX <= count <= 2 * FOREIGN_AWAITS_MAX


async def test_an_async_generator_that_waits_for_trio_is_refused_at_the_line_that_runs_it(play: Begin) -> None:
    async def numbers() -> AsyncIterator[int]:
        yield 1
        await trio.lowlevel.wait_task_rescheduled(lambda _: trio.lowlevel.Abort.SUCCEEDED)

    @flowtx.workflow
    async def misuse(tx: flowtx.Tx) -> None:
        async for _ in numbers():
            pass

    error = cause_of(play(misuse).kernel)
    assert isinstance(error, flowtx.ForeignAwaitError)
    assert f"{__file__}:" in error.message


# -- tx where it has no run


def test_tx_outside_its_workflow_is_refused(play: Begin) -> None:
    kept: list[flowtx.Tx] = []

    @flowtx.workflow
    async def leaks(tx: flowtx.Tx) -> None:
        kept.append(tx)
        await tx.step(act)

    run = play(leaks)
    (tx,) = kept
    for word in (tx.now, tx.uuid4, lambda: tx.random, tx.step(act).__await__().__next__, tx.Event):
        with pytest.raises(flowtx.RunClosed, match="tx of workflow leaks g was used outside its workflow"):
            word()
    assert tx.gid == "g"
    run.kernel.close()
    with pytest.raises(flowtx.RunClosed, match="workflow leaks g was dropped; nothing it asks for is performed"):
        tx.now()


def test_the_tx_of_one_run_is_refused_in_another(play: Begin) -> None:
    kept: list[flowtx.Tx] = []

    @flowtx.workflow
    async def leaks(tx: flowtx.Tx) -> None:
        kept.append(tx)
        await tx.step(act)

    @flowtx.workflow
    async def borrows(tx: flowtx.Tx) -> None:
        await kept[0].step(act)

    play(leaks)
    assert isinstance(cause_of(play(borrows).kernel), flowtx.RunClosed)


# -- words spoken wrongly. The run ends with the error, and nothing was asked.


async def calls_the_function(tx: flowtx.Tx) -> None:
    called: Any = act()
    await tx.step(called)


async def forgets_an_argument(tx: flowtx.Tx) -> None:
    fn: Any = takes_two
    await tx.step(fn, 1)


async def passes_what_no_json_holds(tx: flowtx.Tx) -> None:
    fn: Any = takes_two
    await tx.step(fn, 1, object())


async def passes_tx(tx: flowtx.Tx) -> None:
    fn: Any = takes_two
    await tx.step(fn, 1, tx)


async def yields(tx: flowtx.Tx) -> None:
    await tx.step(generates)


async def forgets_what_a_compensation_gets(tx: flowtx.Tx) -> None:
    fn: Any = takes_two
    await tx.step(act, compensate=fn)


async def forgets_to_await(tx: flowtx.Tx) -> Any:
    return tx.sleep(1)


def takes_two(a: int, b: Any) -> None: ...


def generates() -> Generator[int, None, None]:
    yield 1


def with_timeout(timeout_s: float) -> Callable[[flowtx.Tx], Awaitable[None]]:
    async def impatient(tx: flowtx.Tx) -> None:
        await tx.step(act, timeout_s=timeout_s)

    return impatient


def with_sleep(seconds: Any) -> Callable[[flowtx.Tx], Awaitable[None]]:
    async def sleepy(tx: flowtx.Tx) -> None:
        await tx.sleep(seconds)

    return sleepy


async def sleeps_until_nowhere(tx: flowtx.Tx) -> None:
    await tx.sleep_until(datetime(2026, 1, 1))


@pytest.mark.parametrize(
    ("misuse", "message", "remedy"),
    [
        (calls_the_function, "a step calls a function or a target, got 1", "tx.step(withdraw, t)"),
        (forgets_an_argument, "takes_two(a, b) takes 2 argument(s), got 1", "its signature asks for"),
        (forgets_what_a_compensation_gets, "takes_two(a, b) takes 2 argument(s), got 0", "those of its step"),
        (passes_what_no_json_holds, "takes_two: argument b cannot be written to the journal", "Pass plain data"),
        (passes_tx, "takes_two: argument b cannot be written to the journal", "Pass plain data"),
        (yields, "generates is a generator function: it yields", "Return a list"),
        (with_timeout(0), "step act: timeout_s=0, expected seconds above zero, or None", ""),
        (with_timeout(-1.5), "timeout_s=-1.5, expected seconds above zero, or None", ""),
        (with_timeout(math.nan), "timeout_s=nan, expected seconds above zero, or None", ""),
        (with_sleep(-1), "tx.sleep(-1): expected a finite number of seconds, at least zero", "Pass seconds"),
        (with_sleep(math.nan), "tx.sleep(nan): expected a finite number", "Pass seconds"),
        (with_sleep(math.inf), "tx.sleep(inf): expected a finite number", "Pass seconds"),
        (with_sleep(timedelta(1)), "tx.sleep(datetime.timedelta(days=1)): expected", "delta.total_seconds()"),
        (with_sleep("1"), "tx.sleep('1'): expected a finite number", "Pass seconds"),
        (sleeps_until_nowhere, "has no time zone", "datetime(..., tzinfo=UTC)"),
    ],
)
def test_a_word_spoken_wrongly_ends_the_run_before_anything_is_asked(
    misuse: Any, message: str, remedy: str, play: Begin
) -> None:
    run = play(flowtx.workflow(misuse))
    error = cause_of(run.kernel)
    assert message in str(error)
    assert remedy in str(error)
    assert isinstance(error, flowtx.WorkflowError | flowtx.PayloadError)
    assert run.waiting == []


def test_a_forgotten_await_is_said_by_python_itself(play: Begin) -> None:
    @flowtx.workflow
    async def forgets(tx: flowtx.Tx) -> None:
        tx.step(act)  # type: ignore[unused-coroutine]  # pyright: ignore[reportUnusedCoroutine]  # the mistake

    with pytest.warns(RuntimeWarning, match=r"coroutine 'Tx\.step' was never awaited"):
        run = play(forgets)
    assert run.kernel.ended.status == "succeed"


@pytest.mark.filterwarnings("ignore:coroutine 'Tx.sleep' was never awaited")
def test_a_coroutine_that_is_returned_is_called_a_forgotten_await(play: Begin) -> None:
    error = cause_of(play(flowtx.workflow(forgets_to_await)).kernel)
    assert "it is the coroutine Tx.sleep, whose result was not awaited: put await before it" in str(error)


def test_a_result_that_cannot_be_journaled_turns_the_run_round(play: Begin) -> None:
    @flowtx.workflow
    async def returns_a_socket(tx: flowtx.Tx) -> Any:
        await tx.step(act, compensate=take_back)
        return object()

    run = play(returns_a_socket)
    run.succeed("0")
    error = cause_of(run.kernel)
    assert isinstance(error, flowtx.PayloadError)
    assert error.message.startswith("the result of workflow returns_a_socket g cannot be written")
    assert run.waiting == ["0/c"]


def test_a_workflow_annotated_none_may_return_anything(play: Begin) -> None:
    @flowtx.workflow
    async def careless(tx: flowtx.Tx) -> None:
        return object()  # type: ignore[return-value]  # pyright: ignore[reportReturnType]  # as Python lets it

    ended = play(careless).kernel.ended
    assert (ended.status, bytes(ended.value)) == ("succeed", b"null")


@pytest.mark.parametrize("error", [SystemExit(1), GeneratorExit(), asyncio.CancelledError(), RecursionError()])
def test_whatever_a_workflow_raises_ends_the_run_and_not_the_engine(error: BaseException, play: Begin) -> None:
    @flowtx.workflow
    async def leaves(tx: flowtx.Tx) -> None:
        raise error

    run = play(leaves)
    assert run.kernel.ended.status == "failed"
    assert type(cause_of(run.kernel)) is type(error)


def test_the_person_at_the_keyboard_is_let_through(play: Begin) -> None:
    @flowtx.workflow
    async def interrupted(tx: flowtx.Tx) -> None:
        raise KeyboardInterrupt

    with closing(Kernel(interrupted, b"[]", gid="g")) as kernel, pytest.raises(KeyboardInterrupt):
        kernel.feed(Event(seq=0, at=0.0, address="", fact=Began(workflow="interrupted")))


def test_an_input_that_no_longer_fits_stops_the_run_as_it_is() -> None:
    # Failing it would leave behind a step that was performed and not yet written down.
    @flowtx.workflow
    async def changed(tx: flowtx.Tx, amount: int) -> None: ...

    with closing(Kernel(changed, b'["much"]', gid="g")) as kernel:
        with pytest.raises(flowtx.NondeterminismError) as caught:
            kernel.feed(Event(seq=0, at=0.0, address="", fact=Began(workflow="changed")))
        assert caught.value.message.startswith(
            "workflow changed g cannot read its input\n"
            "    asked:    workflow changed: argument amount does not fit int: Expected `int`, got `str`"
        )
        assert kernel.phase == "new"
