"""Waiting prepared, as tcc and xa do: for branches to be registered, for the submission, or for time to be up (4.3).

The law of this file: exactly one of three things ends the waiting, whatever comes at the same moment; what was said
after it is not heard any more.
"""

from __future__ import annotations

from collections.abc import Callable

from flowtx_dsl.errors import Abort
from flowtx_dsl.patterns.calling import TIMEOUT_MAX_S, WORD, Word
from flowtx_dsl.tx import Tx


async def until_submitted(tx: Tx, timeout_s: int, on_branch: Callable[[bytes], None]) -> bytes | None:
    """What was ordered with the submission; None for a transaction that was never only prepared.

    ``on_branch`` gets each branch as it is registered. Raises ``Abort`` when that was asked for, or when nobody has
    submitted the transaction ``timeout_s`` seconds after it was prepared.
    """
    if not tx.is_prepared:
        return None
    with tx.move_on_after(min(timeout_s, TIMEOUT_MAX_S)):
        while True:
            word = await tx.signal(WORD, type=Word)
            if word.kind == "branch":
                on_branch(bytes(word.data))
            elif word.kind == "submit":
                tx.submitted()
                return bytes(word.data)
            elif word.kind == "abort":
                raise Abort(word.reason)
    raise Abort(f"Timeout after {timeout_s} seconds")
