"""Branch ids: two digits a level, counted from 01 (spec 10).

The law of this file: an id is made once. At most 99 children, and no child for a parent of 20 characters or more,
because clients in every language keep to these limits.
"""

from __future__ import annotations

from flowtx.client.errors import BranchIdError

CHILDREN_MAX = 99
PARENT_LENGTH_MAX = 19


class BranchIds:
    """The ids of the branches under ``parent``, in turn: ``01``, ``02`` of a transaction, ``0201`` of its branch 02.

    Not for several threads at once: whoever numbers branches decides their order.
    """

    __slots__ = ("_count", "parent")

    def __init__(self, parent: str = "") -> None:
        self.parent = parent
        self._count = 0

    def __repr__(self) -> str:
        return f"<BranchIds of {self.parent!r}, {self._count} made>"

    def new(self) -> str:
        """The next id; raises ``BranchIdError`` where there is none, and makes nothing."""
        if self._count >= CHILDREN_MAX:
            raise BranchIdError(
                f"branch {self.parent!r} has {self._count} children, expected at most {CHILDREN_MAX}",
                remedy="Group the work into fewer branches, or nest it one level deeper.",
            )
        if len(self.parent) > PARENT_LENGTH_MAX:
            raise BranchIdError(
                f"branch {self.parent!r} has an id of {len(self.parent)} characters, expected at most "
                f"{PARENT_LENGTH_MAX} where children are to be made",
                remedy="Nest less deeply: each level takes two characters.",
            )
        self._count += 1
        return f"{self.parent}{self._count:02d}"
