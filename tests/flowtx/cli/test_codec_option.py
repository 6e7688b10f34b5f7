"""``--codec``: with it commands read what is encoded, without it they say that it is, and never show bytes as text."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest
from click.testing import Result

Call = Callable[..., Result]

CODECS = '''
"""Codecs as a user writes them."""


class Turned:
    def __init__(self, word=b"turned"):
        self.word = word

    def encode(self, payload, context):
        return self.word + payload[::-1]

    def decode(self, stored, context):
        if not stored.startswith(self.word):
            raise ValueError("wrong word")
        return stored[len(self.word):][::-1]


codec = Turned()
other = Turned(b"other")


def broken():
    raise KeyError("no key in the environment")


nonsense = 7
'''

PAY_NOBODY = '{"payer": "alice", "payee": "nobody", "cents": 100}'


@pytest.fixture
def encoded(call: Call, folder: Path) -> Call:
    """``flowtx``, after one transaction was written with a codec and failed."""
    (folder / "cli_codecs.py").write_text(CODECS)
    run = call("run", "cli_bank:transfer", "--gid", "t-1", "--input", PAY_NOBODY, "--codec", "cli_codecs:codec")
    assert run.exit_code == 1
    assert "there is no account [nobody]" in run.stderr
    assert not [file for file in folder.glob("flowtx.db*") if b"alice" in file.read_bytes()]
    return call


def test_with_the_codec_everything_is_shown(encoded: Call) -> None:
    for spec in ("cli_codecs:codec", "cli_codecs:Turned"):
        shown = encoded("show", "t-1", "--codec", spec).stdout
        assert '"payer":"alice"' in shown
        assert 'deposit("nobody",100)' in shown.replace(", ", ",")
        assert "there is no account [nobody]" in shown
    assert "there is no account [nobody]" in encoded("list", FLOWTX_CODEC="cli_codecs:codec").stdout


def test_without_it_names_and_outcomes_are_shown_and_payloads_said_to_be_encoded(encoded: Call) -> None:
    shown = encoded("show", "t-1")
    assert shown.exit_code == 0
    for told in ("withdraw(...)", "deposit(...)", "refused", "<- compensate", "failed", "--codec", "(encoded)"):
        assert told in shown.stdout
    for hidden in ("alice", "nobody", "\x01"):
        assert hidden not in shown.stdout
    listed = encoded("list").stdout
    assert "(encoded)" in listed
    assert "\x01" not in listed


def test_without_it_programs_get_json_that_says_what_is_encoded(encoded: Call) -> None:
    shown = json.loads(encoded("show", "t-1", "--json").stdout)
    assert shown["input"]["encoded_bytes"] > 20
    assert shown["transaction"]["reason"] == "(encoded)"
    kinds = [(event["fact"]["kind"], event["encoded"]) for event in shown["events"]]
    assert kinds == [
        ("began", True), ("succeeded", True), ("refused", True), ("succeeded", True), ("ended", True),
    ]  # fmt: skip
    assert shown["events"][1]["fact"]["call"]["name"] == "withdraw"


@pytest.mark.parametrize(
    ("spec", "code", "complaint"),
    [
        ("cli_codecs:other", 3, "cannot be decoded by"),
        ("cli_codecs:nonsense", 2, "cli_codecs:nonsense is no codec: it has no encode and decode"),
        ("cli_codecs:broken", 2, "cli_codecs:broken cannot make a codec: KeyError: 'no key in the environment'"),
        ("cli_codecs:missing", 2, "the module cli_codecs has no missing"),
        ("cli_codecs", 2, "names no codec"),
        ("nowhere:codec", 2, "there is no module nowhere"),
    ],
)
def test_a_codec_that_is_wrong_or_none_is_told(encoded: Call, spec: str, code: int, complaint: str) -> None:
    shown = encoded("show", "t-1", "--codec", spec)
    assert (shown.exit_code, shown.stdout) == (code, "")
    assert complaint in shown.stderr


def test_a_run_that_was_written_with_a_codec_does_not_go_on_without(encoded: Call) -> None:
    run = encoded("run", "cli_bank:transfer", "--gid", "t-1", "--input", PAY_NOBODY)
    assert run.exit_code == 3
    assert "transaction t-1: its input is encoded, and there is no codec here that decodes it" in run.stderr
