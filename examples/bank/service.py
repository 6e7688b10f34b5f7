"""A bank as a service: what a participant of a distributed transaction looks like from outside.

    python -m examples.bank.service --name A --port 0 --db a.db --account alice=10000

The law of this file: 200 says that the money has moved (now or at an earlier call), 409 is the bank's final "no", 425
says "ask again", and anything else says nothing. Who calls is told by the query: gid, branch_id, op, trans_type.
"""

import argparse
import signal
import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path

import msgspec
import trio
from hypercorn.config import Config
from hypercorn.trio import serve  # pyright: ignore[reportUnknownVariableType]  # its WSGI half is not typed
from quart import Response, jsonify, request
from quart_trio import QuartTrio

from examples.bank.books import ORIGIN, Books, Call, RefusedByBank


class Payment(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The body of every change: an account and an amount in cents."""

    account: str
    cents: int


class Gate:
    """Stands before the deposits. Closed, it keeps them waiting: how a slow bank looks to everybody else."""

    def __init__(self) -> None:
        self._opened = trio.Event()
        self._opened.set()
        self.waiting_count = 0

    def close(self) -> None:
        """Keep whoever comes now waiting."""
        if self._opened.is_set():
            self._opened = trio.Event()

    def open(self) -> None:
        """Let everybody pass."""
        self._opened.set()

    async def pass_through(self) -> None:
        """Wait until the gate is open."""
        self.waiting_count += 1
        try:
            await self._opened.wait()
        finally:
            self.waiting_count -= 1


def make_app(name: str, books: Books) -> QuartTrio:
    """The bank's web application."""
    app = QuartTrio(name)
    gate = Gate()

    @app.post("/withdraw")
    async def withdraw() -> Response:
        return await answer(books.withdraw)

    @app.post("/withdraw-back")
    async def withdraw_back() -> Response:
        return await answer(books.deposit, takes_back=True)

    @app.post("/deposit")
    async def deposit() -> Response:
        await gate.pass_through()
        return await answer(books.deposit)

    @app.post("/deposit-back")
    async def deposit_back() -> Response:
        return await answer(books.withdraw, takes_back=True)

    @app.get("/balance")
    async def balance() -> Response:
        return jsonify(await trio.to_thread.run_sync(books.balances))

    @app.post("/pause")
    async def pause() -> Response:
        gate.close()
        return jsonify({})

    @app.get("/pause")
    async def paused() -> Response:
        return jsonify({"waiting": gate.waiting_count})

    @app.post("/release")
    async def release() -> Response:
        gate.open()
        return jsonify({})

    return app


async def answer(change: Callable[[Call, str, int], None], *, takes_back: bool = False) -> Response:
    """Read the request, change the books in a worker thread, and say what became of it."""
    missing = [word for word in ("gid", "branch_id", "op", "trans_type") if not request.args.get(word)]
    if missing:
        return say(400, f"the query lacks {', '.join(missing)}")
    call = Call(**{word: request.args[word] for word in ("gid", "branch_id", "op", "trans_type")})
    if (call.op in ORIGIN) != takes_back:
        return say(400, f"{request.path} does not do op={call.op}")
    try:
        payment = msgspec.json.decode(await request.get_data(), type=Payment)
    except msgspec.MsgspecError as error:
        return say(400, f"the body is not a payment: {error}")
    if payment.cents <= 0:
        return say(400, f"{payment.cents} cents cannot be paid")
    try:
        await trio.to_thread.run_sync(change, call, payment.account, payment.cents)
    except RefusedByBank as refused:
        return say(409, str(refused), dtm_result="FAILURE")
    return jsonify({"dtm_result": "SUCCESS"})


def say(status: int, message: str, **more: str) -> Response:
    """An answer that is not a success."""
    response = jsonify({"message": message, **more})
    response.status_code = status
    return response


def read_account(text: str) -> tuple[str, int]:
    """``alice=10000`` as a name and a first balance in cents."""
    name, _, cents = text.partition("=")
    return name, int(cents)


async def main() -> None:
    """Serve until SIGTERM or Ctrl-C; the line on stdout says when the bank can be called, and where."""
    parser = argparse.ArgumentParser(description="A small bank that takes part in distributed transactions.")
    parser.add_argument("--name", required=True)
    parser.add_argument("--port", type=int, default=0, help="0 (the default) takes a free one")
    parser.add_argument("--db", type=Path, required=True, help="the SQLite file of its books")
    parser.add_argument("--account", type=read_account, action="append", default=[], metavar="NAME=CENTS")
    options = parser.parse_args()

    books = Books(options.db)
    for name, cents in options.account:
        books.open_account(name, cents)
    config = Config()
    config.bind = [f"127.0.0.1:{options.port}"]
    config.loglevel = "WARNING"
    config.graceful_timeout = 1.0

    with trio.open_signal_receiver(signal.SIGTERM, signal.SIGINT) as signals:

        async def a_signal() -> None:
            await anext(signals)

        bank = partial(serve, make_app(options.name, books), config, shutdown_trigger=a_signal)
        async with trio.open_nursery() as nursery:
            (address,) = await nursery.start(bank)
            print(f"bank {options.name} is open at {address}", flush=True)


if __name__ == "__main__":
    sys.exit(trio.run(main))
