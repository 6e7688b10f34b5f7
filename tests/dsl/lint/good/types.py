"""Everything that can be an input or a result."""

import datetime
import enum
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Annotated, Any, Generic, Literal, NamedTuple, NewType, TypedDict, TypeVar
from uuid import UUID

import attrs
import elsewhere
import msgspec
import pydantic
from flowtx import Tx, workflow

T = TypeVar("T")
Cents = NewType("Cents", int)


class Colour(enum.Enum):
    RED = "red"


class Point(NamedTuple):
    x: int
    y: int


class Row(TypedDict):
    name: str


class Order(msgspec.Struct, frozen=True):
    name: str


class Bill(pydantic.BaseModel):
    name: str


@attrs.frozen
class Item:
    name: str


@dataclass
class Box(Generic[T]):
    value: T
    more: list[T] = field(default_factory=list)


class Special(Order):
    extra: int = 0


class HandMade:
    @classmethod
    def model_validate_json(cls, data: bytes) -> "HandMade":
        return cls()


@workflow
async def everything(
    tx: Tx,
    a: int | None,
    b: dict[str, list[Decimal]],
    c: Mapping[str, Sequence[UUID]],
    d: Colour,
    e: Point,
    f: Row,
    g: Order,
    h: Bill,
    i: Item,
    j: Box[int],
    k: Special,
    m: HandMade,
    n: Literal["Path", "Callable"],
    o: Annotated[int, print],
    p: datetime.datetime | datetime.date | datetime.timedelta,
    q: "Order | None",
    r: elsewhere.Model,
    s: Cents,
    t: tuple[int, ...],
    u: frozenset[str],
    v: bytes = b"",
    *rest: Any,
) -> object:
    return await tx.step(use, a, *rest)


def use(a: int | None, *rest: int, quietly: bool = False) -> None:
    print(a, rest, quietly)
