"""What the barrier asks of a database connection, whatever its library.

The law of this file: one local transaction from ``begin`` to ``commit`` or ``rollback``, and it is the barrier's own.
Work that was begun before would be committed when a repeated call is skipped, and so be done twice.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Protocol

from flowtx.client.barrier_table import DialectName
from flowtx.client.errors import BarrierError

Parameters = Mapping[str, str | int]


class LocalTransaction(Protocol):
    """One local transaction on somebody's connection. Statements are written with ``:name`` parameters."""

    @property
    def dialect(self) -> DialectName:
        """Whose SQL the connection speaks."""
        ...

    def begin(self) -> None:
        """Begin; raises ``BarrierError`` where something is open already, or each statement would commit itself."""
        ...

    def execute(self, statement: str, parameters: Parameters) -> int:
        """Run a statement; returns how many rows it changed."""
        ...

    def fetch_text(self, statement: str, parameters: Parameters) -> str | None:
        """The first column of the first row, or None where there is no row."""
        ...

    def check_still_open(self) -> None:
        """Raises ``BarrierError`` where the transaction was ended by somebody else."""
        ...

    def commit(self) -> None:
        """Commit."""
        ...

    def rollback(self) -> None:
        """Roll back; harmless where nothing is open."""
        ...


def already_open(what: str) -> BarrierError:
    """The error for a connection that is in a transaction already."""
    return BarrierError(
        f"{what} is in a transaction already, expected one with nothing open",
        remedy="Commit or roll back first, or pass a fresh connection (engine.connect(), not engine.begin()): the "
        "barrier begins and ends the transaction, and would commit your earlier work even when it skips a repeat.",
    )


def ended_early(what: str) -> BarrierError:
    """The error for a business function that ended the barrier's transaction."""
    return BarrierError(
        f"the transaction on {what} was ended inside the barrier, expected it to be open still",
        remedy="Do not commit or roll back in the business function (on MySQL, neither run DDL): the barrier does it.",
    )
