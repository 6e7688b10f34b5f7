"""The linter's tables agree with the language they speak of."""

import importlib
import inspect
import re

import pytest

import flowtx
from flowtx_dsl.codec import readable_decoder_of
from flowtx_dsl.errors import WorkflowError
from flowtx_dsl.lint.forbidden import CALLS, GIVEN, INSTEAD, lookup
from flowtx_dsl.lint.rules import RULES
from flowtx_dsl.lint.unencodable import TYPES
from flowtx_dsl.lint.words import AT_ONCE, DECORATORS, SWALLOWABLE, TX_TYPES, WAITING
from flowtx_dsl.tx import Tx

INSTALLED = {name: kind for name in TYPES if (kind := name.partition(".")[0]) not in {"httpx", "requests"}}


def resolve(dotted: str) -> object:
    """What a dotted name stands for."""
    parts = dotted.split(".")
    for count in range(len(parts), 0, -1):
        try:
            found: object = importlib.import_module(".".join(parts[:count]))
        except ImportError:
            continue
        for part in parts[count:]:
            found = getattr(found, part)
        return found
    raise LookupError(dotted)


def test_every_word_of_tx_is_known_as_one_that_waits_or_answers_at_once() -> None:
    words = {name: member for name, member in inspect.getmembers(Tx) if not name.startswith("_")}
    waiting = {name for name, member in words.items() if inspect.iscoroutinefunction(member)}
    assert waiting <= WAITING, f"put them into WAITING in flowtx_dsl/lint/words.py: {waiting - WAITING}"
    at_once = words.keys() - waiting
    assert not at_once & WAITING
    assert waiting | {"start_step"} == WAITING
    assert {"gid", "now", "random", "uuid4"} <= AT_ONCE & at_once


@pytest.mark.parametrize("dotted", sorted(DECORATORS | TX_TYPES | {it for it in SWALLOWABLE if "flowtx" in it}))
def test_the_names_of_the_language_exist(dotted: str) -> None:
    face = getattr(flowtx, dotted.rpartition(".")[2])
    assert resolve(dotted) is face


@pytest.mark.parametrize("dotted", sorted(INSTALLED))
def test_what_is_called_unencodable_is_refused_by_the_codec(dotted: str) -> None:
    with pytest.raises(WorkflowError):
        readable_decoder_of(resolve(dotted), dotted)


def test_every_name_with_a_remedy_of_its_own_breaks_a_rule() -> None:
    assert all(lookup(name) for name in INSTEAD)
    assert all(lookup(name) for name in GIVEN)
    assert all(remedy.endswith(".") for remedy in INSTEAD.values())


def test_a_name_stands_for_what_is_below_it_unless_something_longer_is_listed() -> None:
    assert lookup("random.choice") == ("random", CALLS["random"])
    assert lookup("httpx.URL") is None
    assert lookup("httpx.ConnectError") is None
    assert lookup("randomness.choice") is None
    assert lookup("os.path.join") is None


def test_rules_are_written_alike() -> None:
    for code, rule in RULES.items():
        assert re.fullmatch(r"FTX\d{3}", code)
        assert rule.summary[0].islower() or rule.summary.startswith("id()")
        assert not rule.summary.endswith(".")
        assert rule.remedy.endswith(".")
