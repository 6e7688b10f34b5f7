"""What operations work with, and the one place where errors become answers."""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from flowtx.dtm.outcomes import DtmError, Outcome
from flowtx.dtm.wire.errors import RequestError, UndecodableError
from flowtx.settings import Settings
from flowtx_dsl.errors import EngineClosed, FlowtxError, Overloaded
from flowtx_engine.journal.errors import JournalError, JournalUnavailable
from flowtx_engine.runtime.engine import Engine

log = logging.getLogger("flowtx.dtm")


Served = Callable[[str, str, int, float], None]
"""Is told of every request: over what it came, which operation it was, the answer's status, and the seconds it took."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Desk:
    """What the operations work with."""

    engine: Engine
    settings: Settings
    served: Served = lambda kind, api, status, elapsed_s: None


async def answered(operation: Awaitable[Outcome]) -> Outcome:
    """The outcome of an operation, with whatever it raises made one: the only place where errors become answers."""
    try:
        return await operation
    except UndecodableError as error:
        return DtmError(error.message, kind="undecodable")
    except RequestError as error:
        return DtmError(error.message, kind="crash")
    except (Overloaded, EngineClosed) as error:
        return DtmError(error.message, kind="overloaded")
    except JournalUnavailable as error:
        log.warning("an operation failed because the journal is unavailable: %s", error.message)
        return DtmError(
            "the database of the transaction manager is not available; repeat the request later", kind="crash"
        )
    except JournalError:
        log.exception("an operation failed in the journal")
        return DtmError("the database of the transaction manager refused the request; its log says why", kind="crash")
    except FlowtxError as error:
        return DtmError(error.message)
    except Exception:
        log.exception("an operation failed in a way that nobody foresaw")
        return DtmError("internal error of the transaction manager; its log says more", kind="crash")
