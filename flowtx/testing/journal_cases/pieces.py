"""Cases on large payloads in pieces: they count when the write that names them does, and never otherwise.

The law of this file: a case gets an empty store, uses the protocol and nothing else, and raises ``AssertionError`` with
what it found and what it expected.
"""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from flowtx.testing.journal_cases.looks import in_threads, outcomes, put, row_of, same, seqs
from flowtx.testing.journal_writes import CREATED_AT, begin, end, row, step
from flowtx_engine.journal.errors import ConflictError, PiecesGone
from flowtx_engine.journal.pieces import NOBODYS_AFTER_S, Large, stand_in, whole_rows, whole_transaction
from flowtx_engine.journal.records import InPieces, JournalRow, PayloadField, Piece, RowChange, Write
from flowtx_engine.journal.store import Store

LATE_AT = CREATED_AT + 1_000.0
PARTS = (bytes(range(256)), b"\x00\x01\x02", b"")


def payload(
    id: str, gid: str = "g", *, field: PayloadField = "data", seq: int | None = 1, parts: Sequence[bytes] = PARTS
) -> InPieces:
    """A payload in as many pieces as there are parts."""
    size = sum(map(len, parts))
    return InPieces(id=id, gid=gid, field=field, seq=seq, piece_count=len(parts), size=size)


def pieces_of(
    of: InPieces, *, node: str = "n", at: float = CREATED_AT, parts: Sequence[bytes] = PARTS, but: int = -1
) -> list[Write]:
    """A write for each piece; without number ``but``."""
    return [
        Write(gid=of.gid, rows=(), pieces=(Piece(of=of, number=number, data=data, node=node, at=at),))
        for number, data in enumerate(parts)
        if number != but
    ]


def naming(of: InPieces, seq: int = 1, *, keeps_from: int | None = None) -> Write:
    """A write whose event is kept in these pieces."""
    event = row(of.gid, seq, data=stand_in(of, head=b'{"kind":"kept"}'))
    return Write(gid=of.gid, rows=(event,), counted=(of,), keeps_from=keeps_from)


def returning(gid: str, seq: int, id: str) -> tuple[InPieces, Write]:
    """A payload, and a write with it as the result of its transaction."""
    of = payload(id, gid, field="result", seq=None)
    change = RowChange(updated_at=1.0, result=stand_in(of))
    return of, Write(gid=gid, rows=(row(gid, seq),), change=change, counted=(of,))


def read(store: Store, of: InPieces) -> bytes:
    """What is there of a payload."""
    return b"".join(store.pieces(of, 0, 100))


def left(store: Store, node: str = "n", now_at: float = LATE_AT) -> str:
    """The ids a node would sweep."""
    return "".join(sorted(store.uncounted(node, now_at, 100)))


def sweep_all(store: Store, node: str = "n", now_at: float = LATE_AT) -> None:
    """Sweep what there is to be swept."""
    while ids := store.uncounted(node, now_at, 100):
        store.sweep(ids, 100)


def check_pieces(store: Store) -> None:
    """Pieces are kept in their order, whatever order they came in, and count with the write that names them."""
    of = payload("p")
    put(store, begin("g"))
    first, *others = pieces_of(of)
    put(store, first, *reversed(others))
    same((seqs(store, "g"), read(store, of)), ([0], b"".join(PARTS)), "pieces that nothing names")
    same([store.pieces(of, 1, 1), store.pieces(of, 2, 9), store.pieces(of, 3, 9)], [[PARTS[1]], [b""], []], "some")
    put(store, naming(of))
    same(store.history("g", 1)[0].data, naming(of).rows[0].data, "what stands in their place")
    same(whole_rows(store, store.history("g"))[1].data, b"".join(PARTS), "the payload")
    same(left(store), "", "what is to be swept")
    sweep_all(store)
    same(store.sweep(["p"], 100), 0, "how many were swept of what counts")
    same(read(store, of), b"".join(PARTS), "what counts, after a sweep")


def check_whole_writes(store: Store) -> None:
    """Inputs, events and results that were cut are put together again."""
    long = bytes(range(256)) * 5
    writes = [
        begin("g", input=long),
        step("g", 1, data=long[:100]),
        step("g", 2, data=long[:101], row_count=2),
        step("g", 4, RowChange(updated_at=1.0, result=long[:301]), data=long),
    ]
    for write in writes:
        large = Large(write, node="n", piece_bytes=100)
        while (piece := large.next_piece()) is not None:
            put(store, piece)
            large.went_on()
        put(store, large.write)
    found = whole_transaction(store, row_of(store, "g"))
    same((found.input, found.result), (long, long[:301]), "the row")
    data = [each.data for each in whole_rows(store, store.history("g"))[1:]]
    same(data, [long[:100], long[:101], long[:101], long], "the events")


def check_missing_pieces(store: Store) -> None:
    """A write counts only what is coming and whole; else nothing of it is written, and only it is kept out."""
    put(store, begin("g"), begin("other"))
    whole, part = payload("w"), payload("h")
    put(store, *pieces_of(whole), *pieces_of(part, but=1))
    foreign = msgspec.structs.replace(whole, gid="other")
    bad = {
        "one that is not whole": naming(part),
        "one that nobody put": naming(payload("x")),
        "another transaction's": naming(foreign),
        "a whole one beside one that is not": msgspec.structs.replace(naming(whole), counted=(whole, part)),
    }
    for what, write in bad.items():
        (result,) = store.commit([write])
        same(type(result), PiecesGone, f"the result of a write that counts {what}")
    same((seqs(store, "g"), seqs(store, "other")), ([0], [0]), "the journals after them")
    results = store.commit([step("other", 1), naming(part), naming(whole), begin("new")])
    same([type(result) for result in results], [type(None), PiecesGone, type(None), type(None)], "a batch with one")
    same((seqs(store, "g"), seqs(store, "other"), seqs(store, "new")), ([0, 1], [0, 1], [0]), "the journals after it")
    (result,) = store.commit([naming(whole, 1)])
    same(type(result), ConflictError, "the result of the same write again, which the fence keeps out")
    (result,) = store.commit([naming(whole, 2)])
    same(type(result), PiecesGone, "the result of a write that counts what counts already")


def check_pieces_twice(store: Store) -> None:
    """Whoever has lost an answer puts a piece again; the first that was put stays."""
    of = payload("p")
    put(store, begin("g"), *pieces_of(of), *pieces_of(of, node="m", parts=[b"x", b"y", b"z"]))
    same(read(store, of), b"".join(PARTS), "pieces that were put twice")
    same((left(store, "n"), left(store, "o", 1.0)), ("p", "p"), "whose they are")
    put(store, naming(of), *pieces_of(of, parts=[b"x", b"y", b"z", b"more"]))
    same(read(store, of), b"".join(PARTS), "pieces that are put when they count already")


def check_pieces_in_a_batch(store: Store) -> None:
    """Pieces, the write that names them, and others share a batch."""
    put(store, begin("g"))
    of, late = payload("p"), payload("q", "new", seq=0)
    first = msgspec.structs.replace(begin("new"), rows=naming(late, 0).rows, counted=(late,))
    batch = [step("g", 1), *pieces_of(of), naming(of, 2), begin("h"), *pieces_of(late), first]
    put(store, *batch)
    same((seqs(store, "g"), seqs(store, "h"), seqs(store, "new")), ([0, 1, 2], [0], [0]), "the journals after it")
    again = payload("r")
    last, *others = pieces_of(again)
    results = store.commit([last, naming(again, 3), *others])
    same(type(results[1]), PiecesGone, "the result of a write that stands before its last piece")


def check_who_is_swept(store: Store) -> None:
    """A node sweeps its own, that of dead nodes, what no node began long ago, and what was let go of; no other."""
    store.beat("alive", 0.0, LATE_AT)
    store.beat("dead", 0.0, LATE_AT - 1)
    long_ago = LATE_AT - NOBODYS_AFTER_S - 1
    for id, node, at in (
        ("a", "alive", 0.0), ("d", "dead", LATE_AT), ("m", "me", LATE_AT), ("u", "unknown", LATE_AT),
        ("0", "", long_ago), ("1", "", LATE_AT),
    ):  # fmt: skip
        put(store, *pieces_of(payload(id), node=node, at=at))
    same(left(store, "me"), "0dmu", "what is to be swept")
    same(left(store, "alive"), "0admu", "by the one that is alive")
    same(left(store, "me", LATE_AT + 1), "0admu", "when the one is dead as well")
    same(len(store.uncounted("me", LATE_AT, 2)), 2, "two of them")
    sweep_all(store, "me")
    found = [id for id in "adm01u" if read(store, payload(id))]
    same(found, ["a", "1"], "what is left after a sweep")


def check_sweeping_in_parts(store: Store) -> None:
    """A sweep deletes no more pieces than it may, and what it has begun with counts never more."""
    put(store, begin("g"), *pieces_of(payload("p")), *pieces_of(payload("q")))
    same(store.sweep(["p", "q", "nothing"], 2), 2, "pieces of one sweep")
    (result,) = store.commit([naming(payload("p"))])
    same(type(result), PiecesGone, "the result of a write whose pieces are being swept")
    put(store, *pieces_of(payload("p"))[1:])
    same(read(store, payload("q")), b"".join(PARTS), "the one that the sweep has not come to")
    counts = [store.sweep(["p", "q"], 2) for _ in range(3)]
    same(counts, [2, 2, 0], "pieces of the next sweeps")
    same((left(store), read(store, payload("p")), read(store, payload("q"))), ("", b"", b""), "what is left")
    put(store, *pieces_of(payload("p")), naming(payload("p")))
    same(read(store, payload("p")), b"".join(PARTS), "the same id once more")


def check_letting_go(store: Store) -> None:
    """What is replaced or deleted is let go of: a result by another, a journal by its successor, all by the end."""
    of_first, first = returning("g", 1, "a")
    of_second, second = returning("g", 2, "b")
    all_of = [of_first, of_second, payload("c", seq=3), payload("d", seq=4), payload("e", seq=6)]
    put(store, begin("g"), *pieces_of(of_first), first)
    same(left(store), "", "what is let go of while there is one result")
    put(store, *pieces_of(of_second), second)
    same(left(store), "a", "what is let go of when there is another")
    for of in all_of[2:4]:
        put(store, *pieces_of(of), naming(of, of.seq or 0))
    fresh = all_of[4]
    put(store, *pieces_of(fresh))
    rows: tuple[JournalRow, ...] = (row("g", 5), *naming(fresh, 6).rows)
    put(store, Write(gid="g", rows=rows, counted=(fresh,), keeps_from=6))
    same(left(store), "acd", "what a journal that began anew has left behind")
    sweep_all(store)
    same([bool(read(store, of)) for of in all_of], [False, True, False, False, True], "what is left")
    others = payload("f", "other")
    put(store, begin("other"), end("g", 7), *pieces_of(others), naming(others))
    same(store.prune(LATE_AT, 10), 1, "how many went")
    same(left(store), "be", "what a transaction that was deleted has left behind")
    sweep_all(store)
    same([bool(read(store, of)) for of in (of_second, fresh, others)], [False, False, True], "what is left")


def check_sweep_beside_writers(store: Store) -> None:
    """Of a sweep and a write that counts, one comes first: what counts is whole, and what was swept does not count."""
    rounds = 30
    put(store, begin("g"))
    payloads = [payload(f"p{number}", seq=None) for number in range(rounds)]
    for of in payloads:
        put(store, *pieces_of(of))
    counted: list[InPieces] = []

    def write() -> None:
        for of in payloads:
            if store.commit([naming(of, len(counted) + 1)]) == [None]:
                counted.append(of)

    def sweep() -> None:
        for of in reversed(payloads):
            store.sweep([of.id], 100)

    in_threads([write, sweep])
    whole = [of for of in payloads if read(store, of)]
    same(whole, counted, "payloads that are left")
    same(seqs(store, "g"), list(range(len(counted) + 1)), "the events that name them")
    same([read(store, of) for of in whole], [b"".join(PARTS)] * len(whole), "what is left of each")


def check_emptying_of_pieces(store: Store) -> None:
    """A journal that is emptied has no pieces."""
    put(store, begin("g"), *pieces_of(payload("p")), *pieces_of(payload("q")), naming(payload("q")))
    store.empty()
    same((left(store), read(store, payload("p")), read(store, payload("q"))), ("", b"", b""), "what is left")
    same(outcomes(store, begin("g")), "d", "the gid again")
