"""Schedules in SQL: their statements, a comment each.

The law of this file: a schedule is changed whole, or moved on from the tick it stands at; nothing else touches its row.
"""

from __future__ import annotations

import msgspec
from sqlalchemy import Connection, Select, bindparam, delete, func, insert, select, update

from flowtx_engine.journal.schedules import CronSchedule, Tick
from flowtx_engine.journal.schema import schedules, transactions
from flowtx_engine.journal.sql_commit import put_first

_COLUMNS = [schedules.c[name] for name in CronSchedule.__struct_fields__]

_ALL = select(*_COLUMNS).order_by(schedules.c.name)
_DUE = select(*_COLUMNS).where(schedules.c.next_at <= bindparam("now_at")).order_by(schedules.c.name)
_NEXT_AT = select(func.min(schedules.c.next_at)).where(schedules.c.next_at > bindparam("now_at"))

_DELETE = delete(schedules).where(schedules.c.name == bindparam("of"))
_INSERT = insert(schedules)

# Move on, from the tick it stands at and no other.
_TICK = (
    update(schedules)
    .where(schedules.c.name == bindparam("of"), schedules.c.next_at == bindparam("at"))
    .values(
        next_at=bindparam("to_at"),
        updated_at=bindparam("now_at"),
        skipped_count=schedules.c.skipped_count + bindparam("skipped"),
    )
)
_STARTED = (
    update(schedules)
    .where(schedules.c.name == bindparam("of"))
    .values(last_at=bindparam("started_at"), last_gid=bindparam("gid"))
)

# Whether a gid is there.
_THERE = select(transactions.c.id).where(transactions.c.gid == bindparam("of"))


def put_schedule(connection: Connection, schedule: CronSchedule) -> None:
    """See ``ScheduleStore.put_schedule``."""
    connection.execute(_DELETE, {"of": schedule.name})
    connection.execute(_INSERT, msgspec.structs.asdict(schedule))


def delete_schedule(connection: Connection, name: str) -> bool:
    """See ``ScheduleStore.delete_schedule``."""
    return bool(connection.execute(_DELETE, {"of": name}).rowcount)


def all_schedules(connection: Connection) -> list[CronSchedule]:
    """See ``ScheduleStore.schedules``."""
    return _read(connection, _ALL, {})


def due_schedules(connection: Connection, now_at: float) -> tuple[list[CronSchedule], float | None]:
    """See ``ScheduleStore.due_schedules``."""
    return _read(connection, _DUE, {"now_at": now_at}), connection.scalar(_NEXT_AT, {"now_at": now_at})


def tick(connection: Connection, tick: Tick) -> bool:
    """See ``ScheduleStore.tick``."""
    moves = {
        "of": tick.name,
        "at": tick.at,
        "to_at": tick.next_at,
        "now_at": tick.now_at,
        "skipped": tick.skipped_count,
    }
    if not connection.execute(_TICK, moves).rowcount:
        return False
    if tick.write is not None:
        gid = tick.write.gid
        if connection.scalar(_THERE, {"of": gid}) is None:
            put_first(connection, tick.write)
        connection.execute(_STARTED, {"of": tick.name, "started_at": tick.started_at, "gid": gid})
    return True


def _read(
    connection: Connection, statement: Select[*tuple[object, ...]], values: dict[str, float]
) -> list[CronSchedule]:
    rows = connection.execute(statement, values)
    return [msgspec.convert(dict(zip(CronSchedule.__struct_fields__, row, strict=True)), CronSchedule) for row in rows]
