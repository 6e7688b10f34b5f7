"""Pieces of large payloads in SQL: their statements, a comment each; see ``pieces.py`` for what they mean.

The law of this file: every statement that changes a payload's state names the state it expects, so of a write that
counts it and a sweep that lets it go, the one that comes second changes nothing. Pieces are deleted a few at a time,
and the payload's own row last, so whoever sweeps after a crash finds what is left.
"""

from __future__ import annotations

from collections.abc import Sequence

from sqlalchemy import Connection, Integer, and_, bindparam, delete, func, insert, literal, or_, select, update

from flowtx_engine.journal.pieces import NOBODYS_AFTER_S
from flowtx_engine.journal.records import InPieces, Piece
from flowtx_engine.journal.schema import nodes, payloads, pieces, transactions

_COMING = "coming"
_COUNTS = "counts"
_LET_GO = "let go"

# A payload begins with its first piece. Repeated by whoever has not heard that it did.
_BEGIN = insert(payloads).from_select(
    ["id", "gid", "field", "seq", "state", "node", "at"],
    select(
        bindparam("id", type_=payloads.c.id.type),
        bindparam("gid", type_=payloads.c.gid.type),
        bindparam("field", type_=payloads.c.field.type),
        bindparam("seq", type_=payloads.c.seq.type),
        literal(_COMING),
        bindparam("node", type_=payloads.c.node.type),
        bindparam("at", type_=payloads.c.at.type),
    ).where(~select(payloads.c.id).where(payloads.c.id == bindparam("id")).exists()),
)

# A piece, unless it is there already, or its payload is not coming any more.
_PUT = insert(pieces).from_select(
    ["payload_id", "number", "data"],
    select(payloads.c.id, bindparam("number", type_=Integer), bindparam("data", type_=pieces.c.data.type)).where(
        payloads.c.id == bindparam("id"),
        payloads.c.state == _COMING,
        ~select(pieces.c.number)
        .where(pieces.c.payload_id == bindparam("id"), pieces.c.number == bindparam("number"))
        .exists(),
    ),
)

# The event's side of the law: what is coming, and whole, counts from now on.
_COUNT = (
    update(payloads)
    .where(
        payloads.c.id == bindparam("of"),
        payloads.c.gid == bindparam("of_gid"),
        payloads.c.state == _COMING,
        select(func.count()).where(pieces.c.payload_id == bindparam("of")).scalar_subquery()
        == bindparam("piece_count"),
    )
    .values(state=_COUNTS)
)

# The result before a new large one.
_REPLACE = (
    update(payloads)
    .where(
        payloads.c.gid == bindparam("of_gid"), payloads.c.field == bindparam("of_field"), payloads.c.state == _COUNTS
    )
    .values(state=_LET_GO)
)

# What stood before a journal that begins anew.
_LET_GO_BEFORE = (
    update(payloads)
    .where(
        payloads.c.gid == bindparam("of_gid"),
        payloads.c.seq < bindparam("keeps_from"),
        payloads.c.state == _COUNTS,
    )
    .values(state=_LET_GO)
)

# What transactions have that are being deleted.
LET_GO_OF_TRANSACTIONS = (
    update(payloads)
    .where(
        payloads.c.gid.in_(select(transactions.c.gid).where(transactions.c.id.in_(bindparam("ids", expanding=True)))),
        payloads.c.state == _COUNTS,
    )
    .values(state=_LET_GO)
)

# Pieces in order.
_READ = (
    select(pieces.c.number, pieces.c.data)
    .where(
        pieces.c.payload_id == bindparam("of"),
        pieces.c.number >= bindparam("first"),
        pieces.c.number < bindparam("end"),
    )
    .order_by(pieces.c.number)
)

# What nobody is writing, as far as this node can know.
_alive = select(nodes.c.node).where(nodes.c.alive_until_at >= bindparam("now_at"))
_UNCOUNTED = (
    select(payloads.c.id)
    .where(
        payloads.c.state.in_([_COMING, _LET_GO]),
        or_(
            payloads.c.state == _LET_GO,
            payloads.c.node == bindparam("name"),
            and_(payloads.c.node == "", payloads.c.at < bindparam("before_at")),
            and_(payloads.c.node != "", payloads.c.node.not_in(_alive)),
        ),
    )
    .limit(bindparam("limit", type_=Integer))
)

# The sweep's side of the law: what is still coming never will count.
_LET_GO_OF = update(payloads).where(payloads.c.id == bindparam("of"), payloads.c.state == _COMING).values(state=_LET_GO)
_IS_LET_GO = select(payloads.c.id).where(payloads.c.id == bindparam("of"), payloads.c.state == _LET_GO)
_NUMBERS = (
    select(pieces.c.number).where(pieces.c.payload_id == bindparam("of")).limit(bindparam("limit", type_=Integer))
)
_DELETE = delete(pieces).where(
    pieces.c.payload_id == bindparam("of"), pieces.c.number.in_(bindparam("numbers", expanding=True))
)
_FORGET = delete(payloads).where(payloads.c.id == bindparam("of"))


def put(connection: Connection, piece: Piece) -> None:
    """Put a piece."""
    of = piece.of
    if piece.number == 0:
        begun = {"id": of.id, "gid": of.gid, "field": of.field, "seq": of.seq, "node": piece.node, "at": piece.at}
        connection.execute(_BEGIN, begun)
    connection.execute(_PUT, {"id": of.id, "number": piece.number, "data": piece.data})


def count(connection: Connection, of: InPieces) -> bool:
    """Make a payload count; False when it is not coming, or not whole."""
    if of.field == "result":
        connection.execute(_REPLACE, {"of_gid": of.gid, "of_field": of.field})
    values = {"of": of.id, "of_gid": of.gid, "piece_count": of.piece_count}
    return connection.execute(_COUNT, values).rowcount == 1


def let_go_before(connection: Connection, gid: str, keeps_from: int) -> None:
    """Let go of the payloads of events before a seq."""
    connection.execute(_LET_GO_BEFORE, {"of_gid": gid, "keeps_from": keeps_from})


def read(connection: Connection, of: InPieces, first: int, limit: int) -> list[bytes]:
    """See ``PieceStore.pieces``."""
    rows = connection.execute(_READ, {"of": of.id, "first": first, "end": first + limit})
    found: list[bytes] = []
    for number, data in rows:
        if number != first + len(found):
            break
        found.append(data)
    return found


def uncounted(connection: Connection, node: str, now_at: float, limit: int) -> list[str]:
    """See ``PieceStore.uncounted``."""
    values = {"name": node, "now_at": now_at, "before_at": now_at - NOBODYS_AFTER_S, "limit": limit}
    return list(connection.scalars(_UNCOUNTED, values))


def sweep(connection: Connection, ids: Sequence[str], piece_max: int) -> int:
    """See ``PieceStore.sweep``."""
    deleted_count = 0
    for id in ids:
        connection.execute(_LET_GO_OF, {"of": id})
        if connection.scalar(_IS_LET_GO, {"of": id}) is None:
            continue
        numbers = list(connection.scalars(_NUMBERS, {"of": id, "limit": piece_max - deleted_count + 1}))
        some = numbers[: piece_max - deleted_count]
        connection.execute(_DELETE, {"of": id, "numbers": some})
        deleted_count += len(some)
        if len(some) == len(numbers):
            connection.execute(_FORGET, {"of": id})
    return deleted_count
