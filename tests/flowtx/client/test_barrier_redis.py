"""The barrier on a real Redis: what was done before comes before the balance, and a refusal leaves nothing behind."""

from __future__ import annotations

import asyncio
import os
import uuid
from collections.abc import Awaitable, Callable, Iterator
from typing import Any, TypeVar, cast

import pytest
import redis
import redis.asyncio

from flowtx.client.barrier import Barrier, Ran, Skipped, Why
from flowtx.client.barrier_redis import AMOUNT_MAX, EXPIRE_S, adjust, adjust_async, query_prepared, query_prepared_async
from flowtx.client.errors import BarrierError, Duplicated
from flowtx_dsl.errors import Refused

T = TypeVar("T")
UNTYPED: Any = redis.Redis  # its ways to connect and to scan are not typed
UNTYPED_ASYNC: Any = redis.asyncio.Redis
REPEATED, NOTHING = Skipped(Why.REPEATED_OR_LATE), Skipped(Why.NOTHING_TO_TAKE_BACK)


class Account:
    """A number in Redis, and calls about it, on a synchronous or an asyncio connection."""

    def __init__(self, url: str, way: str) -> None:
        self._url, self._way = url, way
        self.gid = uuid.uuid4().hex
        self.key = f"{self.gid}-account"
        self.server = cast("redis.Redis", UNTYPED.from_url(url, decode_responses=True))

    @property
    def balance(self) -> str | None:
        return cast("str | None", self.server.get(self.key))

    @balance.setter
    def balance(self, value: object) -> None:
        self.server.set(self.key, str(value))

    def barrier(self, op: str, *, branch_id: str = "01", trans_type: str = "saga") -> Barrier:
        return Barrier(gid=self.gid, branch_id=branch_id, op=op, trans_type=trans_type)

    def adjust(self, op: str, amount: int, *, barrier: Barrier | None = None, **more: Any) -> Ran[int] | Skipped:
        barrier = barrier or self.barrier(op)
        if self._way == "asyncio":
            return self._run(lambda server: adjust_async(barrier, server, self.key, amount, **more))
        return adjust(barrier, self.server, self.key, amount, **more)

    def ask(self, barrier: Barrier) -> None:
        if self._way == "asyncio":
            return self._run(lambda server: query_prepared_async(barrier, server))
        return query_prepared(barrier, self.server)

    def _run(self, what: Callable[[redis.asyncio.Redis], Awaitable[T]]) -> T:
        async def main() -> T:
            async with UNTYPED_ASYNC.from_url(self._url) as server:
                return await what(server)

        return asyncio.run(main())

    def keys(self) -> dict[str, str]:
        """The barrier's keys and what they hold."""
        names = sorted(self._names(f"{self.gid}-*"))
        return {name.removeprefix(f"{self.gid}-"): str(self.server.get(name)) for name in names if name != self.key}

    def _names(self, pattern: str) -> list[str]:
        untyped: Any = self.server
        return list(untyped.scan_iter(pattern))

    def close(self) -> None:
        self.server.delete(self.key, *self._names(f"*{self.gid}-*"))
        self.server.close()


@pytest.fixture(params=["threads", "asyncio"])
def account(request: pytest.FixtureRequest) -> Iterator[Account]:
    url = os.environ.get("FLOWTX_TEST_REDIS_URL")
    if url is None:
        pytest.skip(
            "no Redis here: set FLOWTX_TEST_REDIS_URL to an URL like redis://localhost/0 (apt-get install redis)"
        )
    account = Account(url, request.param)
    account.balance = 30
    yield account
    account.close()


def test_a_debit_runs_once_and_is_taken_back_once(account: Account) -> None:
    assert account.adjust("action", -30) == Ran(0)
    assert account.adjust("action", -30) == REPEATED  # though nothing is left: it was done before
    assert account.adjust("compensate", 30) == Ran(30)
    assert account.adjust("compensate", 30) == REPEATED
    assert account.adjust("action", -30) == REPEATED
    assert account.balance == "30"
    assert account.keys() == {"01-action-01": "action", "01-compensate-01": "compensate"}


@pytest.mark.parametrize(("back", "forward"), [("compensate", "action"), ("cancel", "try"), ("rollback", "action")])
def test_what_was_never_done_is_not_taken_back_and_comes_too_late(account: Account, back: str, forward: str) -> None:
    assert account.adjust(back, 30) == NOTHING
    assert account.adjust(back, 30) == REPEATED
    assert account.adjust(forward, -30) == REPEATED
    assert account.balance == "30"
    assert account.keys() == {f"01-{back}-01": back, f"01-{forward}-01": "rollback"}


# check 217
def test_too_little_is_refused_and_leaves_no_key(account: Account) -> None:
    with pytest.raises(Refused, match=f"{account.key} holds 30, too little to add -31"):
        account.adjust("action", -31)
    assert (account.balance, account.keys()) == ("30", {})
    account.balance = 31
    assert account.adjust("action", -31) == Ran(0)


def test_a_number_that_is_not_there_is_refused(account: Account) -> None:
    account.server.delete(account.key)
    with pytest.raises(Refused, match="there is nothing under"):
        account.adjust("action", 5)
    assert (account.balance, account.keys()) == (None, {})


def test_large_numbers_are_exact(account: Account) -> None:
    account.balance = AMOUNT_MAX - 1
    assert account.adjust("action", 1) == Ran(AMOUNT_MAX)
    assert account.adjust("confirm", -AMOUNT_MAX) == Ran(0)
    account.balance = 2**53
    with pytest.raises(Refused):
        account.adjust("try", -(2**53) - 1)
    assert account.balance == str(2**53)


def test_what_is_no_number_stays_and_leaves_no_key(account: Account) -> None:
    account.balance = "a lot"
    with pytest.raises(redis.ResponseError, match="not an integer"):
        account.adjust("action", 1)
    assert (account.balance, account.keys()) == ("a lot", {})


def test_a_message_is_done_once_and_then_asked_for(account: Account) -> None:
    barrier = account.barrier("msg", branch_id="00", trans_type="msg")
    assert account.adjust("msg", -10, barrier=barrier) == Ran(20)
    account.ask(account.barrier("msg", branch_id="00", trans_type="msg"))
    with pytest.raises(Duplicated):
        account.adjust("msg", -10, barrier=account.barrier("msg", branch_id="00", trans_type="msg"))
    assert account.balance == "20"


def test_a_message_that_was_asked_for_too_early_is_given_up(account: Account) -> None:
    for _ in range(2):
        with pytest.raises(Refused, match="cannot be any more"):
            account.ask(account.barrier("msg", branch_id="00", trans_type="msg"))
    with pytest.raises(Duplicated):
        account.adjust("msg", -10, barrier=account.barrier("msg", branch_id="00", trans_type="msg"))
    assert account.balance == "30"


def test_the_calls_of_one_request_are_told_apart(account: Account) -> None:
    for _ in range(2):
        barrier = account.barrier("action")
        for _ in range(2):
            account.adjust("action", -1, barrier=barrier)
    assert account.balance == "28"


def test_keys_expire_and_may_have_a_prefix(account: Account) -> None:
    account.adjust("action", -1, prefix="{alice}")
    name = f"{{alice}}{account.gid}-01-action-01"
    assert 0 < account.server.ttl(name) <= EXPIRE_S
    account.adjust("compensate", -1, expire_s=5)
    assert 0 < account.server.ttl(f"{account.gid}-01-action-01") <= 5


def test_what_dtms_script_wrote_is_understood(account: Account) -> None:
    account.server.set(f"{account.gid}-01-action-01", "action")  # as its Go client does
    assert account.adjust("action", -5) == REPEATED
    assert account.adjust("compensate", 5) == Ran(35)


@pytest.mark.parametrize("amount", [1.5, True, AMOUNT_MAX + 1])
def test_an_amount_that_is_none_is_refused(account: Account, amount: Any) -> None:
    with pytest.raises(BarrierError, match="expected a whole number"):
        account.adjust("action", amount)
    with pytest.raises(BarrierError, match="expire_s is 0"):
        account.adjust("action", 1, expire_s=0)
    assert account.keys() == {}


def test_the_wrong_kind_of_connection_is_told_apart(account: Account) -> None:
    wrong: Any = redis.asyncio.Redis()
    with pytest.raises(BarrierError, match=r"expected the script's result[\s\S]*adjust_async"):
        adjust(account.barrier("action"), wrong, account.key, 1)
    untyped: Any = account.server
    pipeline: Any = untyped.pipeline()
    with pytest.raises(BarrierError, match="no pipeline"):
        adjust(account.barrier("action"), pipeline, account.key, 1)
    pipeline.reset()

    async def main() -> None:
        plain: Any = account.server
        with pytest.raises(BarrierError, match="synchronous"):
            await adjust_async(account.barrier("action"), plain, account.key, 1)

    asyncio.run(main())
