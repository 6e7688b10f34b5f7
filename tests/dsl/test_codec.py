"""Payloads at the border: what cannot travel is said at once, with its place."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple, NoReturn

import msgspec
import pydantic
import pytest

from flowtx_dsl import codec
from flowtx_dsl.codec import decoder_of, readable_decoder_of
from flowtx_dsl.errors import PayloadError, WorkflowError


class Socket:
    """Nothing that JSON could hold."""


@dataclass
class Inner:
    socket: Any


@dataclass
class Outer:
    inners: dict[str, list[Inner]]


class Packed(msgspec.Struct):
    socket: Any


class Pair(NamedTuple):
    left: Any
    right: Any


class Model(pydantic.BaseModel):
    when: Any


def test_what_cannot_be_written_is_named_by_its_path() -> None:
    places: list[tuple[object, str]] = [
        (Socket(), "it"),
        ([1, Socket()], "it[1]"),
        (Outer({"k": [Inner(1), Inner(Socket())]}), "it.inners['k'][1].socket"),
        (Packed(Socket()), "it.socket"),
        (Pair(1, Socket()), "it.right"),
        (Model(when=Socket()), "it.when"),
        ({"a": {"b": (Socket(),)}}, "it['a']['b'][0]"),
        ({Socket()}, "it{}"),
        ({Pair: 1}, "it"),
        ("\ud800", "it"),
    ]
    for value, path in places:
        with pytest.raises(PayloadError) as caught:
            codec.encode(value, what="it")
        assert caught.value.message.startswith(f"{path} cannot be written to the journal: "), caught.value
        assert "Pass plain data" in str(caught.value)


def test_a_value_that_holds_itself_is_refused() -> None:
    endless: list[object] = []
    endless.append(endless)
    with pytest.raises(PayloadError, match="it cannot be written to the journal"):
        codec.encode(endless, what="it")


def test_what_does_not_fit_is_named_by_its_path() -> None:
    with pytest.raises(PayloadError) as caught:
        decoder_of(dict[str, list[Inner]]).decode(b'{"k":[{}]}', what="the result of f")
    assert caught.value.message == (
        "the result of f does not fit dict[str, list[Inner]]: Object missing required field `socket` - at `$[...][0]`"
    )


def test_a_models_own_validation_is_a_payload_error() -> None:
    class Even(pydantic.BaseModel):
        number: int

        @pydantic.field_validator("number")
        @classmethod
        def must_be_even(cls, number: int) -> int:
            if number % 2:
                raise ValueError("odd")
            return number

    with pytest.raises(PayloadError, match="odd"):
        decoder_of(Even).decode(b'{"number":3}', what="it")


def test_subclasses_of_plain_types_travel_as_these() -> None:
    class Name(str):
        __slots__ = ()

    class Count(int):
        pass

    class Share(float):
        pass

    assert codec.encode([Name("a"), Count(3), Share(0.5)], what="it") == b'["a",3,0.5]'


@pytest.mark.parametrize("nothing", [None, type(None), NoReturn])
def test_a_result_annotated_none_is_none_whatever_it_was(nothing: object) -> None:
    decoder = decoder_of(nothing)
    assert decoder.encode(Socket(), what="it") == b"null"
    assert decoder.decode(b"42", what="it") is None


def test_an_annotation_left_out_or_object_means_anything() -> None:
    for anything in (Any, object):
        assert decoder_of(anything).decode(b'[1,{"a":null}]', what="it") == [1, {"a": None}]


@dataclass
class Tree:
    children: list[Tree]


@dataclass
class Holder:
    path: Path | None


def test_a_result_of_which_nothing_can_be_journaled_is_refused_before_it_is_made() -> None:
    unreadable: list[object] = [Path, list[Path], dict[str, Path | None], Holder, Iterator[int]]
    for wanted in unreadable:
        with pytest.raises(WorkflowError, match="cannot be journaled"):
            readable_decoder_of(wanted, "the result of f")
    readable: list[object] = [Tree, list[Tree], Model, object, Any, None, dict[str, object]]
    for wanted in readable:
        readable_decoder_of(wanted, "the result of f")


def test_a_union_that_json_cannot_tell_apart_is_refused() -> None:
    with pytest.raises(WorkflowError) as caught:
        readable_decoder_of(Inner | Outer, "the result of f")
    assert caught.value.message.startswith("the result of f: ")
    assert "Type unions may not contain more than one dataclass" in caught.value.message
    assert "Annotate it with a type that JSON can hold." in str(caught.value)
