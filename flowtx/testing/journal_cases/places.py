"""Cases on limits: who is admitted, in which order, at which rate, and what is held how long.

The law of this file: a case gets an empty store, uses the protocol and nothing else, and raises ``AssertionError`` with
what it found and what it expected.
"""

from __future__ import annotations

from flowtx.testing.journal_cases.looks import claimed, in_threads, put, row_of, same
from flowtx.testing.journal_writes import WORKFLOW, begin, end, step
from flowtx_engine.journal.places import LimitRule
from flowtx_engine.journal.records import NewPlace, RowChange, Write
from flowtx_engine.journal.store import Store

NAME, VERSION = WORKFLOW
TWO_AT_ONCE = LimitRule(workflow=NAME, versions=(VERSION,), concurrency=2)
TWO_A_SECOND = LimitRule(workflow=NAME, versions=(VERSION,), per_s=2.0)
NO_LIMIT = LimitRule(workflow=NAME, versions=(VERSION,))


def waits(gid: str, *, key: str = "", due_at: float = 1.0, workflow: tuple[str, str] = WORKFLOW) -> Write:
    """The first write of a run that waits for a place."""
    return begin(gid, workflow=workflow, place=NewPlace(key=key, due_at=due_at))


def admitted(store: Store, node: str, now_at: float, rule: LimitRule, *, limit: int = 100) -> list[str]:
    """The gids that one look admits."""
    return [row.gid for row in store.admit(node, now_at, limit, [rule]).transactions]


def check_admitting(store: Store) -> None:
    """Who waits for a place is admitted first come first served."""
    put(store, waits("late", due_at=2.0), waits("first"), waits("second"), waits("other", key="k"), begin("free"))
    put(store, waits("far", due_at=50.0), waits("elsewhere", workflow=("w", "1")))
    same(claimed(store, "n", 9.0), [], "what can be claimed while it waits for a place")
    same(admitted(store, "n", 9.0, TWO_AT_ONCE, limit=0), [], "none, if none are wanted")
    found = store.admit("n", 9.0, 100, [TWO_AT_ONCE])
    same([row.gid for row in found.transactions], ["first", "second", "other"], "two under each key, in order")
    for row in found.transactions:
        same((row.owner, row.wake_at, row.updated_at), ("n", 9.0, 9.0), "whose they are, and since when")
        same(store.transaction(row.gid), row, "an admitted transaction, read again")
    same(found.next_at, None, "when to look again: only an end can tell")
    same(admitted(store, "m", 9.0, TWO_AT_ONCE), [], "what is left under a full key")
    put(store, end("second", 1))
    same(admitted(store, "m", 9.0, TWO_AT_ONCE), ["late"], "when one has ended")
    put(store, end("first", 1), end("late", 1))
    found = store.admit("m", 9.0, 100, [TWO_AT_ONCE])
    same((found.transactions, found.next_at), ((), 50.0), "when the next one is due")
    same(admitted(store, "m", 50.0, TWO_AT_ONCE), ["far"], "at that instant")


def check_rates(store: Store) -> None:
    """A rate lets in so many in any window."""
    put(store, *(waits(f"g{number}", due_at=float(number)) for number in range(6)))
    found = store.admit("n", 10.0, 100, [TWO_A_SECOND])
    same([row.gid for row in found.transactions], ["g0", "g1"], "two at once")
    same(found.next_at, 11.0, "when the next may begin")
    put(store, end("g0", 1), end("g1", 1))
    found = store.admit("m", 10.75, 100, [TWO_A_SECOND])
    same((found.transactions, found.next_at), ((), 11.0), "within the second, though all have ended")
    same(admitted(store, "m", 11.0, TWO_A_SECOND, limit=1), ["g2"], "a second later")
    same(admitted(store, "m", 11.5, TWO_A_SECOND), ["g3"], "the other one of this second")
    seldom = LimitRule(workflow=NAME, versions=(VERSION,), per_s=0.1)
    same(store.admit("m", 11.5, 100, [seldom]).next_at, 21.5, "when the next may begin at one in ten seconds")
    both = LimitRule(workflow=NAME, versions=(VERSION,), per_s=10.0, concurrency=3)
    same(admitted(store, "m", 20.0, both), ["g4"], "when two of three places are held")


def check_places_are_held(store: Store) -> None:
    """A place is held to the end of its run."""
    put(store, *(waits(f"g{number}") for number in range(4)))
    store.beat("n", 9.0, 10.0)
    same(admitted(store, "n", 9.0, TWO_AT_ONCE), ["g0", "g1"], "two")
    put(store, step("g0", 1, RowChange(updated_at=9.0, owner="", wake_at=None)))
    same(admitted(store, "m", 20.0, TWO_AT_ONCE), [], "what a parked and a dead node's run leave to others")
    same(claimed(store, "m", 20.0), ["g1"], "the dead node's run, with the place it has")
    same(store.put_back("g1", "m"), False, "putting back a run that has its place")
    store.release("m", 21.0)
    same(admitted(store, "m", 22.0, TWO_AT_ONCE), [], "what a node that left leaves")
    put(store, end("g0", 1 + 1), end("g1", 1))
    same(admitted(store, "m", 22.0, TWO_AT_ONCE), ["g2", "g3"], "after both ends")


def check_putting_back(store: Store) -> None:
    """What is woken without its place waits on."""
    put(store, waits("a"), waits("b"), begin("c", owner="n", wake_at=1.0))
    put(store, step("a", 1, RowChange(updated_at=2.0, wake_at=2.0)))
    same(claimed(store, "n", 3.0), ["a"], "what somebody woke")
    same(admitted(store, "m", 3.0, TWO_AT_ONCE), ["b"], "what belongs to nobody")
    same(store.put_back("a", "m"), False, "by a node that does not own it")
    same(store.put_back("c", "n"), False, "a run without a place")
    same(store.put_back("a", "n"), True, "by its owner")
    same((row_of(store, "a").owner, row_of(store, "a").wake_at), ("", None), "a run that was put back")
    same(admitted(store, "m", 3.0, TWO_AT_ONCE), ["a"], "then")


def check_who_waits(store: Store) -> None:
    """It is known who waits, and under which key."""
    put(store, waits("a", key="k"), waits("b"), waits("over"), begin("c"))
    put(store, end("over", 1))
    same(dict(store.waiting_places(["a", "b", "over", "c", "x"])), {"a": "k", "b": ""}, "who waits")
    same(admitted(store, "n", 9.0, NO_LIMIT), ["b", "a"], "all, when the limit is gone")
    same(dict(store.waiting_places(["a", "b"])), {}, "who waits then")
    same(admitted(store, "n", 9.0, NO_LIMIT), [], "whoever ended while waiting is not admitted")


def check_versions_of_places(store: Store) -> None:
    """Only loaded versions are admitted."""
    old, new = (NAME, "1"), (NAME, "2")
    put(store, waits("a", workflow=old), waits("b", workflow=new), waits("c", workflow=old))
    rule = LimitRule(workflow=NAME, versions=("2",), concurrency=2)
    same(admitted(store, "n", 9.0, rule), ["b"], "of the version that is loaded")
    rule = LimitRule(workflow=NAME, versions=("1", "2"), concurrency=2)
    same(admitted(store, "n", 9.0, rule), ["a"], "one more of two, whatever version the other has")


def check_two_admitters(store: Store) -> None:
    """Two nodes together keep a limit."""
    put(store, *(waits(f"g{number:02}", key=str(number % 3)) for number in range(60)))
    taken: dict[str, list[str]] = {"n1": [], "n2": []}
    rule = LimitRule(workflow=NAME, versions=(VERSION,), concurrency=4)

    def take(node: str) -> None:
        for _ in range(20):
            taken[node] += admitted(store, node, 9.0, rule, limit=3)

    in_threads([lambda: take("n1"), lambda: take("n2")])
    expected = [f"g{number:02}" for number in range(12)]
    same(sorted(taken["n1"] + taken["n2"]), expected, "what two nodes admitted, four under each of three keys")


def check_loaded(store: Store) -> None:
    """It is known which code the living nodes have."""
    store.beat("n", 1.0, 10.0)
    store.beat("m", 1.0, 20.0)
    store.declare("n", [("w", "1"), ("w", "2"), ("w", "1")])
    store.declare("m", [("w", "2"), ("v", "1")])
    store.declare("unknown", [("x", "1")])
    same(store.loaded(10.0), {("w", "1"), ("w", "2"), ("v", "1")}, "what both have")
    same(store.loaded(10.5), {("w", "2"), ("v", "1")}, "what the living one has")
    store.declare("m", [("v", "2")])
    same(store.loaded(10.5), {("v", "2")}, "what it says last")
    store.release("m", 11.0)
    same(store.loaded(5.0), {("w", "1"), ("w", "2")}, "when it has left")
    store.declare("n", [])
    same(store.loaded(5.0), set[tuple[str, str]](), "when nothing is loaded")
