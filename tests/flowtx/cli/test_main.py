"""``flowtx`` itself: light help, errors as messages, exit codes."""

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import click
import pytest
from click.testing import CliRunner, Result

from flowtx.cli.failures import exit_code_of, only_cause, shown_as_messages
from flowtx.cli.main import COMMANDS, main
from flowtx.settings import SettingsError
from flowtx.version import __version__
from flowtx_dsl.errors import FlowtxError, NoSuchTransaction
from flowtx_engine.journal.errors import JournalUnavailable, SchemaError

Call = Callable[..., Result]

ROOT = Path(__file__).parents[3]
# What a command needs when it runs, and help does not.
HEAVY = {"rich", "sqlalchemy", "quart", "hypercorn", "httptools", "sqlite3"}


def test_help_names_every_command_and_loads_nothing_heavy() -> None:
    program = (
        "import sys; from flowtx.cli.main import main; main(['--help'], standalone_mode=False);"
        "print(*{name.partition('.')[0] for name in sys.modules}, file=sys.stderr)"
    )
    sources = os.pathsep.join(str(ROOT / source) for source in (".", "dsl", "engine"))
    done = subprocess.run(
        [sys.executable, "-c", program],
        env=os.environ | {"PYTHONPATH": sources},
        capture_output=True,
        text=True,
        check=True,
    )
    text = " ".join(done.stdout.split())  # a summary may need two lines
    for name, lazy in COMMANDS.items():
        assert f"  {name} " in done.stdout
        assert lazy.summary in text
    assert not HEAVY & set(done.stderr.split())


# check 210
@pytest.mark.parametrize("spelling", ["--version", "-V", "serve -v", "serve --version"])
def test_the_version_is_told(call: Call, spelling: str) -> None:
    result = call(*spelling.split())
    assert (result.exit_code, result.output) == (0, f"flowtx {__version__}\n")


# check 210; DTM ends with 0 for a word that is no option, and a start script with a slip in it looks well
def test_the_help_of_the_server_is_told_and_a_stray_word_is_refused(call: Call) -> None:
    helped = call("serve", "-h")
    assert helped.exit_code == 0
    assert helped.output.startswith("Usage: ")
    assert call("serve", "now").exit_code == 2


def test_a_misspelt_command_is_answered_with_the_nearest(call: Call) -> None:
    result = call("serv")
    assert result.exit_code == 2
    assert "Did you mean 'serve'?" in result.stderr


def test_an_error_is_a_message_and_with_debug_a_traceback(call: Call) -> None:
    assert call("db", "upgrade").exit_code == 0
    plain = call("show", "t-1")
    assert plain.exit_code == 1
    assert plain.stderr == "flowtx: no transaction has the gid t-1\n  -> `flowtx list` shows those there are.\n"
    debug = call("--debug", "show", "t-1")
    assert debug.exit_code == 1
    assert debug.stderr.startswith("Traceback")
    assert "no transaction has the gid t-1" in debug.stderr


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (NoSuchTransaction("none"), 1),
        (FlowtxError("whatever"), 1),
        (SettingsError("bind is odd", setting="bind"), 2),
        (JournalUnavailable("gone"), 3),
        (SchemaError("newer"), 3),
    ],
)
def test_the_exit_code_says_what_kind_of_error_it_was(error: FlowtxError, code: int) -> None:
    assert exit_code_of(error) == code


def test_an_error_inside_nurseries_speaks_for_itself() -> None:
    error = NoSuchTransaction("none")
    assert only_cause(ExceptionGroup("", [ExceptionGroup("", [error])])) is error
    several = ExceptionGroup("", [error, ValueError()])
    assert only_cause(several) is several
    assert isinstance(only_cause(BaseExceptionGroup("", [ValueError(), KeyboardInterrupt()])), KeyboardInterrupt)


def test_ctrl_c_ends_a_command_quietly_with_130() -> None:
    @click.command()
    def interrupted() -> None:
        with shown_as_messages(debug=False):
            raise KeyboardInterrupt

    result = CliRunner().invoke(interrupted)
    assert (result.exit_code, result.output) == (130, "")


def test_a_bug_of_flowtx_is_not_made_a_message() -> None:
    with pytest.raises(ExceptionGroup), shown_as_messages(debug=False):
        raise ExceptionGroup("", [ValueError(), TypeError()])


def test_every_command_answers_help(call: Call) -> None:
    for name in COMMANDS:
        result = call(name, "--help")
        assert result.exit_code == 0, result.output
        assert result.output.startswith("Usage:")
    assert set(main.list_commands(click.Context(main))) == set(COMMANDS)
