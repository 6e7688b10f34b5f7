"""``flowtx serve --reset``: forgetting everything before a server begins.

The law of this file: nothing is forgotten under a server that is alive.
"""

from __future__ import annotations

import time
from contextlib import closing

from flowtx.config.secrets import without_password
from flowtx_dsl.errors import FlowtxError
from flowtx_engine.journal.sql import open_store


class StillServed(FlowtxError):
    """The database is another server's, too."""

    remedy = "Stop it first. One that was killed counts as alive for two heartbeats: wait some seconds, and try again."


def reset_store(url: str) -> None:
    """Forget every transaction, topic and schedule; raises ``StillServed`` and ``JournalError``."""
    with closing(open_store(url)) as store:
        if store.loaded(time.time()):
            raise StillServed(f"a server is at work on {without_password(url)}, so it is not reset")
        store.empty()
