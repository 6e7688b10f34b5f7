"""Cases on what is written: columns, rows, the fence, and listing.

The law of this file: a case gets an empty store, uses the protocol and nothing else, and raises ``AssertionError`` with
what it found and what it expected.
"""

from __future__ import annotations

import math
from collections.abc import Generator

import msgspec

from flowtx.testing.journal_cases.looks import outcomes, put, row_of, same, seqs
from flowtx.testing.journal_writes import CREATED_AT, begin, end, row, step
from flowtx_engine.journal.records import Filter, JournalRow, RowChange, Transaction, Write
from flowtx_engine.journal.store import Store

ODD_GIDS = (
    "g", "G", "g ", " g", "g'", 'g"', "g;--", "g%", "g_", "g\\", "g\t", "g\n", "ü", "u\u0308", "ß", "ss", "İ", "i",
    "日本", "🙂", "g" * 128, "g" * 127 + "G", "?1", ":gid", "NULL", "0", "00", "1e3", "🙂" * 128,
)  # fmt: skip
"""Gids that a careless database takes for each other, or for something else than a text."""

# --- what is written is what is read ---


def check_every_column(store: Store) -> None:
    """Every column is read as it was written."""
    put(store, begin("g", owner="n1", wake_at=5.5))
    expected = Transaction(
        id=row_of(store, "g").id,
        gid="g",
        pattern="workflow",
        workflow="transfer",
        version="1",
        status="submitted",
        owner="n1",
        wake_at=5.5,
        attempt_count=0,
        last_error="",
        input=b'"input"',
        options=b'{"options":1}',
        result=None,
        reason="",
        created_at=CREATED_AT,
        updated_at=CREATED_AT,
        finished_at=None,
        nudged_at=None,
    )
    same(store.transaction("g"), expected, "a new transaction")
    values: dict[str, object] = {
        "status": "aborting",
        "owner": "n2",
        "wake_at": 7.25,
        "attempt_count": 3,
        "last_error": "refused\n\tby 'bank' \N{SNOWMAN}",
        "result": b"\x00\xff",
        "reason": "no money",
        "finished_at": 9.5,
        "nudged_at": 8.5,
    }
    # One column a write: the others must stay as they are.
    for seq, (name, value) in enumerate(values.items(), 1):
        change = msgspec.convert({"updated_at": CREATED_AT + seq, name: value}, RowChange)
        put(store, step("g", seq, change))
        expected = msgspec.structs.replace(expected, updated_at=CREATED_AT + seq, **{name: value})
        same(store.transaction("g"), expected, f"a transaction after a change of {name}")
    nothing = RowChange(updated_at=1.0, wake_at=None, result=None, finished_at=None, nudged_at=None)
    put(store, step("g", len(values) + 1, nothing))
    expected = msgspec.structs.replace(
        expected, updated_at=1.0, wake_at=None, result=None, finished_at=None, nudged_at=None
    )
    same(store.transaction("g"), expected, "a transaction whose columns were emptied")
    same(store.transaction("other"), None, "a gid that nobody wrote")


def check_history(store: Store) -> None:
    """A history is read in order, from any seq on."""
    first, second = begin("g", row_count=3), step("g", 3, row_count=2, data=bytes(range(256)))
    put(store, first, begin("other", row_count=2))
    put(store, second)
    rows = [*first.rows, *second.rows]
    same(store.history("g"), rows, "a history")
    for from_seq in range(7):
        same(store.history("g", from_seq), rows[from_seq:], f"a history from seq {from_seq} on")
    same(store.history("nobody"), [], "the history of an unknown gid")


def check_histories(store: Store) -> None:
    """Several histories are read at once, as far as the rows go."""
    put(store, begin("a", row_count=2), begin("b", row_count=3), begin("c"), begin("d"))
    whole = {gid: store.history(gid) for gid in "abc"}
    same(store.histories(["c", "b", "a", "x", "a"], 100), whole, "three histories")
    same(store.histories(list("cba"), 6), whole, "three that just fit")
    same(store.histories(list("cba"), 5), {gid: whole[gid] for gid in "ab"}, "what fits into five rows")
    same(store.histories(list("cba"), 4), {"a": whole["a"]}, "what fits into four rows")
    same(store.histories(list("cba"), 1), {}, "what fits into one row")
    same(store.histories([], 5), {}, "none")


def check_empty_values(store: Store) -> None:
    """Empty values stay empty values."""
    bare = JournalRow(gid="g", seq=0, kind="", address="", data=b"", at=0.0)
    write = begin("g", input=b"")
    put(store, Write(gid="g", rows=(bare,), change=write.change))
    same(store.history("g"), [bare], "a row of empty values")
    same(row_of(store, "g").input, b"", "an empty input")
    put(store, step("g", 1, RowChange(updated_at=1.0, result=b"")))
    same(row_of(store, "g").result, b"", "an empty result, which is not None")
    same(store.commit([]), [], "the results of an empty batch")


def check_large_payloads(store: Store) -> None:
    """Payloads of 5 MiB are kept."""
    payload = bytes(range(256)) * (5 * 1024 * 4)  # 5 MiB
    text = "ü\N{GRINNING FACE}" * 300_000
    put(store, begin("g", input=payload), begin("small"))
    change = RowChange(updated_at=1.0, result=payload, last_error=text, reason=text)
    put(store, step("g", 1, change, data=payload), step("small", 1))
    found = row_of(store, "g")
    assert found.input == found.result == payload, "a payload of 5 MiB did not come back as it was"
    assert found.last_error == found.reason == text, "a long text did not come back as it was"
    assert store.history("g", 1)[0].data == payload, "5 MiB of data did not come back as they were"


def check_odd_gids(store: Store) -> None:
    """Odd gids are different gids."""
    # Batches of two sizes, because a store may well write them differently.
    put(store, *(begin(gid, input=gid.encode()) for gid in ODD_GIDS[:-1]))
    put(store, begin(ODD_GIDS[-1], input=ODD_GIDS[-1].encode()))
    put(store, *(step(gid, 1, RowChange(updated_at=1.0, reason=gid)) for gid in ODD_GIDS))
    for gid in ODD_GIDS:
        found = row_of(store, gid)
        same((found.gid, found.input, found.reason), (gid, gid.encode(), gid), "a transaction with an odd gid")
        same([each.gid for each in store.history(gid)], [gid, gid], "its rows")
    same(outcomes(store, *(begin(gid) for gid in ODD_GIDS)), "C" * len(ODD_GIDS), "each of them again")


def check_times(store: Store) -> None:
    """Instants are kept to the last bit."""
    times = (
        0.0,
        0.1,
        1 / 3,
        5e-324,
        1.7976931348623157e308,
        1.7e9 + 0.1,
        math.nextafter(1.7e9, 2e9),
        2.0**53 + 2,
        -1.5,
    )
    for number, at in enumerate(times):
        gid = f"g{number}"
        first = Write(gid=gid, rows=(row(gid, 0, at=at),), change=begin(gid, created_at=at, wake_at=at).change)
        put(store, first, step(gid, 1, RowChange(updated_at=at, finished_at=at, nudged_at=at)))
        found = row_of(store, gid)
        instants = (found.created_at, found.updated_at, found.wake_at, found.finished_at, found.nudged_at)
        same(instants, (at,) * 5, "instants of a transaction, to the last bit")
        same(store.history(gid)[0].at, at, "the instant of a row, to the last bit")


# --- the fence ---


def check_taken_seq(store: Store) -> None:
    """A taken seq is a conflict."""
    put(store, begin("g", row_count=3))
    before = store.transaction("g"), store.history("g")
    change = RowChange(updated_at=9.0, status="failed", reason="never")
    late = [step("g", 2, change), step("g", 1, change, row_count=2), step("g", 1, change, row_count=5)]
    for write in late:
        same(outcomes(store, write), "C", f"a write from seq {write.rows[0].seq} on, when seq 3 is next")
        same((store.transaction("g"), store.history("g")), before, "what a conflict leaves behind")


def check_taken_gid(store: Store) -> None:
    """A taken gid is a conflict."""
    put(store, begin("g", input=b"1"))
    before = store.transaction("g"), store.history("g")
    same(outcomes(store, begin("g", input=b"2", row_count=4)), "C", "a second transaction of one gid")
    same((store.transaction("g"), store.history("g")), before, "what a conflict leaves behind")


def check_gaps(store: Store) -> None:
    """A gap is a conflict."""
    put(store, begin("g"))
    same(outcomes(store, step("g", 2)), "C", "a write that leaves a seq out")
    same(outcomes(store, step("nobody", 1)), "C", "a write to a gid that nobody began")
    same(outcomes(store, step("nobody", 1, RowChange(updated_at=1.0))), "C", "a change of a row that is missing")
    same(seqs(store, "g") + seqs(store, "nobody"), [0], "what they leave behind")
    same(store.transaction("nobody"), None, "what they leave behind")


def check_fresh_journals(store: Store) -> None:
    """A write that begins a fresh journal lets the rows before go, and the fence stands where it stood."""
    put(store, begin("g", row_count=3))
    fresh = step("g", 3, row_count=3)
    put(store, Write(gid="g", rows=fresh.rows, keeps_from=4))
    same(seqs(store, "g"), [4, 5], "the seqs of a journal that begins at 4")
    same([each.seq for each in store.history("g", 5)], [5], "the seqs from 5 on")
    same(outcomes(store, step("g", 5), step("g", 3)), "CC", "writes at seqs that were used")
    put(store, step("g", 6))
    same(seqs(store, "g"), [4, 5, 6], "the seqs after one more")


def check_conflicts_in_a_batch(store: Store) -> None:
    """A conflict hurts only its own write."""
    put(store, *(begin(f"g{number}") for number in range(40)))
    good = [step(f"g{number}", 1, RowChange(updated_at=2.0, reason="good")) for number in range(40)]
    bad: dict[int, Write] = {
        0: begin("g0"),
        1: step("g1", 0 + 2),
        17: step("nobody", 3),
        18: begin("g18"),
        39: step("g39", 7, RowChange(updated_at=2.0, reason="bad")),
    }
    batch = [bad.get(number, write) for number, write in enumerate(good)]
    expected = "".join("C" if number in bad else "d" for number in range(40))
    same(outcomes(store, *batch), expected, "a batch with conflicts at its ends and inside")
    for number in range(40):
        found = (row_of(store, f"g{number}").reason, seqs(store, f"g{number}"))
        same(found, ("", [0]) if number in bad else ("good", [0, 1]), f"g{number} after it")


def check_one_gid_twice(store: Store) -> None:
    """One gid may stand in a batch several times."""
    change = RowChange(updated_at=3.0, status="aborting", reason="first")
    later = RowChange(updated_at=4.0, reason="second", wake_at=6.0)
    life = [begin("g", wake_at=1.0), step("g", 1, change), step("g", 2), step("g", 3, later, row_count=2)]
    same(outcomes(store, *life), "dddd", "four writes of one gid in one batch")
    found = row_of(store, "g")
    values = (found.status, found.reason, found.wake_at, found.updated_at)
    same(values, ("aborting", "second", 6.0, 4.0), "changes in their order")
    same(seqs(store, "g"), [0, 1, 2, 3, 4], "rows in their order")
    twice = [step("g", 5, change), step("g", 5, later), step("g", 6, change), begin("h"), begin("h", input=b"2")]
    same(outcomes(store, *twice), "dCddC", "one seq, and one gid, twice in one batch")
    same((row_of(store, "g").reason, row_of(store, "h").input), ("first", b'"input"'), "the first of each")
    early = [step("i", 1), begin("i"), step("i", 1)]
    same(outcomes(store, *early), "Cdd", "a write that stands before what it needs")
    final = [begin("k"), end("k", 1), begin("k")]
    same(outcomes(store, *final), "ddC", "a whole life in one batch, and the gid again")


def check_long_batches(store: Store) -> None:
    """Batches and writes may be long."""
    put(store, *(begin(f"g{number}") for number in range(700)))
    put(store, *(end(f"g{number}", 1) for number in range(700)), begin("long", row_count=1300))
    same(seqs(store, "long"), list(range(1300)), "a write of 1300 rows")
    listed = store.transactions(Filter(status="succeed"), before_id=None, limit=1000)
    same([one.gid for one in listed], [f"g{number}" for number in range(699, -1, -1)], "a batch of 700, by age")


# --- listing ---


def check_listing(store: Store) -> None:
    """Transactions are listed by what is wanted."""
    other = ("pay", "2")
    put(store, begin("a", created_at=10.0), begin("b", pattern="saga", created_at=11.0, status="prepared"))
    put(store, begin("c", workflow=other, created_at=12.0), begin("d", created_at=11.0))
    put(store, begin("e", pattern="saga", created_at=13.0, workflow=other))
    put(store, end("a", 1), end("d", 1, status="failed"))
    aborting = step("e", 1, RowChange(updated_at=1.0, status="aborting"))
    put(store, aborting)

    def listed(wanted: Filter) -> str:
        return "".join(one.gid for one in store.transactions(wanted, before_id=None, limit=10))

    expected = {
        Filter(): "edcba",
        Filter(status="succeed"): "a",
        Filter(status="submitted"): "c",
        Filter(pattern="saga"): "eb",
        Filter(workflow="pay"): "ec",
        Filter(unfinished=True): "ecb",
        Filter(unfinished=True, pattern="saga"): "eb",
        Filter(unfinished=True, status="aborting"): "e",
        Filter(unfinished=True, status="failed"): "",
        Filter(created_from_at=11.0): "edcb",
        Filter(created_to_at=11.0): "dba",
        Filter(created_from_at=11.0, created_to_at=11.0): "db",
        Filter(created_from_at=11.0, created_to_at=12.0, pattern="workflow", status="failed"): "d",
        Filter(status="nonsense"): "",
        Filter(workflow="transfe"): "",
    }
    for wanted, gids in expected.items():
        same(listed(wanted), gids, f"transactions by {wanted}")


def check_paging(store: Store) -> None:
    """Pages join without gap or overlap."""
    for number in range(10):
        put(store, begin(f"g{number}"))
    put(store, end("g4", 1))
    for wanted, expected in ((Filter(), "9876543210"), (Filter(unfinished=True), "987653210")):
        for limit in (1, 3, 10, 11):
            found = "".join(_pages(store, wanted, limit))
            same(found, expected, f"pages of {limit} by {wanted}")
    same(store.transactions(Filter(), before_id=None, limit=0), [], "a page of none")


def _pages(store: Store, wanted: Filter, limit: int) -> Generator[str]:
    before_id: int | None = None
    while page := store.transactions(wanted, before_id=before_id, limit=limit):
        assert len(page) <= limit, f"a page of {len(page)} where {limit} were wanted"
        yield from (one.gid[1:] for one in page)
        before_id = page[-1].id
