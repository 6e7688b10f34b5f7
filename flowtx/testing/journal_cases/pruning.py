"""Cases on deleting what has ended.

The law of this file: a case gets an empty store, uses the protocol and nothing else, and raises ``AssertionError`` with
what it found and what it expected.
"""

from __future__ import annotations

from flowtx.testing.journal_cases.looks import outcomes, put, row_of, same, seqs
from flowtx.testing.journal_writes import CREATED_AT, begin, end, row, step
from flowtx_engine.journal.places import LimitRule
from flowtx_engine.journal.records import Filter, NewPlace, RowChange, Write
from flowtx_engine.journal.store import Store

LATE_AT = CREATED_AT + 1_000.0
RULE = LimitRule(workflow="transfer", versions=("1",), concurrency=1, per_s=None)


def check_pruning(store: Store) -> None:
    """What ended before an instant is deleted, what ended first before the others, and nothing else is."""
    put(store, *(begin(gid) for gid in "abcdef"), begin("waits", status="prepared"))
    ended = (("b", 3.0), ("a", 1.0), ("d", 2.0), ("c", 4.0))
    put(store, *(end(gid, 1, at=at, status="failed" if gid == "d" else "succeed") for gid, at in ended))
    put(store, step("e", 1, RowChange(updated_at=1.0, status="aborting")))
    # No end at all, but somebody wrote an instant there: what is unfinished stays.
    put(store, step("f", 1, RowChange(updated_at=1.0, finished_at=0.5)))

    def left() -> str:
        return "".join(sorted(one.gid for one in store.transactions(Filter(), before_id=None, limit=10)))

    same((store.prune(1.0, 10), left()), (0, "abcdefwaits"), "what ended before the first end")
    same((store.prune(4.0, 2), left()), (2, "bcefwaits"), "the two that ended first")
    same((store.prune(4.0, 2), left()), (1, "cefwaits"), "what is left that ended before the last end")
    same((store.prune(9.0, 0), left()), (0, "cefwaits"), "at most none")
    same((store.prune(9.0, 10), left()), (1, "efwaits"), "the last end")
    same((store.prune(9.0, 10), left()), (0, "efwaits"), "nothing twice")
    for gid in "abcd":
        same(store.transaction(gid), None, f"what is left of {gid}")
        same(store.history(gid), [], f"what is left of the journal of {gid}")
    same((seqs(store, "e"), seqs(store, "f")), ([0, 1], [0, 1]), "the journals of what is unfinished")


def check_beginning_anew_after_pruning(store: Store) -> None:
    """A gid that was deleted may be begun anew, and whoever is late with a write of the old one finds a conflict."""
    put(store, begin("g", row_count=3, input=b"1"), end("g", 3))
    same(store.prune(LATE_AT, 10), 1, "how many went")
    same(outcomes(store, step("g", 4), step("g", 3)), "CC", "late writes of a gid that is gone")
    put(store, begin("g", input=b"2"))
    same((row_of(store, "g").input, seqs(store, "g")), (b"2", [0]), "a gid begun anew")
    same(outcomes(store, step("g", 4)), "C", "a late write of the one that was")


def check_pruning_of_children(store: Store) -> None:
    """A child stays while the replay of whoever began it may ask for it again."""
    put(store, begin("parent"), *(begin(gid, begun_by="parent") for gid in ("early", "late")))
    put(store, begin("orphan", begun_by="nobody"), begin("other", begun_by="early"))
    same(row_of(store, "early").begun_by, "parent", "who began a child")
    put(store, *(end(gid, 1) for gid in ("early", "orphan", "other")), end("late", 1, at=CREATED_AT + 100))
    same(store.prune(LATE_AT, 10), 2, "how many have no unfinished parent")
    kept = [gid for gid in ("early", "late", "orphan", "other") if store.transaction(gid) is not None]
    same(kept, ["early", "late"], "children of an unfinished parent")
    # The parent's journal begins anew after the end of one of them.
    fresh = (row("parent", 1, at=CREATED_AT + 50),)
    put(store, Write(gid="parent", rows=fresh, keeps_from=1))
    same(store.prune(LATE_AT, 10), 1, "how many ended before the parent's journal began")
    same(store.transaction("early"), None, "the child that no replay can ask for")
    put(store, end("parent", 2, at=LATE_AT))
    same(store.prune(LATE_AT, 10), 1, "the other one, now that its parent has ended")
    same(store.prune(LATE_AT + 1, 10), 1, "the parent")


def check_pruning_frees_places(store: Store) -> None:
    """What is deleted holds no place, and its gid may wait for one again."""
    waiting = begin("p", place=NewPlace(key="k", due_at=0.0))
    put(store, waiting)
    same(len(store.admit("n", 1.0, 10, [RULE]).transactions), 1, "who is admitted")
    put(store, end("p", 1))
    same(store.prune(LATE_AT, 10), 1, "how many went")
    put(store, waiting)
    same(dict(store.waiting_places(["p"])), {"p": "k"}, "who waits")
    same(len(store.admit("n", 2.0, 10, [RULE]).transactions), 1, "who is admitted again")
