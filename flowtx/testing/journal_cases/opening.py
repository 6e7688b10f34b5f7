"""Cases on being open: closing, reopening, two stores on one journal, readers beside a writer.

The law of this file: a case opens its stores itself, by calling ``open``; each call opens the same journal, which was
empty before the first.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from contextlib import closing

from flowtx.testing.journal_cases.looks import claimed, in_threads, outcomes, put, row_of, same, seqs
from flowtx.testing.journal_writes import WORKFLOW, begin, end, step
from flowtx_engine.journal.errors import JournalUnavailable
from flowtx_engine.journal.records import Filter, RowChange
from flowtx_engine.journal.store import Store

Open = Callable[[], Store]


def check_closing(open: Open) -> None:
    """A closed store says so."""
    store = open()
    put(store, begin("g"))
    store.close()
    calls: Sequence[Callable[[], object]] = (
        lambda: store.commit([begin("h")]),
        lambda: store.transaction("g"),
        lambda: store.history("g"),
        lambda: store.transactions(Filter(), before_id=None, limit=1),
        lambda: store.claim("n", 1.0, 1, [WORKFLOW]),
        lambda: store.next_wake_at([WORKFLOW]),
        lambda: store.owned("n"),
        lambda: store.nudged("n", 1.0),
        lambda: store.beat("n", 1.0, 2.0),
        lambda: store.release("n", 1.0),
        lambda: store.kv_page("", "", before_id=None, limit=1),
        lambda: store.kv_put("c", "k", "v", version=0, now_at=1.0),
        lambda: store.kv_delete("c", "k"),
        lambda: store.prune(1.0, 1),
    )
    for number, call in enumerate(calls):
        try:
            found = call()
        except JournalUnavailable:
            continue
        raise AssertionError(f"call {number} on a closed store gave {found!r} instead of JournalUnavailable")
    store.close()  # twice is harmless


def check_reopening(open: Open) -> None:
    """What was written is there after reopening."""
    with closing(open()) as store:
        put(store, begin("a", owner="n", wake_at=1.0, row_count=2), begin("b", wake_at=2.0), begin("c"), end("c", 1))
        store.beat("n", 1.0, 50.0)
        before = _everything(store)
    with closing(open()) as store:
        same(_everything(store), before, "a journal that was closed and opened again")
        same(claimed(store, "m", 40.0), ["b"], "what another node may claim: a's owner is still known to be alive")
        same(outcomes(store, step("a", 2), step("a", 2)), "dC", "the fence")
        put(store, begin("d"))
        listed = store.transactions(Filter(), before_id=None, limit=9)
        same([one.gid for one in listed], ["d", "c", "b", "a"], "the newest first, new ones too")


def _everything(store: Store) -> object:
    listed = store.transactions(Filter(), before_id=None, limit=1000)
    return listed, [store.history(one.gid) for one in listed]


def check_two_stores(open: Open) -> None:
    """Two stores on one journal keep one fence."""
    with closing(open()) as one, closing(open()) as other:
        put(one, begin("g"), begin("h", wake_at=1.0))
        same(seqs(other, "g"), [0], "what the other store reads")
        put(other, step("g", 1, RowChange(updated_at=2.0, reason="other")))
        same(row_of(one, "g").reason, "other", "what the first store reads")
        same(outcomes(one, step("g", 1), step("h", 1)), "Cd", "the fence between stores")
        one.beat("n1", 5.0, 9.0)
        same(claimed(one, "n1", 5.0) + claimed(other, "n2", 5.0), ["h"], "one transaction, two claimers")
        one.close()
        same(seqs(other, "h"), [0, 1], "what the other store reads when the first is closed")


def check_readers(open: Open) -> None:
    """A write is seen whole or not at all, and reading never fails, while another thread commits."""
    rounds = 60
    with closing(open()) as store:
        put(store, begin("g", row_count=2))
        is_over = threading.Event()

        def write() -> None:
            try:
                for number in range(1, rounds):
                    change = RowChange(updated_at=float(number), attempt_count=number)
                    put(store, step("g", 2 * number, change, row_count=2), begin(f"g{number}"))
            finally:
                is_over.set()

        def read() -> None:
            seen = 0
            while not is_over.is_set():
                found = seqs(store, "g")
                same(found, list(range(len(found))), "a history read while it is written")
                same(len(found) % 2, 0, "rows of half a write")
                assert len(found) >= seen, f"{len(found)} rows, where {seen} were seen before"
                seen = len(found)
                attempt_count = row_of(store, "g").attempt_count
                assert attempt_count >= seen // 2 - 1, f"the rows of write {seen // 2 - 1} without its change"

        in_threads([write, read, read, read])
        same(len(store.history("g")), 2 * rounds, "all rows in the end")
