"""Money between two banks: a transfer that succeeds, one that is refused, and one with a crash in the middle.

    python -m examples.bank.demo

Starts a flowtx server and two banks as processes of their own, in a temporary folder, and leaves neither behind. Ends
with code 1 if a cent is missing.
"""

import json
import os
import signal
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any
from urllib.request import Request, urlopen

from rich import box
from rich.console import Console
from rich.rule import Rule
from rich.table import Table

from examples.bank import local
from examples.bank.children import Child, ChildFailed, Children, wait_until
from examples.bank.saga import submit, transfer_saga

LOG_WIDTH = 150
"""Columns when nobody looks through a terminal: a log of a build, a file."""

console = Console(highlight=False)
if not console.is_terminal:
    console.width = LOG_WIDTH

Balances = dict[str, int]


class MoneyMissing(Exception):
    """The balances are not what they must be."""


class Demo:
    """The two banks, the server, and what is shown of them."""

    def __init__(self, children: Children, folder: Path) -> None:
        self._children = children
        self._db = f"sqlite:///{folder / 'flowtx.db'}"
        self.bank_a = self._start_bank("A", folder / "bank-a.db", "alice=10000")
        self.bank_b = self._start_bank("B", folder / "bank-b.db", "bob=2000")
        self.server = self.start_server()

    def _start_bank(self, name: str, file: Path, account: str) -> Child:
        arguments = ("--name", name, "--port", "0", "--db", str(file), "--account", account)
        return self._children.start(f"bank {name}", "examples.bank.service", *arguments)

    def start_server(self) -> Child:
        """``flowtx serve`` on the demo's database and a free port."""
        options = ("--db", self._db, "--bind", "127.0.0.1:0", "--grpc-bind", "off")
        return self._children.start("server", "flowtx.cli.main", "serve", *options)

    def transfer(self, gid: str, *, payee: str, cents: int, wait: bool) -> int:
        """Submit a transfer from alice as a DTM saga; returns the server's status code."""
        saga = transfer_saga(
            gid,
            payer_bank=self.bank_a.address,
            payee_bank=self.bank_b.address,
            payer="alice",
            payee=payee,
            cents=cents,
        )
        return submit(self.server.address, saga, wait=wait)[0]

    def status_of(self, gid: str) -> str:
        """What the server says of a transaction."""
        transaction = get(f"{self.server.address}/api/dtmsvr/query?gid={gid}")["transaction"]
        return str(transaction["status"])

    def balances(self) -> Balances:
        """Every account of both banks."""
        return {**get(f"{self.bank_a.address}/balance"), **get(f"{self.bank_b.address}/balance")}

    def show(self, gid: str) -> None:
        """``flowtx show``, as a person would call it."""
        self.command("show", gid)

    def command(self, *arguments: str) -> None:
        """Call the command line in front of the reader."""
        shown = " ".join(argument if argument.replace("-", "").isalnum() else f"'{argument}'" for argument in arguments)
        console.print(f"\n$ flowtx {shown}", style="bold blue", markup=False)
        code = self._children.run("flowtx.cli.main", *arguments)
        if code != 0:
            raise ChildFailed(f"flowtx {arguments[0]} ended with code {code}")


def get(url: str) -> dict[str, Any]:
    """A JSON object from a URL."""
    with urlopen(url, timeout=10) as response:
        answer: dict[str, Any] = json.loads(response.read())
    return answer


def post(url: str) -> None:
    """A POST without a body."""
    urlopen(Request(url, method="POST"), timeout=10).close()


# -- what is shown


def scene(title: str, *text: str) -> None:
    """The head of a scene."""
    console.print()
    console.print(Rule(f"[bold]{title}[/bold]", align="left", style="cyan"))
    for line in text:
        console.print(line)


def euros(cents: int) -> str:
    """Cents as people write them."""
    return f"{cents / 100:.2f}"


def show_balances(moments: Mapping[str, Balances]) -> None:
    """A table of balances, a moment a row."""
    accounts = list(next(iter(moments.values())))
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    table.add_column("")
    for account in accounts:
        table.add_column(account, justify="right")
    table.add_column("together", justify="right", style="bold")
    for moment, balances in moments.items():
        table.add_row(moment, *(euros(balances[account]) for account in accounts), euros(sum(balances.values())))
    console.print(table)


def must_be(found: Balances, expected: Balances) -> None:
    """Raise ``MoneyMissing`` unless every account has what it must have."""
    if found != expected:
        raise MoneyMissing(f"the balances are {found}, expected {expected}")


# -- the scenes


def succeed(demo: Demo) -> None:
    """Everything goes well."""
    scene("1. A transfer", "alice (bank A) pays bob (bank B) 30.00, as a DTM saga of two steps.")
    before = demo.balances()
    status = demo.transfer("transfer-1", payee="bob", cents=3000, wait=True)
    console.print(f"The server answered {status}.")
    demo.show("transfer-1")
    after = demo.balances()
    show_balances({"before": before, "after": after})
    must_be(after, {"alice": before["alice"] - 3000, "bob": before["bob"] + 3000})


def refuse(demo: Demo) -> None:
    """The second bank says no, so what the first one did is taken back."""
    scene("2. A refusal", "alice pays carol 30.00. Bank B has no carol and refuses; the withdrawal is taken back.")
    before = demo.balances()
    status = demo.transfer("transfer-2", payee="carol", cents=3000, wait=True)
    console.print(f"The server answered {status}.")
    wait_until("transfer-2 has failed", lambda: demo.status_of("transfer-2") == "failed")
    demo.show("transfer-2")
    after = demo.balances()
    show_balances({"before": before, "after": after})
    must_be(after, before)


def crash(demo: Demo) -> None:
    """The server is killed while the money is under way."""
    scene(
        "3. A crash in the middle",
        "alice pays bob 25.00. Bank B keeps the deposit waiting; the money has left bank A when the server is killed.",
    )
    before = demo.balances()
    post(f"{demo.bank_b.address}/pause")
    demo.transfer("transfer-3", payee="bob", cents=2500, wait=False)
    wait_until("the deposit waits at bank B", lambda: get(f"{demo.bank_b.address}/pause")["waiting"] > 0)
    demo.server.kill()
    console.print(f"\n$ kill -9 {demo.server.id}", style="bold red", markup=False)
    console.print("The server is gone. The journal is what it knew:")
    demo.show("transfer-3")
    middle = demo.balances()
    must_be(middle, {"alice": before["alice"] - 2500, "bob": before["bob"]})

    post(f"{demo.bank_b.address}/release")
    restarted_at = time.monotonic()
    demo.server = demo.start_server()
    console.print("\nBank B takes deposits again, and the server is started again; nobody tells it what to do.")
    wait_until("transfer-3 has succeeded", lambda: demo.status_of("transfer-3") == "succeed")
    console.print(f"It finished the transfer {time.monotonic() - restarted_at:.1f} s after its restart.")
    demo.show("transfer-3")
    after = demo.balances()
    show_balances({"before": before, "after the kill": middle, "after the restart": after})
    must_be(after, {"alice": before["alice"] - 2500, "bob": before["bob"] + 2500})


def python_workflow(demo: Demo) -> None:
    """The transfer as a Python coroutine with local functions as its steps."""
    scene(
        "4. The same in Python", "examples/bank/transfer.py: a coroutine whose steps are functions on a local SQLite."
    )
    local.open_bank({"dora": 5000, "emil": 0})
    before = local.balances()
    order = '{"payer": "dora", "payee": "emil", "cents": 1250}'
    demo.command("run", "examples.bank.transfer:transfer", "--gid", "python-1", "--input", order)
    demo.show("python-1")
    after = local.balances()
    show_balances({"before": before, "after": after})
    must_be(after, {"dora": 3750, "emil": 1250})


def play(folder: Path) -> None:
    """All scenes; raises when something is not as it must be."""
    os.environ["BANK_DB"] = str(folder / "local-bank.db")
    env = {"FLOWTX_DB": f"sqlite:///{folder / 'flowtx.db'}"}
    if not console.is_terminal:
        env["COLUMNS"] = str(LOG_WIDTH)
    with Children(folder, env) as children:
        demo = Demo(children, folder)
        for name, child in {"bank A": demo.bank_a, "bank B": demo.bank_b, "the server": demo.server}.items():
            console.print(f"{name:10} listens on {child.address}, process {child.id}")
        for play_scene in (succeed, refuse, crash, python_workflow):
            play_scene(demo)


def main() -> int:
    """Play the demo; returns the exit code."""
    for asked_to_stop in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(asked_to_stop, lambda number, _: sys.exit(128 + number))
    began_at = time.monotonic()
    try:
        with TemporaryDirectory(prefix="flowtx-demo-") as folder:
            play(Path(folder))
    except (ChildFailed, MoneyMissing) as problem:
        console.print(f"\nThe demo failed: {problem}", style="bold red", markup=False)
        return 1
    except KeyboardInterrupt:
        console.print("\nInterrupted; everything that was started has been ended.")
        return 130
    console.print(f"\nNot a cent is missing. The demo took {time.monotonic() - began_at:.1f} s.", style="bold green")
    return 0


if __name__ == "__main__":
    sys.exit(main())
