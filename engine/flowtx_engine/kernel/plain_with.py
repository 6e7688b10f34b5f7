"""Blocks that wait when they are left, entered with a plain ``with``.

The law of this file: for checkers there is no such thing, and they say so before anything runs; who has no checker gets
an error that says what to write, as from trio.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NoReturn

from flowtx_dsl.errors import WorkflowError


class OnlyAsyncWith:
    """What only ``async with`` enters; ``_word`` is how the workflow calls it."""

    __slots__ = ()

    _word = ""

    if not TYPE_CHECKING:

        def __enter__(self) -> NoReturn:
            """Say what to write; raises ``WorkflowError``."""
            raise WorkflowError(
                f"{self._word} waits when its block is left, and a plain `with` cannot wait",
                remedy=f"Write async with {self._word}.",
            )

        def __exit__(self, *_: object) -> None:
            """Python looks for it before it enters; never called."""
