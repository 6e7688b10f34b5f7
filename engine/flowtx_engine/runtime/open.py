"""Opening an engine on a database, for programs that embed it."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Iterable
from contextlib import asynccontextmanager

import trio

from flowtx_dsl.workflow import AnyWorkflow
from flowtx_engine.journal.codec import PayloadCodec
from flowtx_engine.runtime.clock import Clock
from flowtx_engine.runtime.engine import Engine
from flowtx_engine.runtime.limits import EngineLimits
from flowtx_engine.runtime.speech import watch_records


@asynccontextmanager
async def open_engine(
    url: str,
    *,
    workflows: Iterable[AnyWorkflow] = (),
    limits: EngineLimits | None = None,
    codec: PayloadCodec | None = None,
    clock: Clock | None = None,
) -> AsyncGenerator[Engine]:
    """An engine on the database at ``url``: ``sqlite:///bank.db``, or ``memory://`` for tests.

    Pass the ``workflows`` whose unfinished transactions it shall recover; those it is asked to run are added by
    themselves. On leaving the block, calls in flight end within ``limits.grace_s`` and unfinished transactions are
    given back to be taken up by the next engine. With a ``codec``, the database holds payloads only as it encodes them;
    what is there already without one stays readable. The engine's time is the ``clock``'s, the machine's unless
    another one is given. Raises ``JournalError`` when the database cannot be used.
    """
    # The database's and the network's libraries are heavy; `import flowtx` must stay light.
    from flowtx_engine.calls.functions import Threads  # noqa: PLC0415 - heavy, see above
    from flowtx_engine.calls.grpc_on_demand import GrpcOnDemand  # noqa: PLC0415 - heavy, see above
    from flowtx_engine.calls.http import HttpClient, HttpLimits  # noqa: PLC0415 - heavy, see above
    from flowtx_engine.calls.performer import Calls  # noqa: PLC0415 - heavy, see above
    from flowtx_engine.calls.queues import Queues  # noqa: PLC0415 - heavy, see above
    from flowtx_engine.journal.encoded import EncodedStore  # noqa: PLC0415 - heavy, see above
    from flowtx_engine.journal.journal import Journal  # noqa: PLC0415 - heavy, see above
    from flowtx_engine.journal.sql import open_store  # noqa: PLC0415 - heavy, see above

    watch_records()
    limits = limits or EngineLimits()
    store = await trio.to_thread.run_sync(open_store, url)
    journal = Journal(store if codec is None else EncodedStore(store, codec))
    try:
        async with (
            HttpClient(HttpLimits(response_body_max=max(1, limits.payload_bytes_max))) as http,
            GrpcOnDemand(reply_max=max(1, limits.payload_bytes_max)) as grpc,
            Queues() as queues,
        ):
            threads = Threads(limits.threads_max)
            calls = Calls(http, grpc=grpc, queues=queues, run_sync=threads, http_timeout_s=limits.http_timeout_s)
            engine = Engine(journal, calls, workflows=workflows, limits=limits, clock=clock)
            raised: Exception | None = None
            async with trio.open_nursery() as nursery:
                await nursery.start(engine.serve)
                try:
                    yield engine
                except Exception as error:
                    # Kept from the nursery, which would wrap it: a caller catches what the block raised.
                    raised = error
                finally:
                    # Also when the block is left by a cancellation: leases are given back, within the grace period.
                    with trio.move_on_after(limits.grace_s + 5, shield=True):
                        await engine.shut_down()
                    nursery.cancel_scope.cancel()
            if raised is not None:
                raise raised
    finally:
        with trio.CancelScope(shield=True, deadline=trio.current_time() + 5):
            await journal.aclose()
