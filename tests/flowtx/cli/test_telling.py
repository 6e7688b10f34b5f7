"""``flowtx signal``, ``cancel`` and ``stop``, as a person uses them while no server runs."""

import contextlib
import json
from collections.abc import Callable
from pathlib import Path

import pytest
import trio
from click.testing import Result

import flowtx
from flowtx.cli.loading import load_workflow

Call = Callable[..., Result]

WAITING = '''
"""A workflow that waits for a word."""

from pathlib import Path

import flowtx


def book(what: str) -> None:
    Path("booked").write_text(what)


def take_back(what: str) -> None:
    Path("booked").unlink()


@flowtx.workflow
async def wait(tx: flowtx.Tx) -> int:
    await tx.step(book, "a", compensate=take_back)
    return await tx.signal("paid", type=int)
'''


async def go_on(fails: bool) -> None:
    """A server that comes back for a moment."""
    async with flowtx.open("sqlite:///flowtx.db", workflows=[load_workflow("cli_waiting:wait")]) as engine:
        with pytest.raises(flowtx.TransactionFailed) if fails else contextlib.nullcontext():
            await engine.wait("w-1")


@pytest.fixture
def waiting(call: Call, folder: Path) -> Call:
    """``flowtx``, with one transaction that waits for a signal, parked, and nobody to drive it."""
    (folder / "cli_waiting.py").write_text(WAITING)

    async def begin() -> None:
        async with flowtx.open("sqlite:///flowtx.db") as engine:
            await engine.start(load_workflow("cli_waiting:wait"), gid="w-1")
            await engine.rest("w-1", timeout_s=20)

    trio.run(begin)
    assert (folder / "booked").exists()
    return call


def test_a_signal_is_kept_until_somebody_drives_the_run(waiting: Call) -> None:
    said = waiting("signal", "w-1", "paid", "--value", "3000", "--key", "k")
    assert (said.exit_code, said.stdout) == (0, "w-1 has the signal paid\n")
    assert (
        json.loads(waiting("signal", "w-1", "paid", "--value", "3000", "--key", "k", "--json").stdout)["gid"] == "w-1"
    )
    trio.run(go_on, False)
    assert "3000" in waiting("show", "w-1").stdout
    late = waiting("signal", "w-1", "paid")
    assert (late.exit_code, "has ended: succeed" in late.stderr) == (1, True)


def test_what_is_cancelled_takes_back_what_it_did(waiting: Call, folder: Path) -> None:
    assert waiting("cancel", "w-1", "--reason", "enough").exit_code == 0
    trio.run(go_on, True)
    assert not (folder / "booked").exists()
    assert "enough" in waiting("show", "w-1").stdout


def test_what_is_stopped_has_failed_at_once_and_takes_nothing_back(waiting: Call, folder: Path) -> None:
    stopped = waiting("stop", "w-1", "--reason", "hopeless", "--json")
    assert json.loads(stopped.stdout)["status"] == "failed"
    assert (folder / "booked").exists()


def test_a_value_that_is_no_json_and_a_gid_that_nobody_has_are_told(waiting: Call) -> None:
    wrong = waiting("signal", "w-1", "paid", "--value", "{3")
    assert (wrong.exit_code, "--value is not JSON" in wrong.stderr) == (2, True)
    assert waiting("cancel", "w-2").exit_code == 1
