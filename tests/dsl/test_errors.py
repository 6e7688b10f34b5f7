"""Errors as people read them: what happened, and after an arrow what to do."""

from __future__ import annotations

import inspect

import pytest

from flowtx_dsl import errors
from flowtx_dsl.errors import UNKNOWN, FlowtxError, RemoteError, TransactionFailed

CLASSES = [kind for _, kind in inspect.getmembers(errors, inspect.isclass) if issubclass(kind, FlowtxError)]


def test_a_remedy_follows_an_arrow() -> None:
    assert str(FlowtxError("what happened")) == "what happened"
    assert str(FlowtxError("what happened", remedy="Do this.")) == "what happened\n  -> Do this."
    assert str(errors.GidTaken("g is taken")).startswith("g is taken\n  -> Use a fresh gid")
    assert errors.GidTaken("g is taken").message == "g is taken"


@pytest.mark.parametrize("kind", CLASSES)
def test_every_error_is_one_of_ours_says_what_it_is_and_gives_its_advice_in_whole_sentences(
    kind: type[FlowtxError],
) -> None:
    assert kind.__doc__
    assert not kind.remedy or (kind.remedy[0].isupper() and kind.remedy.endswith("."))


def test_a_remote_error_says_name_and_text() -> None:
    assert str(RemoteError("OutOfMoney", "30 short")) == "OutOfMoney: 30 short"
    assert str(RemoteError("OutOfMoney", "")) == "OutOfMoney"
    assert RemoteError("OutOfMoney", "30 short").args == ("OutOfMoney", "30 short")


def test_a_failed_transaction_says_its_gid_and_reason() -> None:
    assert str(TransactionFailed("g-1", "too poor")) == "transaction g-1 failed: too poor"
    assert str(TransactionFailed("g-1", "")) == "transaction g-1 failed"


def test_unknown_is_one_and_says_its_name() -> None:
    assert repr(UNKNOWN) == "UNKNOWN"
    assert errors.Unknown("unknown") is UNKNOWN
