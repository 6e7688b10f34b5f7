"""The barrier's law: whatever order calls arrive in, however often, and however they fail, the books are right.

A branch's ledger gets one line for each business function that ran and was committed. The model needs one sentence: an
op runs once, unless what takes it back came first; and what takes back runs once, if there is something to take back.
The same sentence holds on Redis, where business is an amount, and fails when there is too little.
"""

from __future__ import annotations

import os
import sqlite3
import tempfile
import threading
import uuid
from collections.abc import Generator, Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import redis
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from flowtx.client.barrier import FORWARD_OPS, Barrier
from flowtx.client.barrier_redis import adjust
from flowtx.client.barrier_upkeep import create_table
from flowtx_dsl.errors import Refused

PATTERNS = {"saga": ("action", "compensate"), "tcc": ("try", "confirm", "cancel"), "workflow": ("action", "rollback")}
WAIT_MAX_S = 30.0


class Broken(Exception):
    """What failing business raises."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Call:
    """One request to a participant; with ``fails``, its business breaks after it wrote."""

    branch_id: str
    op: str
    fails: bool = False


def calls(pattern: str) -> st.SearchStrategy[Call]:
    return st.builds(
        Call, branch_id=st.sampled_from(["01", "02"]), op=st.sampled_from(PATTERNS[pattern]), fails=st.booleans()
    )


patterns = st.sampled_from(sorted(PATTERNS))
schedules = patterns.flatmap(lambda pattern: st.tuples(st.just(pattern), st.lists(calls(pattern), max_size=12)))
thread_schedules = patterns.flatmap(
    lambda pattern: st.tuples(
        st.just(pattern), st.lists(st.lists(calls(pattern), min_size=1, max_size=4), min_size=2, max_size=4)
    )
)


@contextmanager
def connected(path: str) -> Generator[sqlite3.Connection]:
    with closing(sqlite3.connect(path, timeout=WAIT_MAX_S)) as connection:
        yield connection


def make_books(connection: sqlite3.Connection) -> None:
    connection.execute("create table ledger (branch_id text, op text)")
    connection.commit()
    create_table(connection)


def perform(connection: sqlite3.Connection, pattern: str, call: Call) -> None:
    def business(same: sqlite3.Connection) -> None:
        same.execute("insert into ledger values (?, ?)", (call.branch_id, call.op))
        if call.fails:
            raise Broken

    Barrier(gid="g", branch_id=call.branch_id, op=call.op, trans_type=pattern).call(connection, business)


def books(connection: sqlite3.Connection) -> list[tuple[str, str]]:
    return connection.execute("select branch_id, op from ledger order by rowid").fetchall()


def barrier_rows(connection: sqlite3.Connection) -> set[tuple[str, str, str]]:
    return set(connection.execute("select branch_id, op, reason from dtm_barrier").fetchall())


@dataclass
class Model:
    """What the protocol says: which ops of which branches are closed, and what stands in the books."""

    closed: set[tuple[str, str]]
    books: list[tuple[str, str]]

    def runs(self, call: Call) -> bool:
        """True when this call's business must run."""
        place = (call.branch_id, call.op)
        forward = FORWARD_OPS.get(call.op)
        return place not in self.closed and (forward is None or (call.branch_id, forward) in self.books)

    def close(self, call: Call) -> None:
        """After the call was answered with success."""
        self.closed.add((call.branch_id, call.op))
        if call.op in FORWARD_OPS:
            self.closed.add((call.branch_id, FORWARD_OPS[call.op]))


@given(schedules)
def test_one_after_the_other_every_call_does_what_the_protocol_says(schedule: tuple[str, Sequence[Call]]) -> None:
    pattern, sequence = schedule
    model = Model(closed=set(), books=[])
    with connected(":memory:") as connection:
        make_books(connection)
        for call in sequence:
            rows = barrier_rows(connection)
            must_run = model.runs(call)
            try:
                perform(connection, pattern, call)
            except Broken:
                assert must_run
                assert barrier_rows(connection) == rows  # the failure took the barrier's rows back with it
            else:
                assert not (must_run and call.fails)
                if must_run:
                    model.books.append((call.branch_id, call.op))
                model.close(call)
            assert books(connection) == model.books


def repeat_until_answered(path: str, pattern: str, sequence: Sequence[Call], errors: list[BaseException]) -> None:
    """As a transaction manager calls: again, until the participant answers; business breaks once at most."""
    try:
        with connected(path) as connection:
            for call in sequence:
                try:
                    perform(connection, pattern, call)
                except Broken:
                    perform(connection, pattern, Call(branch_id=call.branch_id, op=call.op))
    except BaseException as error:
        errors.append(error)


@settings(max_examples=40)
@given(thread_schedules)
def test_at_the_same_time_every_op_runs_once_or_rightly_not_at_all(schedule: tuple[str, list[list[Call]]]) -> None:
    pattern, sequences = schedule
    errors: list[BaseException] = []
    with tempfile.TemporaryDirectory() as folder:
        path = str(Path(folder) / "bank.db")
        with connected(path) as connection:
            # Quick on purpose: this is about threads; that commits last is SQLite's own affair.
            connection.execute("pragma journal_mode = wal")
            make_books(connection)
        threads = [
            threading.Thread(target=repeat_until_answered, args=(path, pattern, sequence, errors))
            for sequence in sequences
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(WAIT_MAX_S)
        assert not errors
        with connected(path) as connection:
            entries = books(connection)
    called = {(call.branch_id, call.op) for sequence in sequences for call in sequence}
    check_books(pattern, entries, called)


def check_books(pattern: str, entries: list[tuple[str, str]], called: set[tuple[str, str]]) -> None:
    """What holds for every interleaving."""
    assert len(entries) == len(set(entries)), "an op ran twice"
    for branch_id, op in called:
        ran = (branch_id, op) in entries
        back = next((each for each in PATTERNS[pattern] if FORWARD_OPS.get(each) == op), None)
        if op in FORWARD_OPS:
            forward = (branch_id, FORWARD_OPS[op])
            assert ran == (forward in entries), "all or nothing: both ran, or neither"
            if ran:
                assert entries.index(forward) < entries.index((branch_id, op))
        elif back is None or (branch_id, back) not in called:
            assert ran, "nobody took it back, and it did not run"


@pytest.fixture(scope="module")
def redis_server() -> Iterator[redis.Redis]:
    url = os.environ.get("FLOWTX_TEST_REDIS_URL")
    if url is None:
        pytest.skip(
            "no Redis here: set FLOWTX_TEST_REDIS_URL to an URL like redis://localhost:6379/0 (apt-get install redis)"
        )
    untyped: Any = redis.Redis
    with untyped.from_url(url) as connection:
        yield connection


amounts = st.integers(-50, 50)
redis_schedules = patterns.flatmap(
    lambda pattern: st.tuples(st.just(pattern), st.lists(st.tuples(calls(pattern), amounts), max_size=12))
)


def keys_of(server: Any, gid: str) -> set[bytes]:
    return set(server.scan_iter(f"{gid}-*"))


@contextmanager
def account(server: redis.Redis, gid: str, balance: int) -> Generator[str]:
    """The key of an account; afterwards everything under this gid is gone again."""
    key = f"{gid}-account"
    server.set(key, balance)
    try:
        yield key
    finally:
        server.delete(*keys_of(server, gid))


def adjust_once(server: redis.Redis, gid: str, pattern: str, call: Call, key: str, amount: int) -> bool:
    barrier = Barrier(gid=gid, branch_id=call.branch_id, op=call.op, trans_type=pattern)
    return bool(adjust(barrier, server, key, amount, expire_s=60))


@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(redis_schedules, st.integers(0, 60))
def test_on_redis_every_call_does_what_the_protocol_says(
    redis_server: redis.Redis, schedule: tuple[str, list[tuple[Call, int]]], balance: int
) -> None:
    pattern, sequence = schedule
    model = Model(closed=set(), books=[])
    gid = uuid.uuid4().hex
    with account(redis_server, gid, balance) as key:
        for call, amount in sequence:
            must_run = model.runs(call)
            has_too_little = balance + amount < 0
            keys = keys_of(redis_server, gid)
            if must_run and has_too_little:
                with pytest.raises(Refused):
                    adjust_once(redis_server, gid, pattern, call, key, amount)
                assert keys_of(redis_server, gid) == keys  # a refusal leaves nothing behind
            else:
                assert adjust_once(redis_server, gid, pattern, call, key, amount) == must_run
                if must_run:
                    model.books.append((call.branch_id, call.op))
                    balance += amount
                model.close(call)
            assert redis_server.get(key) == str(balance).encode()


@settings(max_examples=20, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(thread_schedules)
def test_on_redis_at_the_same_time_every_op_runs_once_or_rightly_not_at_all(
    redis_server: redis.Redis, schedule: tuple[str, list[list[Call]]]
) -> None:
    pattern, sequences = schedule
    gid = uuid.uuid4().hex
    ran: list[tuple[str, str]] = []
    # Each op of each branch is worth its own power of a thousand, so that the sum tells what ran, and how often.
    places = sorted({(branch_id, op) for branch_id in ("01", "02") for op in PATTERNS[pattern]})
    worth = {place: 1000**number for number, place in enumerate(places)}
    called = {(call.branch_id, call.op) for sequence in sequences for call in sequence}

    def run(sequence: list[Call], key: str) -> None:
        for call in sequence:
            place = (call.branch_id, call.op)
            if adjust_once(redis_server, gid, pattern, call, key, worth[place]):
                ran.append(place)

    with account(redis_server, gid, 0) as key:
        threads = [threading.Thread(target=run, args=(sequence, key)) for sequence in sequences]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(WAIT_MAX_S)
        total = int(str(redis_server.get(key), "ascii"))  # type: ignore[arg-type]  # bytes, as the connection is set up
    assert total == sum(worth[place] for place in ran)
    assert len(ran) == len(set(ran)), "an op ran twice"
    for branch_id, op in called:
        forward = FORWARD_OPS.get(op)
        if forward is not None:
            assert ((branch_id, op) in ran) == ((branch_id, forward) in ran), "all or nothing"
