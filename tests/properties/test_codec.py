"""The laws of payloads: what the codec writes it reads back by annotation, and equal values give equal bytes.

``@given(kinds)`` draws an annotation together with a value that fits it.
"""

from __future__ import annotations

import enum
import os
import subprocess
import sys
from collections.abc import Callable, Hashable
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, time, timedelta, timezone
from decimal import Decimal
from pathlib import Path
from typing import Any, Generic, NamedTuple, TypedDict, TypeVar
from uuid import UUID

import attrs
import msgspec
import pydantic
import pytest
from hypothesis import given
from hypothesis import strategies as st

from flowtx_dsl import codec
from flowtx_dsl.codec import decoder_of
from flowtx_dsl.errors import PayloadError
from flowtx_dsl.signatures import Signature

T = TypeVar("T")


class Colour(enum.Enum):
    RED = "red"
    BLUE = "blue"


class Level(enum.IntEnum):
    LOW = 1
    HIGH = 2


@dataclass(frozen=True)
class Money:
    amount: Decimal
    currency: str = "EUR"


@dataclass
class Transfer:
    source: str
    money: Money
    tags: set[str] = field(default_factory=set[str])
    parts: list[Money] = field(default_factory=list[Money])
    previous: Transfer | None = None


class Row(NamedTuple):
    key: int
    name: str


class Address(TypedDict):
    street: str
    number: int


class Event(msgspec.Struct, frozen=True, rename="camel"):
    event_id: UUID
    seen_by: frozenset[str] = frozenset()


@attrs.frozen
class Point:
    x: float
    y: float


@attrs.define
class Path2:
    points: list[Point]


class Customer(pydantic.BaseModel):
    model_config = pydantic.ConfigDict(strict=True, extra="forbid")
    customer_id: UUID = pydantic.Field(alias="customerId")
    since: date
    balance: Decimal
    roles: set[str] = set()

    @pydantic.computed_field
    def initials(self) -> str:
        return "x"


@dataclass
class Box(Generic[T]):
    content: T


class Pair(msgspec.Struct, Generic[T]):
    left: T
    right: T


def is_comparable(moment: datetime) -> bool:
    """False in the hour that a clock set back lives twice: Python calls it equal to no instant of another zone."""
    return moment == moment.astimezone(UTC)


texts = st.text(max_size=8)
decimals = st.decimals(allow_nan=False, allow_infinity=False)
money = st.builds(Money, decimals, texts)
transfers: st.SearchStrategy[Transfer] = st.recursive(
    st.builds(Transfer, texts, money, st.sets(texts), st.lists(money, max_size=2)),
    lambda previous: st.builds(Transfer, texts, money, previous=previous),
    max_leaves=3,
)
customers = st.builds(
    Customer, customerId=st.uuids(), since=st.dates(), balance=decimals, roles=st.sets(texts, max_size=4)
)

hashable: dict[Any, st.SearchStrategy[Hashable]] = {
    int: st.integers(),
    str: texts,
    bool: st.booleans(),
    Decimal: decimals,
    UUID: st.uuids(),
    date: st.dates(),
    datetime: st.datetimes() | st.datetimes(timezones=st.timezones() | st.just(UTC)).filter(is_comparable),
    time: st.times(),
    timedelta: st.timedeltas(),
    bytes: st.binary(max_size=8),
    Colour: st.sampled_from(Colour),
    Level: st.sampled_from(Level),
    Money: money,
    Row: st.builds(Row, st.integers(), texts),
    Event: st.builds(Event, st.uuids(), st.frozensets(texts, max_size=4)),
    Point: st.builds(Point, st.floats(allow_nan=False, allow_infinity=False), st.just(-0.0)),
}
atoms: dict[Any, st.SearchStrategy[object]] = {
    **hashable,
    float: st.floats(allow_nan=False, allow_infinity=False),
    type(None): st.none(),
    Transfer: transfers,
    Address: st.fixed_dictionaries({"street": texts, "number": st.integers()}),
    Path2: st.builds(Path2, st.lists(st.builds(Point, st.just(1.5), st.just(2.0)), max_size=2)),
    Customer: customers,
    Box[int]: st.builds(Box[int], st.integers()),
    Box[Money]: st.builds(Box[Money], money),
    Pair[Decimal]: st.builds(Pair[Decimal], decimals, decimals),
    Any: st.none() | st.booleans() | st.integers() | texts | st.lists(st.integers()) | st.dictionaries(texts, texts),
}


@dataclass(frozen=True)
class Kind:
    """An annotation and what fits it."""

    annotation: Any
    values: st.SearchStrategy[Any]


def of(generic: Any, *arguments: Any) -> Any:
    """``generic[arguments]``, of types that are known when the test runs."""
    return generic[arguments]


def list_of(kind: Kind) -> Kind:
    return Kind(of(list, kind.annotation), st.lists(kind.values, max_size=3))


def optional(kind: Kind) -> Kind:
    return Kind(kind.annotation | None, st.none() | kind.values)


def dict_of(kind: Kind) -> Kind:
    return Kind(of(dict, str, kind.annotation), st.dictionaries(texts, kind.values, max_size=3))


def dict_by_int(kind: Kind) -> Kind:
    return Kind(of(dict, int, kind.annotation), st.dictionaries(st.integers(), kind.values, max_size=3))


def pair_of(kind: Kind) -> Kind:
    return Kind(of(tuple, kind.annotation, int), st.tuples(kind.values, st.integers()))


def tuple_of(kind: Kind) -> Kind:
    return Kind(of(tuple, kind.annotation, ...), st.lists(kind.values, max_size=3).map(tuple))


def box_of(kind: Kind) -> Kind:
    return Kind(of(Box, kind.annotation), st.builds(Box[Any], kind.values))


def wrapped(inner: st.SearchStrategy[Kind]) -> st.SearchStrategy[Kind]:
    # None and Any say nothing more when they are optional.
    telling = inner.filter(lambda kind: kind.annotation not in (Any, type(None)))
    wraps = (list_of, optional, dict_of, dict_by_int, pair_of, tuple_of, box_of)
    return st.one_of([telling.map(wrap) for wrap in wraps])


sets = [Kind(of(set, annotation), st.sets(values, max_size=4)) for annotation, values in hashable.items()]
frozen_sets = [
    Kind(of(frozenset, annotation), st.frozensets(values, max_size=4)) for annotation, values in hashable.items()
]
kinds: st.SearchStrategy[Kind] = st.recursive(
    st.sampled_from([Kind(annotation, values) for annotation, values in atoms.items()] + sets + frozen_sets),
    wrapped,
    max_leaves=3,
)


@given(kinds, st.data())
def test_what_is_written_is_read_back_equal(kind: Kind, data: st.DataObject) -> None:
    value = data.draw(kind.values)
    again = decoder_of(kind.annotation).decode(codec.encode(value, what="it"), what="it")
    assert again == value
    assert type(again) is type(value)


@given(st.lists(kinds, min_size=1, max_size=3), st.data())
def test_arguments_come_back_as_their_parameters_say(drawn: list[Kind], data: st.DataObject) -> None:
    def fn(a: Any, b: Any = None, c: Any = None) -> None: ...

    fn.__annotations__ = dict(zip("abc", (kind.annotation for kind in drawn), strict=False))
    signature = Signature(fn)
    args = tuple(data.draw(kind.values) for kind in drawn)
    payload = signature.encode_args(args)
    assert signature.decode_args(payload) == args
    assert signature.decode_args(payload, len(args)) == args


@given(kinds, st.data())
def test_what_was_read_is_written_the_same_again(kind: Kind, data: st.DataObject) -> None:
    written = codec.encode(data.draw(kind.values), what="it")
    again = decoder_of(kind.annotation).decode(written, what="it")
    assert codec.encode(again, what="it") == written


@given(st.lists(st.integers() | texts | st.none() | st.tuples(texts, st.none() | st.integers())), st.data())
def test_equal_sets_are_written_alike_however_they_were_made(members: list[object], data: st.DataObject) -> None:
    one, other = set(members), set(data.draw(st.permutations(members)))
    assert codec.encode(Box([one]), what="it") == codec.encode(Box([other]), what="it")


def test_sets_are_written_alike_in_every_process(tmp_path: Path) -> None:
    # Hashes of texts differ from process to process, and so does the order in which a set gives its members.
    program = tmp_path / "write.py"
    program.write_text(
        "import enum, pydantic\n"
        "from dataclasses import dataclass\n"
        "from flowtx_dsl import codec\n"
        "class Colour(enum.Enum):\n    RED = 'r'\n    GREEN = 'g'\n    BLUE = 'b'\n"
        "class Model(pydantic.BaseModel):\n    names: set[str]\n"
        "@dataclass(frozen=True)\nclass Frozen:\n    names: frozenset[str]\n"
        "names = {'ann', 'bob', 'cyd', 'dan', 'eve'}\n"
        "value = [names, set(Colour), Model(names=names), Frozen(frozenset(names)), {'k': frozenset({1, None, 'x'})}]\n"
        "print(codec.encode(value, what='it').decode())\n"
    )
    written = {
        subprocess.run(
            [sys.executable, str(program)],
            env=os.environ | {"PYTHONHASHSEED": seed, "PYTHONPATH": os.pathsep.join(sys.path)},
            capture_output=True,
            text=True,
            check=True,
        ).stdout
        for seed in ("1", "2", "3", "4")
    }
    assert len(written) == 1


PLACES: list[tuple[Callable[[float], object], str]] = [
    (lambda bad: bad, "it"),
    (lambda bad: [1.0, bad], "it[1]"),
    (lambda bad: {"a": (bad,)}, "it['a'][0]"),
    (lambda bad: Box(Point(1.0, bad)), "it.content.y"),
    (lambda bad: Pair([bad], [1.0]), "it.left[0]"),
]


@given(st.sampled_from([float("nan"), float("inf"), float("-inf")]), st.sampled_from(PLACES))
def test_a_number_that_json_lacks_is_refused_where_it_stands(
    bad: float, place: tuple[Callable[[float], object], str]
) -> None:
    # JSON would hold null, and where None fits too nobody would notice.
    put, path = place
    with pytest.raises(PayloadError) as caught:
        codec.encode(put(bad), what="it")
    assert caught.value.message.startswith(f"{path} cannot be written to the journal: ")


@given(st.times(timezones=st.just(timezone(timedelta(seconds=61)))))
def test_a_time_whose_offset_json_cannot_write_is_refused(odd: time) -> None:
    with pytest.raises(PayloadError, match="whole number of minutes"):
        codec.encode(odd, what="it")
