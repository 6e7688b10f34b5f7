"""What the tests of commands share: a folder with a module of workflows, and calling ``flowtx`` in it."""

import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from flowtx.cli.main import main

ROOT = Path(__file__).parents[3]

CLI_BANK = '''
"""A module as a user writes it."""

import time
from dataclasses import dataclass
from pathlib import Path

import flowtx


@dataclass
class Transfer:
    payer: str
    payee: str
    cents: int = 100


def withdraw(payer: str, cents: int) -> int:
    return cents


def withdraw_back(payer: str, cents: int) -> None:
    pass


def deposit(payee: str, cents: int) -> None:
    if payee == "nobody":
        raise flowtx.Refused("there is no account [nobody]")
    if payee == "bug" and not Path("mended").exists():
        raise RuntimeError("the bank is on fire")


@flowtx.workflow
async def transfer(tx: flowtx.Tx, t: Transfer) -> str:
    await tx.step(withdraw, t.payer, t.cents, compensate=withdraw_back)
    await tx.step(deposit, t.payee, t.cents, retry=flowtx.Retry(first_s=0.2, factor=1))
    return f"{t.payer} paid {t.payee} {t.cents}"


@flowtx.workflow
async def several(tx: flowtx.Tx, a: str, b: int = 3, c: list[int] | None = None) -> list[object]:
    return [a, b, c]


@flowtx.workflow
async def nothing(tx: flowtx.Tx) -> None:
    pass


def take_long() -> None:
    Path("slow began").touch()
    time.sleep(60)


@flowtx.workflow
async def slow(tx: flowtx.Tx) -> None:
    await tx.step(take_long)


both = [transfer, nothing]
number = 7
'''


@pytest.fixture(autouse=True)
def no_settings_of_the_machine(monkeypatch: pytest.MonkeyPatch) -> None:
    """Of flowtx's own, and how wide the terminal is, which shells and pytest-xdist put into the environment."""
    for variable in [name for name in os.environ if name.startswith("FLOWTX_") or name == "COLUMNS"]:
        monkeypatch.delenv(variable)


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """The current folder, with the module ``cli_bank`` in it; modules imported meanwhile are forgotten."""
    (tmp_path / "cli_bank.py").write_text(CLI_BANK)
    monkeypatch.chdir(tmp_path)
    path, before = list(sys.path), set(sys.modules)
    yield tmp_path
    sys.path[:] = path
    for name in [name for name in set(sys.modules) - before if not name.startswith(("flowtx", "rich", "click"))]:
        file = getattr(sys.modules[name], "__file__", None)
        if file is not None and Path(file).is_relative_to(tmp_path):
            del sys.modules[name]


Call = Callable[..., Result]


@pytest.fixture
def call(folder: Path) -> Call:
    """Calls ``flowtx`` in this process, in the folder."""

    def call_flowtx(*arguments: str, stdin: str = "", **environment: str) -> Result:
        return CliRunner().invoke(main, arguments, input=stdin, env=environment)

    return call_flowtx


Spawn = Callable[..., "subprocess.Popen[str]"]


@pytest.fixture
def spawn(folder: Path) -> Iterator[Spawn]:
    """Starts ``flowtx`` as a process of its own, in the folder; what still runs at the end is killed."""
    started: list[subprocess.Popen[str]] = []
    sources = os.pathsep.join(str(ROOT / source) for source in (".", "dsl", "engine"))

    def spawn_flowtx(*arguments: str) -> "subprocess.Popen[str]":
        process = subprocess.Popen(
            [sys.executable, "-m", "flowtx.cli.main", *arguments],
            env=os.environ | {"PYTHONPATH": sources},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        started.append(process)
        return process

    yield spawn_flowtx
    for process in started:
        process.kill()
        process.communicate()
