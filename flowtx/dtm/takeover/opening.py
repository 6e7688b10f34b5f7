"""Opening a store of DTM's by its URL."""

from __future__ import annotations

from flowtx.dtm.takeover.records import Source, SourceError

REDIS_SCHEMES = ("redis://", "rediss://", "unix://")


def open_source(url: str, *, name: str, redis_prefix: str) -> Source:
    """The store at a URL, opened to be read; ``name`` is the URL fit to be shown. Raises ``SourceError``."""
    if url.startswith(REDIS_SCHEMES):
        try:
            from flowtx.dtm.takeover.redis_source import RedisSource  # noqa: PLC0415 - the client is an extra
        except ModuleNotFoundError as error:
            raise SourceError(
                f"{name} cannot be read: the Python package {error.name} is not installed",
                remedy="pip install flowtx[redis]",
            ) from error
        return RedisSource(url, redis_prefix, name=name)
    from flowtx.dtm.takeover.sql_source import SqlSource  # noqa: PLC0415 - heavy, and not needed for Redis

    return SqlSource(url, name=name)
