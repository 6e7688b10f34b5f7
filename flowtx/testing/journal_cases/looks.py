"""What the cases look through: results and rows of a store, compared with words for what they are.

The law of this file: it uses the protocol of ``Store`` and nothing else.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence

from flowtx.testing.journal_writes import WORKFLOW
from flowtx_engine.journal.errors import ConflictError
from flowtx_engine.journal.records import Transaction, Write
from flowtx_engine.journal.store import Store


def same(found: object, expected: object, what: str) -> None:
    """Raise ``AssertionError``, saying what it is, unless found is expected."""
    assert found == expected, f"{what}\n  found:    {found!r}\n  expected: {expected!r}"


def put(store: Store, *writes: Write) -> None:
    """Commit writes that must all fit."""
    same(store.commit(writes), [None] * len(writes), "results of writes that fit")


def outcomes(store: Store, *writes: Write) -> str:
    """Commit a batch; a letter a write: d for durable, C for a conflict."""
    results = store.commit(writes)
    same(len(results), len(writes), "one result a write")
    strange = [result for result in results if result is not None and not isinstance(result, ConflictError)]
    same(strange, [], "results that are neither None nor a conflict")
    return "".join("d" if result is None else "C" for result in results)


def row_of(store: Store, gid: str) -> Transaction:
    """The row of a gid that must be there."""
    found = store.transaction(gid)
    assert found is not None, f"transaction {gid!r} is not in the journal"
    return found


def seqs(store: Store, gid: str) -> list[int]:
    """The seqs of a gid's history."""
    return [each.seq for each in store.history(gid)]


def claimed(store: Store, node: str, now_at: float, limit: int = 100) -> list[str]:
    """The gids a node claims, of the usual workflow."""
    return [one.gid for one in store.claim(node, now_at, limit, [WORKFLOW])]


def in_threads(calls: Sequence[Callable[[], None]]) -> None:
    """Run calls at once, and raise what the first of them raised."""
    errors: list[BaseException] = []

    def run(call: Callable[[], None]) -> None:
        try:
            call()
        except BaseException as error:
            errors.append(error)

    threads = [threading.Thread(target=run, args=(call,)) for call in calls]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    if errors:
        raise errors[0]
