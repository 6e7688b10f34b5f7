"""A workflow's input from JSON: what fits comes out typed, what does not is refused in the words of what was typed."""

import dataclasses
import json
from dataclasses import dataclass

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

import flowtx
from flowtx.cli.failures import Misused
from flowtx.cli.inputs import arguments_of, read_text, signature_text


@dataclass
class Account:
    name: str
    limit: int = 0


@dataclass
class Payment:
    payer: Account
    payees: list[Account]
    cents: int = 1


class Packed(msgspec.Struct, rename="camel", omit_defaults=True):
    first_name: str
    is_new: bool = False


@flowtx.workflow
async def pay(tx: flowtx.Tx, payment: Payment) -> None: ...


@flowtx.workflow
async def three(tx: flowtx.Tx, a: str, b: int = 3, c: bool = False) -> None: ...


@flowtx.workflow
async def any_number(tx: flowtx.Tx, *amounts: int) -> None: ...


@flowtx.workflow
async def none(tx: flowtx.Tx) -> None: ...


@flowtx.workflow
async def packed(tx: flowtx.Tx, one: Packed) -> None: ...


@flowtx.workflow
async def listed(tx: flowtx.Tx, amounts: list[int]) -> None: ...


accounts = st.builds(Account, st.text(max_size=5), st.integers(-(2**53), 2**53))
payments = st.builds(Payment, accounts, st.lists(accounts, max_size=3), st.integers(0, 9))


@given(payments)
def test_one_argument_is_the_json_itself(payment: Payment) -> None:
    assert arguments_of(pay, json.dumps(dataclasses.asdict(payment))) == (payment,)


@given(st.text(max_size=5), st.integers(-9, 9), st.booleans(), st.integers(1, 3))
def test_several_arguments_come_by_position_or_by_name(a: str, b: int, c: bool, count: int) -> None:
    given_names = dict(list({"a": a, "b": b, "c": c}.items())[:count])
    by_position = arguments_of(three, json.dumps(list(given_names.values())))
    assert arguments_of(three, json.dumps(given_names)) == by_position == tuple(given_names.values())


def test_an_argument_left_out_before_another_has_its_default() -> None:
    assert arguments_of(three, '{"c": true, "a": "x"}') == ("x", 3, True)


def test_no_argument_and_any_number_of_them() -> None:
    assert arguments_of(none, None) == ()
    assert arguments_of(none, "[]") == ()
    assert arguments_of(any_number, "[1, 2, 3]") == (1, 2, 3)
    assert arguments_of(listed, "[1, 2, 3]") == ([1, 2, 3],)


def test_renamed_fields_are_known_by_their_names_in_json() -> None:
    assert arguments_of(packed, '{"firstName": "ada", "isNew": false}') == (Packed(first_name="ada"),)
    with pytest.raises(Misused, match=r"it has the unknown \$\.lastName"):
        arguments_of(packed, '{"firstName": "ada", "lastName": "x"}')


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("{", "--input is not JSON: Input data was truncated"),
        ("alice", "--input is not JSON"),
        ("7", "does not fit workflow pay(payment: Payment): Expected `object`, got `int` - at `$`"),
        ('{"payer": {"name": 1}, "payees": []}', "Expected `str`, got `int` - at `$.payer.name`"),
        ('{"payees": []}', "missing required field `payer` - at `$`"),
        ('{"payer": {"name": "a"}, "payees": [], "cent": 5}', "it has the unknown $.cent"),
        ('{"payer": {"name": "a"}, "payees": [{"name": "b", "limt": 5}]}', "it has the unknown $.payees[0].limt"),
    ],
)
def test_what_does_not_fit_is_named(text: str, complaint: str) -> None:
    with pytest.raises(Misused) as caught:
        arguments_of(pay, text)
    assert complaint in caught.value.message


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ('"x"', "takes 3 arguments, --input is one value"),
        ("[]", "takes 1 to 3 argument(s), got 0"),
        ('["a", 1, true, 2]', "takes 1 to 3 argument(s), got 4"),
        ('["a", "b"]', "Expected `int`, got `str` - at `$[1]`"),
        ('{"a": "x", "b": "y"}', "Expected `int`, got `str` - at `$.b`"),
        ('{"b": 1, "d": 2}', "it lacks a and has the unknown d"),
        (None, 'needs its input\n  -> Pass it as JSON: --input \'{"a": ..., "b": ..., "c": ...}\''),
    ],
)
def test_what_does_not_fit_several_is_named(text: str | None, complaint: str) -> None:
    with pytest.raises(Misused) as caught:
        arguments_of(three, text)
    assert complaint in caught.value.message


def test_a_missing_input_is_answered_with_a_model() -> None:
    with pytest.raises(Misused) as caught:
        arguments_of(pay, None)
    assert """--input '{"payer": ..., "payees": ..., "cents": ...}'""" in caught.value.message


def test_a_signature_is_shown_without_modules() -> None:
    assert signature_text(three) == "workflow three(a: str, b: int = 3, c: bool = False)"
    assert signature_text(packed) == "workflow packed(one: Packed)"


def test_an_unreadable_file_is_named() -> None:
    with pytest.raises(Misused, match=r"--input @nowhere\.json: the file cannot be read"):
        read_text("@nowhere.json")


def test_an_input_with_defaults_left_out_is_the_same_input_as_in_python() -> None:
    signature = pay.signature
    typed = arguments_of(pay, '{"payer": {"name": "ann"}, "payees": [{"name": "bob"}]}')
    assert signature.encode_args(typed) == signature.encode_args((Payment(Account("ann"), [Account("bob")]),))
