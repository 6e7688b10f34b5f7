"""Places in SQL: statements and the one transaction in which a claimer counts, admits and takes.

The law of this file: everything here runs inside a transaction that keeps other writers out from its beginning, so what
was counted is still true when it is written. A look costs some statements for each key that somebody waits under, and
nothing for keys where nobody does.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

from sqlalchemy import Connection, Double, Integer, bindparam, delete, exists, func, select, update

from flowtx_engine.journal.places import LimitRule, earlier, next_look_at
from flowtx_engine.journal.records import FINAL
from flowtx_engine.journal.schema import places, transactions

KEYS_MAX = 500
"""So many keys are looked at in one transaction, for others want to write, too; the next look goes on behind them."""
IDS_MAX = 500
"""How many ids one statement names."""
CLEAN_EVERY_S = 60.0
"""How often the places of all keys are looked through for those that nothing counts any more."""

_unfinished = transactions.c.status.not_in(sorted(FINAL))
_is_waiting = places.c.admitted_at.is_(None)
_of_key = (places.c.workflow == bindparam("workflow"), places.c.key == bindparam("key"))
_window_is_over = places.c.admitted_at + bindparam("window_s", type_=Double) <= bindparam("now_at", type_=Double)
_belongs_to_none = ~exists().where(transactions.c.id == places.c.transaction_id, _unfinished)

# The first key, in order, that somebody waits under: the first row of a range of the index.
_NEXT_KEY = select(func.min(places.c.key)).where(
    places.c.workflow == bindparam("workflow"), _is_waiting, places.c.key > bindparam("after")
)
_FIRST_KEY = select(func.min(places.c.key)).where(places.c.workflow == bindparam("workflow"), _is_waiting)

# How many runs of a key are between beginning and end.
_HELD = (
    select(func.count())
    .select_from(places.join(transactions, transactions.c.id == places.c.transaction_id))
    .where(*_of_key, ~_is_waiting, _unfinished)
)

# When those within the window of the rate began.
_RECENT = select(places.c.admitted_at).where(*_of_key, ~_is_waiting, ~_window_is_over).order_by(places.c.admitted_at)

# Who waits, first come first.
_WAITING = (
    select(places.c.transaction_id)
    .join(transactions, transactions.c.id == places.c.transaction_id)
    .where(
        *_of_key,
        _is_waiting,
        places.c.due_at <= bindparam("now_at"),
        _unfinished,
        transactions.c.owner == "",
        transactions.c.version.in_(bindparam("versions", expanding=True)),
    )
    .order_by(places.c.due_at, places.c.transaction_id)
    .limit(bindparam("limit", type_=Integer))
)

# When the first of those who go on waiting is, or was, due.
_FIRST_DUE = (
    select(places.c.due_at)
    .join(transactions, transactions.c.id == places.c.transaction_id)
    .where(*_of_key, _is_waiting, _unfinished)
    .order_by(places.c.due_at)
    .limit(1)
)

_ADMIT = (
    update(places)
    .where(places.c.transaction_id.in_(bindparam("ids", expanding=True)))
    .values(admitted_at=bindparam("now_at"))
)
_TAKE = (
    update(transactions)
    .where(transactions.c.id.in_(bindparam("ids", expanding=True)))
    .values(owner=bindparam("node"), wake_at=bindparam("now_at"), updated_at=bindparam("now_at"))
)

# Forget what nothing counts any more: of one key at every look at it, of a whole workflow now and then.
_FORGET_OF_KEY = delete(places).where(*_of_key, ~_is_waiting, _window_is_over, _belongs_to_none)
_FORGET = delete(places).where(
    places.c.workflow == bindparam("workflow"), _is_waiting | _window_is_over, _belongs_to_none
)

# Whether anybody waits at all.
_ANY_WAITS = (
    select(places.c.transaction_id)
    .where(places.c.workflow.in_(bindparam("workflows", expanding=True)), _is_waiting)
    .limit(1)
)

# A run that was claimed without its place, for a signal or a crash: nobody's again, and no time wakes it.
PUT_BACK = (
    update(transactions)
    .where(
        transactions.c.gid == bindparam("of"),
        transactions.c.owner == bindparam("node"),
        _unfinished,
        exists().where(places.c.transaction_id == transactions.c.id, _is_waiting),
    )
    .values(owner="", wake_at=None)
)

# Which of some transactions wait, and under which key.
WAITING_PLACES = (
    select(transactions.c.gid, places.c.key)
    .join(places, places.c.transaction_id == transactions.c.id)
    .where(transactions.c.gid.in_(bindparam("gids", expanding=True)), _is_waiting, _unfinished)
)


def anybody_waits(connection: Connection, rules: Sequence[LimitRule]) -> bool:
    """True when a look may find somebody; needs no write transaction."""
    found = connection.scalar(_ANY_WAITS, {"workflows": [rule.workflow for rule in rules]})
    return found is not None


class Admission:
    """The looks of one store: remembers where the last one stopped, and when it last forgot."""

    def __init__(self) -> None:
        self._after: dict[str, str] = {}
        self._cleaned_at: dict[str, float] = {}

    def admit(
        self, connection: Connection, node: str, now_at: float, limit: int, rules: Sequence[LimitRule]
    ) -> tuple[list[int], float | None]:
        """Admit and take; the ids of the transactions in the order they were admitted, and when to look again."""
        ids: list[int] = []
        next_at: float | None = None
        for rule in rules:
            self._clean(connection, rule, now_at)
            for key in self._keys(connection, rule.workflow):
                taken, look_at = self._admit_key(connection, node, now_at, limit - len(ids), rule, key)
                ids += taken
                next_at = earlier(next_at, look_at)
        return ids, next_at

    def _keys(self, connection: Connection, workflow: str) -> list[str]:
        """The keys of this look, at most ``KEYS_MAX``, from behind those of the last one on."""
        after = self._after.pop(workflow, None)
        keys: list[str] = []
        while len(keys) < KEYS_MAX:
            if after is None:
                key = connection.scalar(_FIRST_KEY, {"workflow": workflow})
            else:
                key = connection.scalar(_NEXT_KEY, {"workflow": workflow, "after": after})
            if key is None:
                return keys
            keys.append(key)
            after = key
        if after is not None:
            self._after[workflow] = after
        return keys

    def _admit_key(
        self, connection: Connection, node: str, now_at: float, limit: int, rule: LimitRule, key: str
    ) -> tuple[list[int], float | None]:
        of = {"workflow": rule.workflow, "key": key}
        windowed = {**of, "window_s": rule.window_s, "now_at": now_at}
        connection.execute(_FORGET_OF_KEY, windowed)
        free = float("inf") if rule.concurrency is None else rule.concurrency - (connection.scalar(_HELD, of) or 0)
        recent = [] if rule.per_s is None else list(connection.scalars(_RECENT, windowed))
        room = min(free, limit)
        if rule.per_s is not None:
            room = min(room, rule.burst - len(recent))
        ids: list[int] = []
        if room > 0:
            wanted = {**of, "now_at": now_at, "versions": list(rule.versions), "limit": int(room)}
            ids = list(connection.scalars(_WAITING, wanted))
            self._take(connection, node, now_at, ids)
        recent += [now_at] * (len(ids) if rule.per_s is not None else 0)
        first_due_at = connection.scalar(_FIRST_DUE, of)
        look_at = next_look_at(rule, now_at=now_at, free=free - len(ids), recent=recent, first_due_at=first_due_at)
        return ids, look_at

    def _take(self, connection: Connection, node: str, now_at: float, ids: Sequence[int]) -> None:
        for start in range(0, len(ids), IDS_MAX):
            some = {"ids": ids[start : start + IDS_MAX], "now_at": now_at}
            connection.execute(_ADMIT, some)
            connection.execute(_TAKE, {**some, "node": node})

    def _clean(self, connection: Connection, rule: LimitRule, now_at: float) -> None:
        if now_at - self._cleaned_at.get(rule.workflow, -math.inf) < CLEAN_EVERY_S:
            return
        self._cleaned_at[rule.workflow] = now_at
        connection.execute(_FORGET, {"workflow": rule.workflow, "window_s": rule.window_s, "now_at": now_at})
