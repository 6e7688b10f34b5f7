"""A workflow is proved with a call, and one that is wrong is found out."""

from __future__ import annotations

import pytest

import flowtx
from flowtx.testing import Ending, NotProved, crash_everywhere

booked: dict[str, str] = {}


def book(what: str) -> str:
    key = flowtx.current_step().key
    if what == "no":
        raise flowtx.Refused("never")
    if f"{key}/c" not in booked:
        booked.setdefault(key, what)
    return what


def take_back(what: str) -> None:
    key = flowtx.current_step().key
    booked[key] = ""
    booked.pop(key.removesuffix("/c"), None)


@flowtx.workflow
async def pair(tx: flowtx.Tx, one: str, other: str) -> list[str]:
    first = await tx.step(book, one, compensate=take_back)
    await tx.sleep(30 * 86_400)
    return [first, await tx.step(book, other, compensate=take_back)]


@flowtx.workflow
async def forgetful(tx: flowtx.Tx, one: str, other: str) -> None:
    await tx.step(book, one)
    await tx.step(book, other)


def standing() -> list[str]:
    return sorted(what for what in booked.values() if what)


def check(ending: Ending) -> None:
    assert standing() == (["a", "b"] if ending.is_kept else []), ending.schedule
    assert ending.result == (["a", "b"] if ending.is_kept else None)


@pytest.mark.parametrize(("other", "is_kept"), [("b", True), ("no", False)])
def test_a_transaction_that_is_all_or_nothing_is_proved(other: str, is_kept: bool) -> None:
    ends: list[bool] = []

    def note(ending: Ending) -> None:
        check(ending)
        ends.append(ending.is_kept)

    proof = crash_everywhere(pair, "a", other, before=booked.clear, check=note)
    assert set(ends) == {is_kept}
    assert proof.crash_count > 10
    assert proof.play_count == len(ends) - 1


def test_a_step_that_nobody_takes_back_is_found_out() -> None:
    with pytest.raises(NotProved, match="a play without faults"):
        crash_everywhere(forgetful, "a", "no", before=booked.clear, check=check)
