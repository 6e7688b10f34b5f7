"""Whatever programs Hypothesis draws, what a run leaves to do is done once, in order, and the right way round.

The books below are kept by what the kernel asked for and got, never by what it says of itself.
"""

from __future__ import annotations

from contextlib import closing
from dataclasses import dataclass, field
from typing import Any

import msgspec
from hypothesis import given
from hypothesis import strategies as st

import flowtx
from flowtx_dsl.commands import Compensate, Confirm, Step
from flowtx_dsl.error_codec import encode_error
from flowtx_engine.kernel.events import AnyFact, Began, Event, Refused, Succeeded
from flowtx_engine.kernel.kernel import Kernel
from flowtx_engine.kernel.tasks import Asked

EVENTS_MAX = 200


def do(what: int) -> int:
    return what


def back(what: int) -> None: ...


def confirm(what: int) -> None: ...


@dataclass(frozen=True)
class Ask:
    """One word: a step with or without its compensation, a try, a message, a compensation."""

    word: str


@dataclass(frozen=True)
class Inside:
    """A savepoint around some words; what it raises is caught outside."""

    words: tuple[Any, ...]


@dataclass(frozen=True)
class Branches:
    """Parallel branches."""

    branches: tuple[tuple[Any, ...], ...]


Words = tuple[Any, ...]

asks = st.sampled_from(["step", "bare step", "tcc", "message", "compensate"]).map(Ask)


def blocks(words: st.SearchStrategy[Words]) -> st.SearchStrategy[Any]:
    return words.map(Inside) | st.lists(words, min_size=1, max_size=3).map(tuple).map(Branches)


words: st.SearchStrategy[Words] = st.recursive(
    st.lists(asks, max_size=3).map(tuple),
    lambda inner: st.lists(asks | blocks(inner), max_size=4).map(tuple),
    max_leaves=12,
)


def workflow_of(program: Words) -> flowtx.Workflow[[], None]:
    @flowtx.workflow
    async def drawn(tx: flowtx.Tx) -> None:
        await speak(tx, program)

    return drawn


async def speak(tx: flowtx.Tx, program: Words) -> None:
    for word in program:
        match word:
            case Ask(word="step"):
                await tx.step(do, 1, compensate=back)
            case Ask(word="bare step"):
                await tx.step(do, 2)
            case Ask(word="tcc"):
                await tx.tcc(do, confirm, back, 3)
            case Ask(word="message"):
                tx.message(confirm, 4)
            case Ask(word="compensate"):
                tx.compensate(back, 5)
            case Inside(words=inner):
                try:
                    async with tx.savepoint():
                        await speak(tx, inner)
                except* flowtx.Refused:
                    pass
            case Branches(branches=branches):
                async with tx.open_nursery() as nursery:
                    for branch in branches:
                        nursery.start_soon(speak, tx, branch)
            case _:
                raise AssertionError(word)


@dataclass
class Books:
    """What happened, in order."""

    done: list[str] = field(default_factory=list[str])
    refused: list[str] = field(default_factory=list[str])
    taken_back: list[str] = field(default_factory=list[str])
    confirmed: list[str] = field(default_factory=list[str])
    asked: dict[str, Step] = field(default_factory=dict[str, Step])

    def book(self, asked: Asked, *, is_refused: bool) -> AnyFact:
        match asked.command:
            case Step() as step:
                self.asked[asked.address] = step
                if is_refused:
                    self.refused.append(asked.address)
                    return Refused(call=asked.record, error=encode_error(flowtx.Refused("no")))
                self.done.append(asked.address)
            case Compensate():
                self.taken_back.append(asked.address.removesuffix("/c"))
            case Confirm():
                self.confirmed.append(asked.address.removesuffix("/m"))
            case _:
                raise AssertionError(asked)
        return Succeeded(call=asked.record, value=msgspec.Raw(b"1"))


def event(kernel: Kernel, address: str, fact: AnyFact) -> Event:
    return Event(seq=kernel.next_seq, at=0.0, address=address, fact=fact)


def state(kernel: Kernel) -> object:
    return ([asked.address for asked in kernel.waiting], kernel.phase, kernel.ended)


@given(program=words, data=st.data())
def test_what_a_run_leaves_to_do_is_done_once_and_the_right_way_round(program: Words, data: st.DataObject) -> None:
    workflow, books, events = workflow_of(program), Books(), list[Event]()
    with closing(Kernel(workflow, b"[]", gid="g")) as kernel:

        def feed(address: str, fact: AnyFact) -> None:
            events.append(event(kernel, address, fact))
            kernel.feed(events[-1])

        feed("", Began(workflow=workflow.name))
        while kernel.ended is None:
            assert kernel.waiting, "a run that has not ended waits for something"
            assert len(events) < EVENTS_MAX
            asked = data.draw(st.sampled_from(kernel.waiting), "who is next")
            is_refused = isinstance(asked.command, Step) and data.draw(st.integers(0, 5), "its luck") == 0
            feed(asked.address, books.book(asked, is_refused=is_refused))
        check(books, str(kernel.ended.status))
        with closing(Kernel(workflow, b"[]", gid="g", recorded=events)) as again:
            for each in events:
                again.feed(each)
            assert state(again) == state(kernel)


def check(books: Books, status: str) -> None:
    assert len(set(books.taken_back)) == len(books.taken_back), "nothing is taken back twice"
    assert len(set(books.confirmed)) == len(books.confirmed), "nothing is confirmed twice"
    assert not set(books.taken_back) & set(books.confirmed), "nothing goes both ways"
    tries = {address for address, step in books.asked.items() if step.confirmation is not None}
    if status == "failed":
        assert books.confirmed == [], "a failed run confirms nothing"
        due = {address for address in books.done if books.asked[address].compensation is not None}
        assert due <= set(books.taken_back), "whatever was done is taken back"
        assert tries <= set(books.taken_back), "and every try, also a refused one"
    else:
        assert tries <= set(books.taken_back) | set(books.confirmed), "no try is left undecided"
        assert not tries & set(books.confirmed) & set(books.refused), "what was refused is not confirmed"
    last: dict[str, int] = {}
    for address in books.confirmed:  # oldest first in each task
        task, _, number = address.rpartition("/")
        assert last.get(task, -1) < int(number), books.confirmed
        last[task] = int(number)
