"""The barrier on Redis: an amount is added to a number once, in one script (spec 9.4).

The law of this file: keys and values are those of DTM's Go client, so services in both languages may share a Redis. The
rules are those of the SQL barrier, where DTM's own script breaks them (spec 12.47):

* What was done before is looked at first, and the balance after it: a repeated debit that succeeded is a success,
though the money is gone now. (DTM looks at the balance first, and tells the repeat that it failed.) * ``rollback``
takes back ``action`` here too. (DTM's script knows cancel and compensate only, and runs a rollback of what was never
done.)

A refusal leaves no key, so the op may succeed when it is asked for again.
"""

from __future__ import annotations

import inspect
from collections.abc import Awaitable
from typing import TYPE_CHECKING, Any, cast

from flowtx.client.barrier import FORWARD_OPS, Barrier, Ran, Skipped, Why
from flowtx.client.errors import BarrierError
from flowtx_dsl.errors import Refused

if TYPE_CHECKING:  # the connection comes from the caller, so nothing here needs redis-py to be installed
    from redis import Redis
    from redis.asyncio import Redis as AsyncRedis
    from redis.asyncio.cluster import RedisCluster as AsyncRedisCluster
    from redis.cluster import RedisCluster

EXPIRE_S = 7 * 24 * 3600
"""How long the barrier's keys are kept, as DTM keeps them: longer than any transaction may take."""
AMOUNT_MAX = 2**63 - 1

# KEYS: the number, this op's key, and the key of the op that is taken back, if any. ARGV: op, amount, its negative,
# seconds. INCRBY says whether there is enough: Lua itself counts in floating point, wrongly from 2^53.
_ADJUST = """
if redis.call('EXISTS', KEYS[2]) == 1 then return {'repeated', ''} end
if KEYS[3] and redis.call('SET', KEYS[3], 'rollback', 'NX', 'EX', ARGV[4]) then
    redis.call('SET', KEYS[2], ARGV[1], 'EX', ARGV[4])
    return {'nothing', ''}
end
local before = redis.call('GET', KEYS[1])
if not before then return {'missing', ''} end
if redis.call('INCRBY', KEYS[1], ARGV[2]) < 0 then
    redis.call('INCRBY', KEYS[1], ARGV[3])
    return {'too little', before}
end
redis.call('SET', KEYS[2], ARGV[1], 'EX', ARGV[4])
return {'ran', redis.call('GET', KEYS[1])}
"""

_QUERY = """
redis.call('SET', KEYS[1], 'rollback', 'NX', 'EX', ARGV[1])
return {'is', redis.call('GET', KEYS[1])}
"""


def adjust(
    barrier: Barrier,
    redis: Redis | RedisCluster,
    key: str,
    amount: int,
    *,
    expire_s: int = EXPIRE_S,
    prefix: str = "",
) -> Ran[int] | Skipped:
    """Add ``amount``, often negative, to the whole number under ``key``, unless this op must not any more.

    Returns ``Ran`` with the new number, or ``Skipped``; both are success. ``prefix`` is put before the barrier's keys:
    on a cluster, where all keys of a script must be on one node, let it be the hash tag of ``key``, as ``{alice}``.

    Raises ``Refused`` where there is no number under the key or it would fall below zero, ``Duplicated`` for a message
    done or given up before, ``BarrierError`` for what cannot be meant, and whatever redis-py raises.
    """
    keys, values = _adjustment(barrier, key, amount, expire_s, prefix)
    return _judge(barrier, key, amount, _taken(redis.eval(_ADJUST, len(keys), *keys, *values)))


async def adjust_async(
    barrier: Barrier,
    redis: AsyncRedis | AsyncRedisCluster,
    key: str,
    amount: int,
    *,
    expire_s: int = EXPIRE_S,
    prefix: str = "",
) -> Ran[int] | Skipped:
    """As ``adjust``, on asyncio. On trio, run ``adjust`` in a worker thread."""
    keys, values = _adjustment(barrier, key, amount, expire_s, prefix)
    return _judge(barrier, key, amount, _taken(await _awaited(redis.eval(_ADJUST, len(keys), *keys, *values))))


def query_prepared(
    barrier: Barrier, redis: Redis | RedisCluster, *, expire_s: int = EXPIRE_S, prefix: str = ""
) -> None:
    """Answer a message's query-prepared: return when its adjustment was made, else raise ``Refused``.

    After that the adjustment cannot be made any more (spec 9.4).
    """
    key, value = _question(barrier, expire_s, prefix)
    _judge_question(barrier, _taken(redis.eval(_QUERY, 1, key, value)))


async def query_prepared_async(
    barrier: Barrier, redis: AsyncRedis | AsyncRedisCluster, *, expire_s: int = EXPIRE_S, prefix: str = ""
) -> None:
    """As ``query_prepared``, on asyncio."""
    key, value = _question(barrier, expire_s, prefix)
    _judge_question(barrier, _taken(await _awaited(redis.eval(_QUERY, 1, key, value))))


def _adjustment(
    barrier: Barrier, key: str, amount: int, expire_s: int, prefix: str
) -> tuple[list[str], tuple[str, str, str, str]]:
    if isinstance(amount, bool) or not isinstance(cast("object", amount), int) or abs(amount) > AMOUNT_MAX:
        raise BarrierError(f"the amount for {key} is {amount!r}, expected a whole number of at most 64 bits")
    _check_expiry(expire_s)
    number = barrier.next_number()
    ops = [barrier.op, *([FORWARD_OPS[barrier.op]] if barrier.op in FORWARD_OPS else [])]
    keys = [key, *(f"{prefix}{barrier.gid}-{barrier.branch_id}-{op}-{number}" for op in ops)]
    return keys, (barrier.op, str(amount), str(-amount), str(expire_s))


def _judge(barrier: Barrier, key: str, amount: int, result: tuple[str, str]) -> Ran[int] | Skipped:
    match result:
        case "ran", now:
            return Ran(int(now))
        case "repeated", _ if barrier.op == "msg":
            raise barrier.duplicated()
        case "repeated", _:
            return Skipped(Why.REPEATED_OR_LATE)
        case "nothing", _:
            return Skipped(Why.NOTHING_TO_TAKE_BACK)
        case "missing", _:
            raise Refused(f"there is nothing under {key}, to which {amount} was to be added")
        case _, before:
            raise Refused(f"{key} holds {before}, too little to add {amount}")


def _question(barrier: Barrier, expire_s: int, prefix: str) -> tuple[str, str]:
    _check_expiry(expire_s)
    # The message's own key has always this name, wherever the question comes from.
    return f"{prefix}{barrier.gid}-00-msg-01", str(expire_s)


def _judge_question(barrier: Barrier, result: tuple[str, str]) -> None:
    if result[1] == "rollback":
        raise barrier.given_up()


def _check_expiry(expire_s: int) -> None:
    if expire_s <= 0:
        raise BarrierError(f"expire_s is {expire_s}, expected a positive whole number of seconds")


def _taken(result: object) -> tuple[str, str]:
    """A script's two texts, which come as bytes or str as the connection was set up."""
    if not isinstance(result, list):
        if inspect.iscoroutine(result):
            result.close()
        raise BarrierError(
            f"Redis gave back a {type(result).__name__}, expected the script's result",
            remedy="Pass a plain connection, no pipeline; one of redis.asyncio belongs to adjust_async.",
        )
    first, second = (each.decode() if isinstance(each, bytes) else str(each) for each in cast("list[object]", result))
    return first, second


def _awaited(result: Any) -> Awaitable[object]:
    if not inspect.isawaitable(result):
        raise BarrierError(
            "the connection is a synchronous one, expected one of redis.asyncio",
            remedy="Use adjust, in a worker thread where a loop must not wait.",
        )
    return cast("Awaitable[object]", result)
