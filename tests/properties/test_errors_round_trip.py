"""The laws of exceptions in the journal: encoding never fails, and what was decoded once stays as it is."""

from __future__ import annotations

import enum
import os
import subprocess
import sys
import traceback
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from pathlib import Path
from typing import Any, NoReturn, cast
from uuid import UUID

import msgspec
from hypothesis import given
from hypothesis import strategies as st

from flowtx_dsl import errors as flowtx_errors
from flowtx_dsl.error_codec import DEPTH_MAX, ERRORS_MAX, TEXT_MAX, ErrorRecord, decode_error, encode_error
from flowtx_dsl.errors import RemoteError


class Reason(enum.Enum):
    POOR = "poor"


@dataclass(frozen=True)
class Money:
    amount: Decimal


class Plain(Exception):
    """Nothing of its own."""


class WithFields(Exception):
    def __init__(self, account: str, need: Decimal) -> None:
        super().__init__(f"{account} lacks {need}")
        self.account = account
        self.need = need


class WithKeywords(Exception):
    def __init__(self, *, code: int) -> None:
        super().__init__()
        self.code = code

    def __str__(self) -> str:
        return f"code {self.code}"


@dataclass
class AsDataclass(Exception):
    account: str
    money: Money


@dataclass(frozen=True)
class Frozen(Exception):
    account: str


class Slotted(Exception):
    __slots__ = ("account",)

    def __init__(self, account: str) -> None:
        super().__init__(account)
        self.account = account


class Choosy(Exception):
    def __new__(cls, *args: object) -> Choosy:
        if len(args) != 2:
            raise TypeError("two, please")
        return super().__new__(cls, *args)


class OwnGroup(ExceptionGroup[Exception]):
    """A group by another name."""


class OwnFileError(OSError):
    def __init__(self, number: int, text: str) -> None:
        super().__init__(number, text)


class Nasty(Exception):
    """Does not want to be looked at."""

    def __init__(self, *args: object, trap: BaseException | None = None) -> None:
        super().__init__(*args)
        self.trap = trap

    def __str__(self) -> str:
        raise self.trap or TypeError("no text for you")

    __repr__ = __str__


class Closed(Exception):
    @property
    def __cause__(self) -> NoReturn:  # type: ignore[override]  # pyright: ignore[reportIncompatibleVariableOverride]  # on purpose
        raise RuntimeError("none of your business")


class OddNotes(Exception):
    def __init__(self, notes: object) -> None:
        super().__init__()
        self.__notes__ = cast("list[str]", notes)


def local_class() -> type[Exception]:
    class Local(Exception):
        pass

    return Local


def unfolded(moment: datetime) -> datetime:
    """Which of two equal hours it is, JSON cannot say."""
    return moment.replace(fold=0)


texts = st.text(max_size=10)
any_texts = texts | st.builds(str.__mul__, st.sampled_from(["\ud800", "x", "\0", "é", "𝄞"]), st.just(TEXT_MAX + 5))
atoms: st.SearchStrategy[object] = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(),
    texts,
    st.floats(allow_nan=False, allow_infinity=False),
    st.decimals(allow_nan=False),
    st.uuids(),
    st.datetimes().map(unfolded),
    st.binary(max_size=5),
    st.sampled_from(Reason),
    st.builds(Money, st.decimals(allow_nan=False, allow_infinity=False)),
)
values: st.SearchStrategy[object] = st.recursive(
    atoms,
    lambda inner: st.one_of(
        st.lists(inner, max_size=2),
        st.tuples(inner, inner),
        st.dictionaries(texts | st.integers() | st.just("$type"), inner, max_size=2),
        st.frozensets(texts, max_size=1),
    ),
    max_leaves=3,
)


def odd_value(place: int) -> object:
    """Made here and not drawn, because not even their repr can be trusted."""
    return [object(), Plain("inner"), float("nan"), 10**5000, print, Nasty(), ["\ud800"], {"\ud800": 1}][place]


odd_values = st.builds(odd_value, st.integers(min_value=0, max_value=7))


def make(kind: type[BaseException], *arguments: st.SearchStrategy[Any]) -> st.SearchStrategy[BaseException]:
    return st.builds(kind, *arguments)


def make_any(
    kinds: list[type[BaseException]], arguments: st.SearchStrategy[object]
) -> st.SearchStrategy[BaseException]:
    def raised(kind: type[BaseException], args: list[object]) -> BaseException:
        return kind(*args)

    return st.builds(raised, st.sampled_from(kinds), st.lists(arguments, max_size=3))


def with_code(code: int) -> BaseException:
    return WithKeywords(code=code)


def of_local_class(args: list[object]) -> BaseException:
    return local_class()(*args)


PLAIN: list[type[BaseException]] = [Plain, ValueError, KeyError, ZeroDivisionError, KeyboardInterrupt]
OURS: list[type[BaseException]] = [flowtx_errors.Refused, flowtx_errors.Abort, flowtx_errors.Cancelled]
tame: st.SearchStrategy[BaseException] = st.one_of(
    make_any(PLAIN, values),
    st.sampled_from(OURS).flatmap(lambda kind: make(kind, texts)),
    make(WithFields, texts, st.decimals(allow_nan=False)),
    st.builds(with_code, st.integers()),
    make(AsDataclass, texts, st.just(Money(Decimal("1.50")))),
    make(Frozen, texts),
    make(Slotted, texts),
    make(Choosy, texts, texts),
    make(FileNotFoundError, st.just(2), texts, texts),
    make(OSError, texts),
    make(OwnFileError, st.just(13), texts),
    make(UnicodeDecodeError, st.just("utf-8"), st.just(b"\xff"), st.just(0), st.just(1), texts),
    make(RemoteError, texts, texts),
    st.builds(flowtx_errors.FlowtxError, texts, remedy=texts),
    make(flowtx_errors.TransactionFailed, texts, texts),
)
wild: st.SearchStrategy[BaseException] = st.one_of(
    make_any(PLAIN, values | odd_values | any_texts),
    st.sampled_from(OURS).flatmap(lambda kind: make(kind, odd_values | any_texts)),
    st.builds(of_local_class, st.lists(values, max_size=2)),
    st.builds(Nasty, values, trap=st.none() | st.sampled_from([SystemExit(), RecursionError(), GeneratorExit()])),
    make(Closed, texts),
    make(OddNotes, odd_values | st.lists(odd_values) | st.just(["note"] * 1000) | st.tuples(odd_values)),
    make(RemoteError, any_texts, any_texts),
)


def with_note(error: BaseException, note: str) -> BaseException:
    vars(error)["__notes__"] = [note]
    return error


def with_cause(error: BaseException, cause: BaseException) -> BaseException:
    if not isinstance(error, Closed):
        object.__setattr__(error, "__cause__", cause)
    return error


def with_context(error: BaseException, context: BaseException) -> BaseException:
    object.__setattr__(error, "__context__", context)  # past a class that guards its attributes
    return error


def with_attribute(error: BaseException, value: object) -> BaseException:
    vars(error)["extra"] = value
    return error


def group_of(message: str, members: list[BaseException]) -> BaseException:
    if all(isinstance(member, Exception) for member in members) and len(members) % 2:
        return OwnGroup(message, cast("list[Exception]", members))
    return BaseExceptionGroup(message, members)


def trees_of(
    leaves: st.SearchStrategy[BaseException], attributes: st.SearchStrategy[object], notes: st.SearchStrategy[str]
) -> st.SearchStrategy[BaseException]:
    return st.recursive(
        leaves,
        lambda inner: st.one_of(
            st.builds(with_note, inner, notes),
            st.builds(with_cause, inner, inner),
            st.builds(with_context, inner, inner),
            st.builds(with_attribute, inner, attributes),
            st.builds(group_of, notes, st.lists(inner, min_size=1, max_size=3)),
        ),
        max_leaves=5,
    )


tame_trees = trees_of(tame, values, texts)
wild_trees = trees_of(tame | wild, values | odd_values, any_texts)


def as_group(error: BaseException) -> BaseExceptionGroup[BaseException] | None:
    return cast("BaseExceptionGroup[BaseException]", error) if isinstance(error, BaseExceptionGroup) else None


def shape(error: BaseException | None) -> object:
    """All of an exception that must survive."""
    if error is None:
        return None
    attributes = {name: value for name, value in vars(error).items() if name != "__notes__"}
    members: tuple[BaseException, ...] = ()
    args: tuple[object, ...] = error.args
    group = as_group(error)
    if group is not None:
        members, args = group.exceptions, (group.message,)
    return (
        type(error),
        args,
        [type(arg) for arg in args],
        str(error),
        getattr(error, "__notes__", []),
        attributes,
        getattr(error, "account", None),
        getattr(error, "filename", None),
        shape(error.__cause__),
        None if error.__suppress_context__ else shape(error.__context__),
        [shape(member) for member in members],
    )


def stored(record: ErrorRecord) -> ErrorRecord:
    """The record as it comes out of a journal."""
    return msgspec.json.decode(msgspec.json.encode(record), type=ErrorRecord)


@given(tame_trees)
def test_an_ordinary_exception_comes_back_as_it_was(error: BaseException) -> None:
    assert shape(decode_error(stored(encode_error(error)))) == shape(error)


@given(wild_trees, st.booleans())
def test_encoding_never_fails_and_has_limits(error: BaseException, with_trace: bool) -> None:
    written = msgspec.json.encode(encode_error(error, with_trace=with_trace))
    assert len(written) < 5_000_000


@given(wild_trees)
def test_what_was_decoded_once_stays_as_it_is(error: BaseException) -> None:
    record = stored(encode_error(error))
    once = decode_error(record)
    assert shape(decode_error(record)) == shape(once)
    again = decode_error(stored(encode_error(once)))
    assert shape(again) == shape(once)


@given(st.lists(values, max_size=3), texts)
def test_a_class_that_cannot_be_found_gives_a_remote_error_with_name_and_text(args: list[object], note: str) -> None:
    error = with_note(local_class()(*args), note)
    again = decode_error(encode_error(error))
    assert isinstance(again, RemoteError)
    assert (again.type_name, again.text) == ("local_class.<locals>.Local", str(error))
    assert again.__notes__ == [note]


def test_an_argument_that_json_cannot_hold_is_kept_as_its_text() -> None:
    again = decode_error(encode_error(Plain(ConnectionError("reset by peer"))))
    assert (type(again), again.args) == (Plain, ("reset by peer",))


def test_an_attribute_that_json_cannot_hold_is_left_out() -> None:
    error = Plain("no answer")
    vars(error).update(response=object(), status=500)
    again = decode_error(encode_error(error))
    assert isinstance(again, Plain)
    assert vars(again) == {"status": 500}


def test_types_of_values_survive() -> None:
    values = (Decimal("1.50"), datetime(2026, 1, 2, 3, 4, 5), UUID(int=7), b"\0", Reason.POOR, (1, [2]), {3}, Money)
    error = Plain(*values[:-1], Money(Decimal(1)))
    again = decode_error(stored(encode_error(error)))
    assert again.args == error.args
    assert [type(arg) for arg in again.args] == [type(arg) for arg in error.args]


def test_a_long_text_keeps_its_type_and_says_how_long_it_was() -> None:
    again = decode_error(encode_error(Plain("x" * 100_000)))
    assert type(again) is Plain
    assert len(str(again)) == TEXT_MAX
    assert str(again).endswith("x... (100000 characters in all)")


def test_a_chain_that_bites_its_tail_ends() -> None:
    error, other = Plain("a"), Plain("b")
    error.__cause__, other.__cause__ = other, error
    depth, found = 0, cast("BaseException | None", decode_error(encode_error(error)))
    while found is not None:
        depth, found = depth + 1, found.__cause__
    assert depth == DEPTH_MAX + 1


def test_what_was_being_handled_is_kept_as_a_traceback_shows_it() -> None:
    def raised(*, from_none: bool = False, cause: Exception | None = None) -> Exception:
        try:
            try:
                raise Plain("first")
            except Plain:
                if from_none:
                    raise Plain("second") from None
                if cause is not None:
                    raise Plain("second") from cause
                raise Plain("second")  # noqa: B904 - what is tested
        except Plain as error:
            return error

    again = decode_error(stored(encode_error(raised())))
    assert isinstance(again.__context__, Plain)
    assert str(again.__context__) == "first"
    assert "During handling of the above exception" in "".join(traceback.format_exception(again))
    assert decode_error(encode_error(raised(from_none=True))).__context__ is None
    caused = decode_error(encode_error(raised(cause=Plain("cause"))))
    assert (str(caused.__cause__), caused.__context__) == ("cause", None)


def test_a_group_that_doubles_at_every_level_has_a_limit() -> None:
    error: Exception = Plain("leaf")
    for _ in range(30):
        pair: list[Exception] = [error, error]
        error = ExceptionGroup("both", pair)

    def count(record: ErrorRecord) -> int:
        return 1 + sum(count(member) for member in record.members)

    record = encode_error(error)
    assert count(record) <= ERRORS_MAX + 1
    assert shape(decode_error(encode_error(decode_error(record)))) == shape(decode_error(record))
    wide = encode_error(ExceptionGroup("wide", [Plain(str(i)) for i in range(ERRORS_MAX + 7)]))
    assert wide.notes == ("flowtx: 7 more exceptions of this group were not kept",)


def test_an_exception_whose_text_cannot_be_had_becomes_a_remote_error() -> None:
    for trap in (None, SystemExit(1), GeneratorExit()):
        again = decode_error(encode_error(Nasty(trap=trap)))
        assert isinstance(again, RemoteError)
        assert str(again) == "Nasty: <str() of a Nasty fails>"


def test_the_trace_keeps_its_end() -> None:
    def dive(depth: int) -> None:
        raise Plain("at the bottom" + "!" * TEXT_MAX)

    def sink(dive: Callable[[int], None]) -> BaseException:
        try:
            dive(1)
        except Plain as error:
            return error
        raise AssertionError

    trace = encode_error(sink(dive), with_trace=True).trace
    assert trace.startswith("(1")
    assert trace.endswith("!\n")
    assert encode_error(sink(dive)).trace == ""


def test_another_process_decodes_the_same(tmp_path: Path) -> None:
    # The text of a set depends on the process; whether its exception can be rebuilt must not.
    program = tmp_path / "decode.py"
    program.write_text(
        "import sys, msgspec\n"
        "from flowtx_dsl.error_codec import ErrorRecord, decode_error\n"
        "again = decode_error(msgspec.json.decode(sys.stdin.buffer.read(), type=ErrorRecord))\n"
        "print(type(again).__name__, sorted(again.args[0]))\n"
    )
    written = msgspec.json.encode(encode_error(ValueError({"ann", "bob", "cyd", "dan"})))
    printed = {
        subprocess.run(
            [sys.executable, str(program)],
            input=written,
            env=os.environ | {"PYTHONHASHSEED": seed, "PYTHONPATH": os.pathsep.join(sys.path)},
            capture_output=True,
            check=True,
        ).stdout
        for seed in ("1", "2", "3")
    }
    assert len(printed) == 1
