"""``flowtx lint``: the command as a person, an editor or a program calls it."""

import json
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from flowtx.cli.main import main

GOOD = "import flowtx\n@flowtx.workflow\nasync def ok(tx: flowtx.Tx) -> None:\n    await tx.sleep(1)\n"
BAD = "import flowtx, time\n@flowtx.workflow\nasync def w(tx: flowtx.Tx) -> float:\n\treturn time.time()\n"


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    (tmp_path / "good.py").write_text(GOOD)
    (tmp_path / "deep" / "er").mkdir(parents=True)
    (tmp_path / "deep" / "er" / "bad.py").write_text(BAD)
    for passed_by in (".hidden", "__pycache__", "venv"):
        (tmp_path / passed_by).mkdir()
        (tmp_path / passed_by / "bad.py").write_text(BAD)
    (tmp_path / "venv" / "pyvenv.cfg").touch()
    (tmp_path / "notes.txt").write_text("not Python")
    monkeypatch.chdir(tmp_path)
    return tmp_path


def call(*arguments: str) -> Result:
    return CliRunner().invoke(main, ["lint", *arguments])


def test_nothing_found_is_said_and_ends_with_zero(folder: Path) -> None:
    result = call("good.py")
    assert (result.exit_code, result.output) == (0, "Nothing that breaks replay in 1 file.\n")


def test_people_see_the_line_the_place_and_what_to_write(folder: Path) -> None:
    result = call(".")
    assert result.exit_code == 1
    assert result.output == (
        "deep/er/bad.py:4:9: FTX001 time.time() reads the clock, and replay reads another time\n"
        "    4 | \treturn time.time()\n"
        "      | \t       ^^^^^^^^^^^\n"
        "  -> Write tx.now().\n"
        "\n"
        "1 finding in 1 of 2 files.\n"
    )


def test_editors_get_a_line_for_each(folder: Path) -> None:
    result = call("--format", "ruff", "deep")
    assert result.exit_code == 1
    line = "deep/er/bad.py:4:9: FTX001 time.time() reads the clock, and replay reads another time; write tx.now().\n"
    assert result.output == line
    assert call("--format", "ruff", "good.py").output == ""


def test_programs_get_json(folder: Path) -> None:
    result = call("--format", "json", "deep", "good.py")
    assert result.exit_code == 1
    assert json.loads(result.output) == [
        {
            "path": "deep/er/bad.py",
            "line": 4,
            "column": 9,
            "end_column": 20,
            "code": "FTX001",
            "message": "time.time() reads the clock, and replay reads another time",
            "remedy": "Write tx.now().",
        }
    ]
    assert call("--json", "deep", "good.py").output == result.output
    nothing = call("--format", "json", "good.py")
    assert (nothing.exit_code, json.loads(nothing.output)) == (0, [])


def test_a_file_named_twice_is_linted_once(folder: Path) -> None:
    assert call("good.py", "good.py").output == "Nothing that breaks replay in 1 file.\n"


def test_a_file_that_is_named_is_linted_wherever_it_is(folder: Path) -> None:
    assert call(".hidden/bad.py").exit_code == 1


def test_broken_python_is_a_finding_with_its_line(folder: Path) -> None:
    (folder / "broken.py").write_text("x = 1\ndef f(:\n")
    result = call("broken.py")
    assert result.exit_code == 1
    assert result.output.startswith("broken.py:2:7: FTX000 the file cannot be read as Python: invalid syntax\n")
    assert "    2 | def f(:\n" in result.output


@pytest.mark.parametrize("arguments", [(), ("nowhere.py",), ("--format", "xml", "good.py"), ("empty",)])
def test_a_wrong_call_ends_with_two(folder: Path, arguments: tuple[str, ...]) -> None:
    (folder / "empty").mkdir()
    result = call(*arguments)
    assert result.exit_code == 2
    assert result.stderr


def test_help_says_how_to_silence_and_how_it_ends(folder: Path) -> None:
    result = call("--help")
    assert result.exit_code == 0
    assert "noqa: FTX001" in result.output
    assert "flowtx lint src" in result.output
