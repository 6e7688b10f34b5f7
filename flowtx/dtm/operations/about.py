"""What says something about the server and touches no transaction: newGid and version."""

from __future__ import annotations

from flowtx.dtm.gids import new_gid
from flowtx.dtm.outcomes import Done, Outcome
from flowtx.version import __version__


async def make_gid() -> Outcome:
    """A gid nobody has (newGid)."""
    return Done({"dtm_result": "SUCCESS", "gid": new_gid()})


async def version() -> Outcome:
    """Which version serves (version)."""
    return Done({"version": __version__})
