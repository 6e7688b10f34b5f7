"""Commands on large payloads: ``show`` and ``list`` read no piece and say how long they are; with a codec, too."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest
from click.testing import Result

Call = Callable[..., Result]

APP = '''
"""A workflow with large payloads, and a codec."""

import flowtx


def double(text: str) -> str:
    return text + text


@flowtx.workflow
async def grow(tx: flowtx.Tx, text: str) -> str:
    return await tx.step(double, text)


class Turned:
    def encode(self, payload, context):
        return payload[::-1]

    def decode(self, stored, context):
        return stored[::-1]
'''
SIZE = 600_000
CODEC = ("--codec", "cli_large:Turned")


@pytest.fixture(params=[(), CODEC], ids=["plain", "encoded"])
def grown(request: pytest.FixtureRequest, call: Call, folder: Path) -> tuple[Call, tuple[str, ...]]:
    """``flowtx``, after a run whose input, step and result are large, and whose pieces are gone; and its codec."""
    codec: tuple[str, ...] = request.param
    (folder / "cli_large.py").write_text(APP)
    (folder / "input.json").write_text(json.dumps("x" * SIZE))
    run = call("run", "cli_large:grow", "--gid", "g", "--input", f"@{folder / 'input.json'}", *codec)
    assert run.exit_code == 0, run.stderr
    with closing(sqlite3.connect(folder / "flowtx.db")) as connection, connection:
        assert connection.execute("SELECT count(*) FROM flowtx_payloads WHERE state = 'counts'").fetchone() == (4,)
        connection.execute("DELETE FROM flowtx_pieces")  # whoever looks for one now will say so
    return call, codec


def test_show_says_how_long_they_are_and_what_was_done(grown: tuple[Call, tuple[str, ...]]) -> None:
    call, codec = grown
    shown = call("show", "g", *codec)
    assert shown.exit_code == 0, shown.stderr
    for told in ("double(...)", "(600,004 bytes)", "(1,200,002 bytes)", "succeed"):
        assert told in shown.stdout, told
    assert "\x02" not in shown.stdout
    assert call("list", *codec).exit_code == 0


def test_programs_are_told_the_same(grown: tuple[Call, tuple[str, ...]]) -> None:
    call, codec = grown
    told = json.loads(call("show", "g", "--json", *codec).stdout)
    assert (told["input"], told["result"]) == ({"bytes_in_pieces": 600_004}, {"bytes_in_pieces": 1_200_002})
    sizes = [event["size_bytes"] for event in told["events"]]
    assert sizes[0] is None
    assert all(size > 1_200_000 for size in sizes[1:])
    assert told["events"][1]["fact"]["call"]["name"] == "double"
    assert not any(event["encoded"] for event in told["events"])


def test_without_the_codec_they_are_said_to_be_encoded(grown: tuple[Call, tuple[str, ...]]) -> None:
    call, codec = grown
    if codec:
        shown = call("show", "g").stdout
        assert "double(...)" in shown
        assert "(encoded)" in shown
        assert "\x01" not in shown
    else:
        assert "(encoded)" not in call("show", "g").stdout
