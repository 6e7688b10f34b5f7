"""``python -m tests.fuzz --minutes 10``: attack a real server, say what was sent and what came back."""

from __future__ import annotations

import argparse
import secrets
import sys
import tempfile
from functools import partial
from pathlib import Path

import trio

from tests.fuzz.run import ATTACKERS, fuzz


def main() -> int:
    """Exit code 0 when nothing was found, 1 otherwise."""
    parser = argparse.ArgumentParser(prog="python -m tests.fuzz", description=__doc__)
    parser.add_argument("--minutes", type=float, default=1.0, help="how long the attack lasts (1)")
    parser.add_argument("--seed", default="", help="what decides the requests; an earlier run's makes them again")
    parser.add_argument("--only", action="append", choices=list(ATTACKERS), help="an attacker; may be repeated (all)")
    parser.add_argument("--out", type=Path, help="the folder for findings, with the bytes that led to them")
    asked = parser.parse_args()
    folder = asked.out or Path(tempfile.gettempdir()) / "flowtx-fuzz-findings"
    chosen = {name: ATTACKERS[name] for name in asked.only or ATTACKERS}
    report = trio.run(partial(fuzz, asked.seed or secrets.token_hex(4), asked.minutes * 60, folder, chosen))
    print(report)
    if not report.book.found:
        return 0
    print(f"what was found is in {folder}")
    return 1


if __name__ == "__main__":
    sys.exit(main())
