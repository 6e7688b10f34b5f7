"""Every observable-behaviour check of the DTM protocol has a test with its number, or is a documented difference.

A test carries its numbers in its name, ``test_084_163_a_finished_...``, ``test_check_159_...``, or where it is mainly
about something else in a comment, ``# check 212``. The page of differences names the rest: ``(check 204)``.
"""

import re
from collections.abc import Iterator, Mapping

CHECKS = range(1, 219)
DIFFERENCES = "docs/reference/dtm-differences.md"
IN_A_NAME = re.compile(r"def test_(?:checks?_)?((?:\d{3}_(?:and_|to_)?)+)")
IN_A_COMMENT = re.compile(r"# checks? (\d+(?:, \d+)*)$", re.MULTILINE)
IN_A_PAGE = re.compile(r"\(checks? (\d+(?:, \d+)*)\)")


def numbers_in_name(found: str) -> Iterator[int]:
    """``185_to_191_`` is all of them, ``084_163_`` and ``174_and_176_`` are two."""
    words = found.strip("_").split("_")
    for at, word in enumerate(words):
        if word == "to":
            yield from range(int(words[at - 1]), int(words[at + 1]))
        elif word.isdigit():
            yield int(word)


def carried(texts: Mapping[str, str]) -> set[int]:
    numbers: set[int] = set()
    for path, text in texts.items():
        if not path.startswith("tests/") or not path.endswith(".py"):
            continue
        if path.startswith(("tests/compat/", "tests/interop/")):
            numbers.update(number for found in IN_A_NAME.findall(text) for number in numbers_in_name(found))
        numbers.update(int(number) for found in IN_A_COMMENT.findall(text) for number in found.split(", "))
    return numbers


def test_every_check_of_the_protocol_is_tested_or_a_documented_difference(texts: Mapping[str, str]) -> None:
    documented = {int(number) for found in IN_A_PAGE.findall(texts[DIFFERENCES]) for number in found.split(", ")}
    covered = carried(texts) | documented
    assert set(CHECKS) <= covered, f"no test carries the number of {sorted(set(CHECKS) - covered)}"
    assert covered <= set(CHECKS), f"there is no check {sorted(covered - set(CHECKS))}"
