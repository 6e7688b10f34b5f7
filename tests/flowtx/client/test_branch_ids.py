"""Branch ids and their limits."""

from __future__ import annotations

import pytest

from flowtx.client.branch_ids import BranchIds
from flowtx.client.errors import BranchIdError


def test_ids_are_two_digits_from_01_behind_the_parents() -> None:
    top = BranchIds()
    assert [top.new(), top.new()] == ["01", "02"]
    assert BranchIds("02").new() == "0201"


# check 218
def test_there_are_99_children() -> None:
    ids = BranchIds("01")
    assert [ids.new() for _ in range(99)][-1] == "0199"
    for _ in range(2):
        with pytest.raises(BranchIdError, match="99 children"):
            ids.new()


def test_a_parent_of_20_characters_has_none() -> None:
    assert BranchIds("1" * 19).new() == "1" * 19 + "01"
    with pytest.raises(BranchIdError, match="20 characters"):
        BranchIds("0" * 20).new()
