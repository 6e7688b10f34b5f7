"""The page about the linter is true: every rule has its heading, and its examples are wrong and right as they claim."""

import re
import textwrap
from pathlib import Path

import pytest

from flowtx_dsl.lint.lint import lint
from flowtx_dsl.lint.rules import RULES, UNREADABLE

PAGE = (Path(__file__).parents[3] / "docs" / "how-to" / "lint.md").read_text("utf-8")
PARTS = re.split(r"^### (FTX\d{3}: .+)$", PAGE, flags=re.MULTILINE)
SECTIONS = dict(zip(PARTS[1::2], PARTS[2::2], strict=True))
BLOCK = re.compile(r"^```py\n(.*?)^```$", re.MULTILINE | re.DOTALL)

HEAD = """
import os, random, subprocess, time, uuid, zlib
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
import requests, trio
from flowtx import Tx, workflow
from shop import ask_rate, branch, greet, helper, list_sorted, withdraw_from
SEEN: list[str] = []
@dataclass
class Bill:
    cents: int
async def withdraw(cents: int) -> None: ...
async def withdraw_back(cents: int) -> None: ...
def print_invoice(cents: int) -> None: ...
"""
WORKFLOW = """
@workflow
async def documented(tx: Tx, cents: int, bank: str, folder: str, people: list[str], names: set[str]) -> None:
    account = Account()
"""


def completed(block: str) -> str:
    """An example with what it takes for granted around it."""
    return HEAD + (block if "@workflow" in block else WORKFLOW + textwrap.indent(block, "    "))


def test_every_rule_has_its_heading_and_every_heading_its_rule() -> None:
    assert list(SECTIONS) == [f"{code}: {rule.summary}" for code, rule in RULES.items()]


@pytest.mark.parametrize("heading", [it for it in SECTIONS if not it.startswith(UNREADABLE.code)])
def test_the_first_example_of_a_rule_is_wrong_and_the_second_right(heading: str) -> None:
    wrong, right = BLOCK.findall(SECTIONS[heading])
    assert {it.code for it in lint(completed(wrong))} == {heading[:6]}
    assert lint(completed(right)) == ()


def test_the_example_of_silencing_silences() -> None:
    (example,) = BLOCK.findall(PARTS[0])
    assert lint(completed(example)) == ()
    assert [it.code for it in lint(completed(example.partition("#")[0] + "\n"))] == ["FTX001"]
