"""Performing Python functions: what they get, what becomes of what they do, and that none can harm the engine."""

from __future__ import annotations

import asyncio
import sys
import threading
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass, field
from typing import Any

import pytest
import trio
import trio.lowlevel
from trio.testing import MockClock

from flowtx_dsl.commands import Compensate, Step
from flowtx_dsl.current import CurrentStep, current_step
from flowtx_dsl.errors import (
    UNKNOWN,
    Ongoing,
    PayloadError,
    Refused,
    RunClosed,
    StepFault,
    StepTimeout,
    Unknown,
    WorkflowError,
)
from flowtx_dsl.policies import Retry
from flowtx_dsl.targets import FunctionTarget, target_of
from flowtx_dsl.tx import Tx
from flowtx_dsl.workflow import workflow
from flowtx_engine.calls.attempt import Attempt, Outcome
from flowtx_engine.calls.functions import Threads, perform_function
from flowtx_engine.kernel.kernel import Kernel

Fn = Callable[..., object]


def step(fn: Fn, *args: object, timeout_s: float | None = None) -> Step:
    return Step(call=target_of(fn).call(args), where="", retry=Retry(), timeout_s=timeout_s)


def compensation(fn: Fn, of: Step, result: bytes | None) -> Compensate:
    args = of.call.target.signature.decode_args(of.call.payload) if isinstance(of.call.target, FunctionTarget) else ()
    return Compensate(call=target_of(fn).call(args), where="", retry=Retry(), step=of.call, result=result)


async def performed(command: Step | Compensate, *, address: str = "0", number: int = 1) -> Outcome:
    target = command.call.target
    assert isinstance(target, FunctionTarget)
    attempt = Attempt(gid="g", address=address, number=number, command=command)
    return await perform_function(target, attempt, Threads(4))


@dataclass
class Order:
    amount: int
    tags: list[str] = field(default_factory=list[str])


# -- how a function runs


async def test_an_async_function_runs_on_trio_and_a_sync_one_in_a_thread() -> None:
    async def on_trio(order: Order) -> int:
        await trio.lowlevel.checkpoint()
        return threading.get_ident()

    def in_a_thread(order: Order) -> int:
        return threading.get_ident()

    here = threading.get_ident()
    assert (await performed(step(on_trio, Order(1)))).value == str(here).encode()
    outcome = await performed(step(in_a_thread, Order(1)))
    assert outcome.kind == "succeeded"
    assert outcome.value != str(here).encode()


async def test_whatever_hands_back_a_coroutine_is_awaited() -> None:
    async def double(number: int) -> int:
        await trio.lowlevel.checkpoint()
        return 2 * number

    class Doubler:
        async def __call__(self, number: int) -> int:
            return await double(number)

        async def method(self, number: int) -> int:
            return await double(number)

    def later(number: int) -> Awaitable[int]:
        return double(number)

    short: Callable[[int], Awaitable[int]] = lambda number: double(number)  # noqa: E731 - the point of the test
    fns: list[Fn] = [double, Doubler(), Doubler().method, later, short]
    for fn in fns:
        assert (await performed(step(fn, 4))).value == b"8"


async def test_arguments_are_copies_of_the_annotated_types() -> None:
    def spoil(order: Order) -> int:
        order.tags.append("spoiled")
        return len(order.tags)

    mine = Order(1, ["a"])
    command = step(spoil, mine)
    assert [(await performed(command)).value for _ in range(2)] == [b"2", b"2"]
    assert mine.tags == ["a"]


async def test_the_same_step_has_the_same_key_at_every_attempt_in_a_thread_too() -> None:
    def in_a_thread() -> list[object]:
        known = current_step()
        return [known.gid, known.address, known.key, known.attempt]

    async def on_trio() -> list[object]:
        return in_a_thread()

    for fn in (in_a_thread, on_trio):
        first = await performed(step(fn), address="1/2", number=1)
        second = await performed(step(fn), address="1/2", number=2)
        assert (first.value, second.value) == (b'["g","1/2","g/1/2",1]', b'["g","1/2","g/1/2",2]')
    back = compensation(in_a_thread, step(in_a_thread), None)
    seen: list[CurrentStep] = []

    def note() -> None:
        seen.append(current_step())

    await performed(Compensate(call=target_of(note).call(()), where="", retry=Retry(), step=back.step), address="1/2/c")
    assert seen[0].key == "g/1/2/c"


async def test_outside_of_a_step_there_is_no_current_step() -> None:
    await performed(step(lambda: None))
    with pytest.raises(WorkflowError, match="current_step\\(\\) was called outside a step"):
        current_step()


# -- outcomes


@pytest.mark.parametrize(
    ("error", "kind"),
    [
        (Refused("no"), "refused"),
        (Ongoing("wait"), "ongoing"),
        (StepFault("broken"), "unknown"),
        (ValueError("bug"), "unknown"),
        (trio.TooSlowError(), "unknown"),
    ],
)
@pytest.mark.parametrize("wrapping", [0, 1, 3])
async def test_what_a_function_raises_says_what_became_of_it_also_in_groups_of_one(
    error: Exception, kind: str, wrapping: int
) -> None:
    wrapped = error
    for _ in range(wrapping):
        wrapped = ExceptionGroup("a nursery", [wrapped])

    async def on_trio() -> None:
        raise wrapped

    def in_a_thread() -> None:
        raise wrapped

    for fn in (on_trio, in_a_thread):
        outcome = await performed(step(fn))
        assert outcome.kind == kind
        assert outcome.error is error


async def test_a_refusal_raised_in_a_nursery_of_the_step_is_a_refusal() -> None:
    async def refuses() -> None:
        raise Refused("no")

    async def branches() -> None:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(refuses)
            nursery.start_soon(trio.sleep_forever)

    outcome = await performed(step(branches))
    assert outcome.kind == "refused"
    assert isinstance(outcome.error, Refused)


async def test_several_errors_at_once_are_a_fault_even_if_one_refuses() -> None:
    group = ExceptionGroup("both", [Refused("no"), ValueError("bug")])

    def raises() -> None:
        raise group

    outcome = await performed(step(raises))
    assert (outcome.kind, outcome.error) == ("unknown", group)


@pytest.mark.parametrize(
    "error", [SystemExit(3), asyncio.CancelledError(), BaseExceptionGroup("both", [SystemExit(1), ValueError("x")])]
)
async def test_what_would_end_the_engine_is_a_fault_of_the_step(error: BaseException) -> None:
    def in_a_thread() -> None:
        raise error

    async def on_trio() -> None:
        raise error

    for fn in (in_a_thread, on_trio):
        outcome = await performed(step(fn))
        assert outcome.kind == "unknown"
        assert isinstance(outcome.error, StepFault)
        assert outcome.error.__cause__ is error
        assert f"raised {type(error).__name__}, which is no Exception" in str(outcome.error)


async def test_sys_exit_in_a_step_is_a_fault() -> None:
    assert (await performed(step(lambda: sys.exit(1)))).kind == "unknown"


async def test_cancelling_an_attempt_ends_it_without_an_outcome() -> None:
    async def hangs() -> None:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(trio.sleep_forever)

    outcomes: list[Outcome] = []
    with trio.move_on_after(0) as scope:
        outcomes.append(await performed(step(hangs)))
    assert (scope.cancelled_caught, outcomes) == (True, [])


# -- results


async def generates_async() -> Any:
    async def numbers() -> AsyncIterator[int]:
        yield 1

    return numbers()


def unannotated(value: Any) -> Any:
    return {"a": object()}


async def test_a_result_that_cannot_be_journaled_is_a_payload_error_that_no_retry_mends() -> None:
    cases: list[tuple[Fn, tuple[object, ...]]] = [(generates_async, ()), (unannotated, (1,))]
    for fn, args in cases:
        outcome = await performed(step(fn, *args))
        assert outcome.kind == "unknown"
        assert isinstance(outcome.error, PayloadError)
        assert outcome.error.message.startswith(f"the result of {fn.__name__}")
        assert Retry().gives_up(outcome.error, 1)


async def test_a_result_of_another_type_than_annotated_is_a_payload_error() -> None:
    def lies() -> int:
        return "text"  # type: ignore[return-value]  # pyright: ignore[reportReturnType]  # the lie in question

    outcome = await performed(step(lies))
    assert isinstance(outcome.error, PayloadError)
    assert outcome.error.message == "the result of lies does not fit int: Expected `int`, got `str`"


async def test_a_function_annotated_none_may_return_anything() -> None:
    def careless() -> None:
        return object()  # type: ignore[return-value]  # pyright: ignore[reportReturnType]  # as Python lets it

    assert await performed(step(careless)) == Outcome(kind="succeeded", value=b"null")


async def test_a_compensation_may_return_anything() -> None:
    # Its result is nobody's business, and were it refused it would be tried again for ever.
    def back() -> Any:
        return object()

    assert await performed(compensation(back, step(lambda: 1), None)) == Outcome(kind="succeeded", value=b"null")


async def test_a_compensation_is_given_the_result_of_its_step_if_it_asks_for_it() -> None:
    got: list[object] = []

    def book(nights: int) -> Order:
        return Order(nights)

    def cancel(nights: int, *, result: Order | Unknown) -> None:
        got.append(result)

    async def cancel_async(nights: int, *, result: Order | Unknown = UNKNOWN) -> None:
        got.append(result)

    def cancel_blindly(nights: int) -> None:
        got.append("blind")

    done = step(book, 2)
    for fn in (cancel, cancel_async, cancel_blindly):
        await performed(compensation(fn, done, b'{"amount":2,"tags":[]}'))
        await performed(compensation(fn, done, None))
    assert got == [Order(2), UNKNOWN, Order(2), UNKNOWN, "blind", "blind"]


# -- time


async def test_an_async_function_that_takes_too_long_is_a_timeout(autojump_clock: MockClock) -> None:
    async def slow() -> None:
        await trio.sleep(5)

    outcome = await performed(step(slow, timeout_s=4))
    assert outcome.kind == "unknown"
    assert isinstance(outcome.error, StepTimeout)
    assert outcome.error.message.endswith("slow took longer than its timeout_s=4")
    assert trio.current_time() == 4
    assert (await performed(step(slow, timeout_s=6))).kind == "succeeded"


async def test_a_deadline_of_the_functions_own_is_no_timeout_of_the_step(autojump_clock: MockClock) -> None:
    async def impatient() -> None:
        with trio.fail_after(1):
            await trio.sleep(5)

    outcome = await performed(step(impatient, timeout_s=10))
    assert outcome.kind == "unknown"
    assert isinstance(outcome.error, trio.TooSlowError)


async def test_an_answer_that_comes_while_the_time_runs_out_counts(autojump_clock: MockClock) -> None:
    async def stubborn() -> str:
        with trio.CancelScope(shield=True):
            await trio.sleep(5)
        return "done"

    assert await performed(step(stubborn, timeout_s=1)) == Outcome(kind="succeeded", value=b'"done"')


async def test_a_sync_function_is_waited_for_and_its_outcome_counts() -> None:
    release = threading.Event()
    token = trio.lowlevel.current_trio_token()
    started = trio.Event()

    def slow() -> str:
        trio.from_thread.run_sync(started.set, trio_token=token)
        assert release.wait(10)
        return "done"

    outcomes: list[Outcome] = []

    async def perform() -> None:
        outcomes.append(await performed(step(slow, timeout_s=0.001)))

    async with trio.open_nursery() as nursery:
        nursery.start_soon(perform)
        await started.wait()
        await trio.sleep(0.01)  # the step's time runs out; a real thread has no simulated clock
        release.set()
    assert outcomes == [Outcome(kind="succeeded", value=b'"done"')]


async def test_threads_have_a_limit() -> None:
    threads = Threads(2)
    running, most = 0, 0
    lock = threading.Lock()
    meeting = threading.Barrier(2)

    def count() -> None:
        nonlocal running, most
        with lock:
            running += 1
            most = max(most, running)
        meeting.wait(10)
        with lock:
            running -= 1

    async def one() -> None:
        await threads(count)

    async with trio.open_nursery() as nursery:
        for _ in range(6):
            nursery.start_soon(one)
    assert most == 2


async def test_tx_in_a_step_is_refused() -> None:
    @workflow
    async def runs(tx: Tx) -> None: ...

    kernel = Kernel(runs, b"[]", gid="g")
    tx = Tx(kernel)

    async def misuses() -> None:
        await tx.step(in_its_own_right)

    def looks() -> str:
        return str(tx.now())

    for fn in (looks, misuses):
        outcome = await performed(step(fn))
        assert outcome.kind == "unknown"
        assert isinstance(outcome.error, RunClosed)


def in_its_own_right() -> None: ...
