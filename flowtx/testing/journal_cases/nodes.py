"""Cases on nodes: claiming, owning, nudging, leaving.

The law of this file: a case gets an empty store, uses the protocol and nothing else, and raises ``AssertionError`` with
what it found and what it expected.
"""

from __future__ import annotations

from flowtx.testing.journal_cases.looks import claimed, in_threads, put, row_of, same
from flowtx.testing.journal_writes import WORKFLOW, begin, end, step
from flowtx_engine.journal.records import Filter, RowChange
from flowtx_engine.journal.store import Store


def check_claiming(store: Store) -> None:
    """The most overdue are claimed first."""
    put(store, begin("late", wake_at=3.0), begin("later", wake_at=1.0), begin("now", wake_at=10.0))
    put(store, begin("soon", wake_at=10.5), begin("never"), begin("parked", wake_at=2.0))
    put(store, begin("over", wake_at=1.0), begin("mine", owner="n1", wake_at=1.0))
    put(store, step("over", 1, RowChange(updated_at=2.0, status="failed")))
    store.beat("n1", 10.0, 20.0)
    first = store.claim("n1", 10.0, 3, [WORKFLOW])
    same([one.gid for one in first], ["later", "parked", "late"], "the three most overdue, that one first")
    for one in first:
        same((one.owner, one.updated_at), ("n1", 10.0), "whose they are, and since when")
        same(store.transaction(one.gid), one, "a claimed transaction, read again")
    same(claimed(store, "n1", 10.0), ["now"], "what is due at this very instant")
    same(claimed(store, "n1", 10.0), [], "what is left then")
    same(store.claim("n1", 99.0, 0, [WORKFLOW]), [], "none, if none are wanted")
    same(claimed(store, "n1", 10.5), ["soon"], "what is due a little later")


def check_workflows(store: Store) -> None:
    """Only loaded workflows are claimed."""
    put(store, begin("a", workflow=("w", "1"), wake_at=1.0), begin("b", workflow=("w", "2"), wake_at=2.0))
    put(store, begin("c", workflow=("v", "1"), wake_at=3.0), begin("d", workflow=("v", "2"), wake_at=4.0))
    same(store.next_wake_at([]), None, "when to wake, without any workflow")
    same(store.next_wake_at([("v", "2")]), 4.0, "when to wake for one workflow")
    same(store.next_wake_at([("v", "1"), ("w", "2"), ("x", "1")]), 2.0, "when to wake for several")
    same(store.claim("n", 9.0, 10, []), [], "what a node without workflows may claim")
    same(store.claim("n", 9.0, 10, [("w", "3"), ("x", "1")]), [], "what a node with other workflows may claim")
    pair = [("v", "1"), ("w", "2"), ("v", "1")]
    same([one.gid for one in store.claim("n", 9.0, 10, pair)], ["b", "c"], "names and versions belong together")


def check_dead_nodes(store: Store) -> None:
    """A dead node's transactions can be claimed."""
    store.beat("dead", 1.0, 5.0)
    store.beat("alive", 1.0, 20.0)
    for number, owner in enumerate(("dead", "alive", "unknown", "me", "")):
        put(store, begin(f"of {owner or 'nobody'}", owner=owner, wake_at=1.0 + number / 8))
    same(claimed(store, "me", 5.0), ["of unknown", "of nobody"], "at the last instant a node is alive")
    same(claimed(store, "me", 5.5), ["of dead"], "an instant later")
    same(sorted(store.owned("me")), ["of dead", "of me", "of nobody", "of unknown"], "what the claimer has then")
    store.beat("dead", 6.0, 30.0)
    put(store, begin("again", owner="dead", wake_at=1.0))
    same(claimed(store, "me", 25.0), ["of alive"], "when the one came back and the other died")


def check_two_claimers(store: Store) -> None:
    """Two nodes never claim the same."""
    put(store, *(begin(f"g{number:03}", wake_at=float(number)) for number in range(300)))
    taken: dict[str, list[str]] = {"n1": [], "n2": []}

    def take(node: str) -> None:
        store.beat(node, 0.0, 1e9)
        while some := claimed(store, node, 1000.0, limit=7):
            taken[node] += some

    in_threads([lambda: take("n1"), lambda: take("n2")])
    same(sorted(taken["n1"] + taken["n2"]), [f"g{number:03}" for number in range(300)], "what two nodes claimed")
    for node, gids in taken.items():
        same(sorted(store.owned(node)), sorted(gids), f"what {node} owns")


def check_next_wake_at(store: Store) -> None:
    """The next wake-up is the earliest of nobody."""
    same(store.next_wake_at([WORKFLOW]), None, "when to wake for nothing")
    put(store, begin("a", wake_at=7.0), begin("b", wake_at=5.0), begin("c"), begin("d", owner="n", wake_at=1.0))
    put(store, begin("e", wake_at=2.0), step("e", 1, RowChange(updated_at=1.0, status="succeed")))
    same(store.next_wake_at([WORKFLOW]), 5.0, "the earliest of nobody that is not finished")
    put(store, end("b", 1))
    same(store.next_wake_at([WORKFLOW]), 7.0, "the next one")


def check_owning(store: Store) -> None:
    """A node knows what it owns and what was nudged."""
    put(store, begin("a", owner="n"), begin("b", owner="n", wake_at=1.0), begin("c", owner="m"), begin("d"))
    put(store, begin("e", owner="n"), step("e", 1, RowChange(updated_at=1.0, status="failed")))
    same(sorted(store.owned("n")), ["a", "b"], "the unfinished ones of a node")
    same(store.owned("nobody"), [], "those of an unknown node")
    nudges = {"a": 5.0, "b": 6.0, "c": 7.0, "e": 8.0}
    for gid, at in nudges.items():
        seq = len(store.history(gid))
        put(store, step(gid, seq, RowChange(updated_at=at, nudged_at=at)))
    same(sorted(store.nudged("n", 6.0)), ["b", "e"], "those nudged at or after an instant, finished or not")
    same(sorted(store.nudged("n", 0.0)), ["a", "b", "e"], "those nudged at all")
    same(store.nudged("n", 8.5), [], "those nudged later")


def check_leaving(store: Store) -> None:
    """A node that leaves gives everything back."""
    store.beat("n", 1.0, 100.0)
    put(store, begin("a", owner="n"), begin("b", owner="n", wake_at=50.0), begin("c", owner="m", wake_at=50.0))
    put(store, begin("over", owner="n"), step("over", 1, RowChange(updated_at=1.0, status="succeed")))
    store.release("n", 3.0)
    for gid in "ab":
        found = row_of(store, gid)
        same((found.owner, found.wake_at, found.updated_at), ("", 3.0, 3.0), "what a node gave back")
    same(row_of(store, "c").owner, "m", "what belongs to another")
    same(row_of(store, "over").wake_at, None, "when a finished one is due")
    same(store.owned("n"), [], "what it still owns")
    put(store, begin("late", owner="n", wake_at=2.0))
    same(sorted(claimed(store, "m", 4.0)), ["a", "b", "late"], "all of it, for a node that left is not alive")


def check_emptying(store: Store) -> None:
    """A store that was emptied knows nodes and nothing else, and takes everything anew."""
    store.beat("n", 1.0, 100.0)
    put(store, begin("a", owner="n"), begin("b", wake_at=1.0), begin("over"), end("over", 1))
    store.empty()
    same([store.transaction(gid) for gid in ("a", "b", "over")], [None] * 3, "what is left of transactions")
    same(store.history("a"), [], "what is left of a history")
    same(store.transactions(Filter(), before_id=None, limit=10), [], "a page of nothing")
    same(store.owned("n"), [], "what is left that a node owns")
    same(claimed(store, "m", 99.0), [], "what is left that is due")
    put(store, begin("a", owner="n", wake_at=1.0))
    same(store.owned("n"), ["a"], "a gid that was forgotten, begun anew")
    same(claimed(store, "m", 99.0), [], "what a node owns that is still alive")
