"""What the query strings of ``all``, ``scanKV`` and ``resetCronTime`` ask for (spec 2.4)."""

from __future__ import annotations

from collections.abc import Mapping

import msgspec

from flowtx.dtm.wire.errors import RequestError
from flowtx.dtm.wire.go_json import INT64_MAX, INT64_MIN

PAGE_DEFAULT = 100
PAGE_MAX = 10_000
"""The longest page; a longer one, and DTM's ``limit=0`` for everything, is continued through ``next_position``."""


class ListRequest(msgspec.Struct, frozen=True, kw_only=True):
    """One page of transactions, or one transaction; times are seconds since the epoch, inclusive, None for no bound.

    ``before_id`` is what ``position`` says; the text itself is echoed when a gid is asked for.
    """

    gid: str = ""
    position: str = ""
    before_id: int | None = None
    limit: int = PAGE_DEFAULT
    status: str = ""
    trans_type: str = ""
    created_from_at: float | None = None
    created_to_at: float | None = None


class ScanRequest(msgspec.Struct, frozen=True, kw_only=True):
    """One page of a category of key-values; ``before_id`` is what ``position`` says."""

    category: str = ""
    before_id: int | None = None
    limit: int = PAGE_DEFAULT


def parse_list_request(query: Mapping[str, str]) -> ListRequest:
    """The request in a query string; raises ``RequestError`` for a number that is none."""
    gid, position = query.get("gid", ""), query.get("position", "")
    if gid:
        return ListRequest(gid=gid, position=position)
    start, end = query.get("createTimeStart", ""), query.get("createTimeEnd", "")
    return ListRequest(
        position=position,
        before_id=atoi(position) if position else None,
        limit=_limit_of(query),
        status=query.get("status", ""),
        trans_type=query.get("transType", ""),
        created_from_at=atoi(start) / 1000 if start else None,
        # The bound names a millisecond, and a transaction made within it is inside.
        created_to_at=(atoi(end) + 1) / 1000 if end else None,
    )


def parse_scan_request(query: Mapping[str, str]) -> ScanRequest:
    """The request in a query string; raises ``RequestError`` for a number that is none."""
    position = query.get("position", "")
    return ScanRequest(
        category=query.get("cat", ""),
        before_id=atoi(position) if position else None,
        limit=_limit_of(query),
    )


class HastenRequest(msgspec.Struct, frozen=True, kw_only=True):
    """Which waiting transactions to hasten: those that wait longer than ``timeout_s``, at most ``limit``."""

    timeout_s: int
    limit: int


def parse_hasten_request(query: Mapping[str, str], *, timeout_s: int) -> HastenRequest:
    """The request in a query string; raises ``RequestError`` for a number that is none."""
    limit = atoi(query.get("limit", "") or str(PAGE_DEFAULT))
    return HastenRequest(timeout_s=atoi(query.get("timeout", "") or str(timeout_s)), limit=min(max(limit, 0), PAGE_MAX))


def _limit_of(query: Mapping[str, str]) -> int:
    limit = atoi(query.get("limit", "") or str(PAGE_DEFAULT))
    return limit if 0 < limit < PAGE_MAX else PAGE_MAX


def atoi(text: str) -> int:
    """A decimal number of 64 bits; raises ``RequestError`` in DTM's words."""
    digits = text[1:] if text[:1] in ("+", "-") else text
    if digits.isascii() and digits.isdigit() and len(digits) <= 19 and INT64_MIN <= int(text) <= INT64_MAX:
        return int(text)
    raise RequestError(f"convert to int error: {text[:100]}")
