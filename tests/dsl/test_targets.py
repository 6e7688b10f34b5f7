"""What can be asked as a step, and what is said of what cannot."""

from __future__ import annotations

import functools
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from flowtx_dsl.errors import WorkflowError
from flowtx_dsl.remote import http
from flowtx_dsl.targets import FunctionTarget, HttpTarget, step_target_of, target_of


async def withdraw(account: str, amount: int) -> int:
    return amount + len(account)


def withdraw_back(account: str, amount: int, *, result: int) -> None: ...


@dataclass
class Unhashable:
    factor: int

    def __call__(self, amount: int) -> int:
        return amount * self.factor


def test_the_target_of_a_function_is_made_once() -> None:
    assert target_of(withdraw) is target_of(withdraw)
    assert target_of(withdraw) == FunctionTarget(withdraw)
    assert step_target_of(withdraw) == target_of(withdraw)
    assert target_of(FunctionTarget(withdraw)) == FunctionTarget(withdraw)


def test_a_callable_object_that_cannot_be_hashed_is_a_target_too() -> None:
    for of in (target_of, step_target_of):
        target = of(Unhashable(2))
        assert isinstance(target, FunctionTarget)
        assert target.fn == Unhashable(2)
        assert target.call((3,)).payload == b"[3]"


def test_what_was_called_already_is_refused_with_the_right_spelling() -> None:
    # Were the coroutine not closed, Python would warn that nobody awaited it, which fails this test.
    for of in (target_of, step_target_of):
        for called in (withdraw("ann", 1), 42, None):
            with pytest.raises(WorkflowError) as caught:
                of(called)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]  # the mistake in question
            assert "a step calls a function or a target, got " in caught.value.message
            assert "tx.step(withdraw, t), not tx.step(withdraw(t))" in str(caught.value)


def test_what_only_a_compensation_can_be_is_refused_as_a_step() -> None:
    assert target_of(withdraw_back).name == "withdraw_back"
    with pytest.raises(WorkflowError) as caught:
        step_target_of(withdraw_back)
    assert caught.value.message == "withdraw_back needs result=, which only a compensation is given"


def test_a_step_whose_result_cannot_be_journaled_is_refused_before_it_happens() -> None:
    def opens() -> Path:
        return Path()

    def lists() -> Iterator[int]:
        return iter(())

    for fn in (opens, lists):
        assert target_of(fn).name == fn.__name__  # a compensation's result is nobody's business
        with pytest.raises(WorkflowError, match=f"the result of {fn.__name__} is annotated .* cannot be journaled"):
            step_target_of(fn)
    with pytest.raises(WorkflowError, match="a Path cannot be journaled"):
        http("http://hotel/book", result=Path)


def test_partials_and_methods_are_targets() -> None:
    assert target_of(functools.partial(withdraw, "ann")).call((3,)).payload == b"[3]"
    assert target_of("abc".removeprefix).call(("a",)).payload == b'["a"]'


def test_bodies_none_one_many_and_bytes() -> None:
    target: HttpTarget[Any] = http("http://hotel/book")
    none, one, many, raw = (target.call(args) for args in ((), ({"a": 1},), (1, "b"), (b"\x00\xff",)))
    assert (none.payload, none.body) == (b"[]", b"")
    assert (one.payload, one.body) == (b'[{"a":1}]', b'{"a":1}')
    assert (many.payload, many.body) == (b'[1,"b"]', b'[1,"b"]')
    assert (raw.payload, raw.body) == (b'["\\u0000\\\\xff"]', b"\x00\xff")


@pytest.mark.parametrize("url", ["", "hotel/book", "ftp://hotel", "HTTP"])
def test_a_url_that_cannot_be_called_is_refused(url: str) -> None:
    with pytest.raises(WorkflowError, match="the URL has no scheme that can be called"):
        http(url)
