"""DTM's store in Redis (spec 6.3).

The law of this file: it only reads. Redis has no view that stands still, so DTM must not run meanwhile; a record that
is gone between two looks was finished and has expired.
"""

from __future__ import annotations

import re
from collections.abc import Generator, Iterator
from contextlib import contextmanager
from datetime import datetime
from typing import Any, Protocol, cast

import msgspec
import redis

from flowtx.dtm.takeover.records import UNFINISHED, DtmBranch, DtmTopic, DtmTransaction, SourceError, Unreadable

PREFIX = "{a}"
"""What DTM's keys begin with unless its configuration says otherwise (``RedisPrefix``)."""
SCAN_COUNT = 1_000
"""Keys looked through at once."""


UNTYPED: Any = redis.Redis
"""The client's types leave out what its calls take and return for a client that does not decode."""


class Client(Protocol):
    """What is used of a client: nothing that writes."""

    def ping(self) -> bool:
        """PING."""
        ...

    def get(self, name: bytes) -> bytes | None:
        """GET."""
        ...

    def lrange(self, name: str, start: int, end: int) -> list[bytes]:
        """LRANGE."""
        ...

    def scan_iter(self, match: str, count: int) -> Iterator[bytes]:
        """SCAN, until it has come round."""
        ...

    def close(self) -> None:
        """Hang up."""
        ...


class _Options(msgspec.Struct, frozen=True, omit_defaults=True):
    """What stands beside ``options`` in a record, and counts when that text is not there."""

    wait_result: bool | None = None
    timeout_to_fail: int | None = None
    request_timeout: int | None = None
    retry_interval: int | None = None
    branch_headers: dict[str, str] | None = None
    concurrent: bool | None = None
    retry_limit: int | None = None


class _Record(_Options, frozen=True, omit_defaults=True):
    gid: str = ""
    trans_type: str = ""
    status: str = ""
    create_time: str | None = None
    query_prepared: str = ""
    protocol: str = ""
    options: str = ""
    custom_data: str = ""
    rollback_reason: str = ""


class _Branch(msgspec.Struct, frozen=True):
    branch_id: str = ""
    op: str = ""
    url: str = ""
    bin_data: bytes | None = None
    status: str = ""
    create_time: str | None = None
    finish_time: str | None = None


class _KeyValue(msgspec.Struct, frozen=True):
    k: str
    v: str = ""


class RedisSource:
    """The keys of one prefix in one Redis."""

    def __init__(self, url: str, prefix: str = PREFIX, *, name: str) -> None:
        """Connects; ``name`` is what messages call the store. Raises ``SourceError``."""
        self._name = name
        self._prefix = prefix
        self._finished_count = 0
        try:
            self._redis = cast("Client", UNTYPED.from_url(url))
        except ValueError as error:
            raise SourceError(
                f"{self._name} names no Redis", remedy="Write redis://user:password@host:6379/0, or rediss:// for TLS."
            ) from error
        with self._translating():
            self._redis.ping()

    def unfinished(self) -> Iterator[DtmTransaction | Unreadable]:
        """See ``Source.unfinished``; in no order, and what is finished is counted on the way."""
        self._finished_count = 0
        for key, value in self._values("_g_"):
            try:
                record = msgspec.json.decode(value, type=_Record)
                if record.status in UNFINISHED:
                    yield _transaction_of(record, self._branches(record.gid))
                else:
                    self._finished_count += 1
            except (msgspec.MsgspecError, ValueError) as error:
                yield Unreadable(gid=key, reason=f"its record in Redis is not as DTM writes it: {error}")

    def finished_count(self) -> int:
        """See ``Source.finished_count``."""
        return self._finished_count

    def topics(self) -> Iterator[DtmTopic]:
        """See ``Source.topics``."""
        for key, value in self._values("_kv_topics_"):
            try:
                found = msgspec.json.decode(value, type=_KeyValue)
            except msgspec.MsgspecError:
                yield DtmTopic(name=key, value=value.decode(errors="replace"))
            else:
                yield DtmTopic(name=found.k, value=found.v)

    def close(self) -> None:
        """See ``Source.close``."""
        self._redis.close()

    def _values(self, kind: str) -> Iterator[tuple[str, bytes]]:
        """What stands under the keys of a kind, each with the rest of its key, in the order of the keys."""
        head = f"{self._prefix}{kind}"
        pattern = re.sub(r"([\\*?\[\]^-])", r"\\\1", head) + "*"
        with self._translating():
            # A scan may tell a key twice.
            keys = sorted(set(self._redis.scan_iter(match=pattern, count=SCAN_COUNT)))
        for key in keys:
            with self._translating():
                value = self._redis.get(key)
            if value is not None:
                yield key.decode(errors="replace").removeprefix(head), value

    def _branches(self, gid: str) -> tuple[DtmBranch, ...]:
        with self._translating():
            found = self._redis.lrange(f"{self._prefix}_b_{gid}", 0, -1)
        return tuple(_branch_of(msgspec.json.decode(each, type=_Branch)) for each in found)

    @contextmanager
    def _translating(self) -> Generator[None]:
        try:
            yield
        except redis.RedisError as error:
            raise SourceError(f"DTM's store at {self._name} cannot be read: {error}") from error


def _transaction_of(record: _Record, branches: tuple[DtmBranch, ...]) -> DtmTransaction:
    beside = _Options(**{name: getattr(record, name) for name in _Options.__struct_fields__})
    return DtmTransaction(
        gid=record.gid,
        trans_type=record.trans_type,
        status=record.status,
        created_at=_instant(record.create_time),
        query_prepared=record.query_prepared,
        protocol=record.protocol,
        options=record.options or msgspec.json.encode(beside).decode(),
        custom_data=record.custom_data,
        rollback_reason=record.rollback_reason,
        branches=branches,
    )


def _branch_of(branch: _Branch) -> DtmBranch:
    return DtmBranch(
        branch_id=branch.branch_id,
        op=branch.op,
        url=branch.url,
        payload=branch.bin_data or b"",
        status=branch.status,
        created_at=_instant(branch.create_time),
        finished_at=_instant(branch.finish_time),
    )


def _instant(text: str | None) -> float | None:
    """Seconds since the epoch of a time in RFC 3339; DTM writes nanoseconds, of which Python keeps six digits."""
    return datetime.fromisoformat(text).timestamp() if text else None
