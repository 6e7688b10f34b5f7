"""How functions' arguments travel: every kind of callable, and what is said when one cannot be a step's."""

from __future__ import annotations

import functools
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

import pytest

from flowtx_dsl.errors import PayloadError, WorkflowError
from flowtx_dsl.signatures import Signature, name_of


@dataclass(frozen=True)
class Transfer:
    account: str
    amount: int


def withdraw(t: Transfer, note: str = "") -> Decimal:
    return Decimal(t.amount + len(note))


def many(first: int, *rest: Transfer) -> None: ...


class Bank:
    def withdraw(self, t: Transfer) -> Decimal:
        return Decimal(t.amount)

    @classmethod
    def deposit(cls, t: Transfer) -> Decimal:
        return Decimal(t.amount)

    @staticmethod
    def check(t: Transfer) -> Decimal:
        return Decimal(t.amount)

    def __call__(self, t: Transfer) -> Decimal:
        return Decimal(t.amount)


@dataclass
class Unhashable:
    bank: str

    def __call__(self, t: Transfer) -> Decimal:
        return Decimal(t.amount)


@functools.cache
def cached(t: Transfer) -> Decimal:
    return Decimal(t.amount)


def decorated(fn: Callable[..., Any]) -> Callable[..., Any]:
    @functools.wraps(fn)
    def wrapper(*args: object) -> object:
        return fn(*args)

    return wrapper


@pytest.mark.parametrize(
    ("fn", "name"),
    [
        (withdraw, "withdraw"),
        (Bank().withdraw, "Bank.withdraw"),
        (Bank.deposit, "Bank.deposit"),
        (Bank.check, "Bank.check"),
        (Bank(), "Bank"),
        (Unhashable("a"), "Unhashable"),
        (functools.partial(withdraw, note="x"), "withdraw"),
        (functools.partial(functools.partial(withdraw), note="x"), "withdraw"),
        (cached, "cached"),
        (decorated(withdraw), "withdraw"),
        (functools.partial(decorated(withdraw), note="x"), "withdraw"),
    ],
)
def test_every_kind_of_callable_gets_its_arguments_by_annotation(fn: Callable[..., object], name: str) -> None:
    signature = Signature(fn)
    payload = signature.encode_args((Transfer("a", 1),))
    assert payload == b'[{"account":"a","amount":1}]'
    assert signature.decode_args(payload) == (Transfer("a", 1),)
    assert signature.result.wanted is Decimal
    assert signature.name == name


def test_a_class_makes_an_instance_of_itself() -> None:
    signature = Signature(Transfer)
    assert signature.decode_args(signature.encode_args(("a", 1))) == ("a", 1)
    assert signature.result.wanted is Transfer
    with pytest.raises(PayloadError, match="Transfer: argument amount does not fit int"):
        signature.encode_args(("a", "one"))


def test_a_lambda_takes_and_gives_whatever_json_holds() -> None:
    fn: Callable[[object, object], object] = lambda a, b: [a, b]  # noqa: E731 - the point of the test
    signature = Signature(fn)
    assert signature.decode_args(signature.encode_args((Transfer("a", 1), [2]))) == ({"account": "a", "amount": 1}, [2])
    assert signature.name == "<lambda>"


def test_a_sync_function_that_hands_back_a_coroutine_has_the_result_of_that() -> None:
    async def soon(t: Transfer) -> Transfer:
        return t

    def later(t: Transfer) -> Awaitable[Transfer]:
        return soon(t)

    assert Signature(later).result.wanted is Transfer


def test_variadic_arguments_each_have_their_annotation() -> None:
    signature = Signature(many)
    for args in ((1,), (1, Transfer("a", 1)), (1, Transfer("a", 1), Transfer("b", 2))):
        assert signature.decode_args(signature.encode_args(args)) == args
    with pytest.raises(PayloadError, match=r"many: argument \*3 does not fit Transfer"):
        signature.encode_args((1, Transfer("a", 1), "b"))


def test_defaults_may_be_left_out() -> None:
    signature = Signature(withdraw)
    assert (signature.least, signature.most) == (1, 2)
    assert signature.decode_args(signature.encode_args((Transfer("a", 1),))) == (Transfer("a", 1),)


@pytest.mark.parametrize(
    ("fn", "args", "message"),
    [
        (withdraw, (), "withdraw(t, note) takes 1 to 2 argument(s), got 0"),
        (withdraw, (1, 2, 3), "withdraw(t, note) takes 1 to 2 argument(s), got 3"),
        (many, (), "many(first) takes 1 to any number of argument(s), got 0"),
        (Bank().withdraw, (), "Bank.withdraw(t) takes 1 argument(s), got 0"),
    ],
)
def test_a_wrong_count_of_arguments_is_said_with_the_parameters(
    fn: Callable[..., object], args: tuple[object, ...], message: str
) -> None:
    signature = Signature(fn)
    with pytest.raises(WorkflowError) as caught:
        signature.encode_args(args)
    assert caught.value.message == message


def test_an_argument_that_does_not_fit_is_named_by_function_parameter_and_field() -> None:
    signature = Signature(withdraw)
    with pytest.raises(PayloadError) as caught:
        signature.encode_args(({"account": "a", "amount": "much"}, "note"))
    assert caught.value.message == (
        "withdraw: argument t does not fit Transfer: Expected `int`, got `str` - at `$.amount`"
    )
    with pytest.raises(PayloadError, match="withdraw: argument note does not fit str: Expected `str`, got `int`"):
        signature.decode_args(b'[{"account":"a","amount":1},5]')


def test_an_argument_that_cannot_be_written_is_named_by_function_parameter_and_field() -> None:
    with pytest.raises(PayloadError) as caught:
        Signature(withdraw).encode_args(({"account": object()}, ""))
    assert caught.value.message == (
        "withdraw: argument t['account'] cannot be written to the journal: JSON has nothing for the type object"
    )


@pytest.mark.parametrize("data", [b"", b"{}", b"[1", b"null", b"\xff"])
def test_arguments_that_are_no_array_are_a_payload_error(data: bytes) -> None:
    with pytest.raises(PayloadError, match="the arguments of withdraw are not a JSON array"):
        Signature(withdraw).decode_args(data)


def test_a_keyword_that_must_be_given_is_refused_but_for_result() -> None:
    def step(t: int, *, urgent: bool) -> None: ...
    def back(t: int, *, result: int) -> None: ...
    def both(t: int, *, result: int = 0, urgent: bool = False) -> None: ...

    with pytest.raises(WorkflowError) as caught:
        Signature(step)
    assert "step needs the keyword argument 'urgent'" in caught.value.message
    assert "Make 'urgent' positional, or give it a default." in str(caught.value)
    assert (Signature(back).takes_result, Signature(back).needs_result) == (True, True)
    assert (Signature(both).takes_result, Signature(both).needs_result) == (True, False)


def test_generator_functions_are_refused() -> None:
    def numbers() -> Iterator[int]:
        yield 1

    async def async_numbers() -> AsyncIterator[int]:
        yield 1

    class Numbers:
        def __call__(self) -> Iterator[int]:
            yield 1

    for fn in (numbers, async_numbers, Numbers(), functools.partial(numbers)):
        with pytest.raises(WorkflowError, match="is a generator function: it yields, but a step has one result"):
            Signature(fn)


def test_a_builtin_without_a_signature_is_refused_and_one_with_it_works() -> None:
    with pytest.raises(WorkflowError) as caught:
        Signature(max)
    assert caught.value.message.startswith("the signature of max cannot be read: no signature found")
    assert "wrap a builtin in a function of your own" in str(caught.value)
    assert Signature(len).encode_args(([1, 2],)) == b"[[1,2]]"


def test_an_annotation_that_cannot_be_resolved_is_refused_by_name() -> None:
    def step(t: Transfer) -> None: ...

    step.__annotations__["t"] = "Missing"  # as under TYPE_CHECKING: a name that only checkers see
    with pytest.raises(WorkflowError) as caught:
        Signature(step)
    assert caught.value.message == "the signature of step cannot be read: name 'Missing' is not defined"


def test_an_annotation_that_no_payload_can_have_is_refused_with_its_parameter() -> None:
    def step(t: Transfer | Any) -> None: ...

    step.__annotations__ = {"t": Transfer | Unhashable}
    with pytest.raises(WorkflowError) as caught:
        Signature(step)
    assert caught.value.message.startswith("step: argument t: ")

    def back() -> None: ...

    back.__annotations__ = {"return": Transfer | Unhashable}
    signature = Signature(back)  # a compensation's result is nobody's business
    with pytest.raises(WorkflowError, match="the result of back: "):
        _ = signature.result


def test_names_leave_out_where_a_function_was_made() -> None:
    def local() -> None: ...

    assert name_of(local) == "local"
    assert name_of(Bank().withdraw) == "Bank.withdraw"
    assert name_of(functools.partial(local)) == "local"
