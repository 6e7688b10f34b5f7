"""Comments that silence: the code they name, on the line they stand on, and nothing else."""

import pytest

from flowtx_dsl.lint.lint import lint

NOQA = "# no" + "qa"  # in two pieces, because this line silences nothing itself


def codes(comment: str, line: str = "print(time.time(), random.random())") -> list[str]:
    head = "import flowtx, random, time\n@flowtx.workflow\nasync def w(tx) -> None:\n"
    return [it.code for it in lint(f"{head}    {line}  {comment}\n")]


@pytest.mark.parametrize(
    ("comment", "left"),
    [
        ("", ["FTX001", "FTX002"]),
        (NOQA, []),
        (f"{NOQA}: FTX001 - only printed", ["FTX002"]),
        (f"{NOQA}: FTX001, FTX002", []),
        (f"{NOQA}:FTX002,E501 (why)", ["FTX001"]),
        (f"{NOQA.upper()}: ftx002", ["FTX001"]),
        (f"# fmt: skip {NOQA}: FTX001", ["FTX002"]),
        (f"{NOQA}: E501", ["FTX001", "FTX002"]),
        (f"{NOQA}: because I say so", ["FTX001", "FTX002"]),
        ("# qa", ["FTX001", "FTX002"]),
    ],
)
def test_a_comment_silences_what_it_names(comment: str, left: list[str]) -> None:
    assert codes(comment) == left


def test_a_text_that_looks_like_a_comment_silences_nothing() -> None:
    assert codes("", f"print(time.time(), '{NOQA}: FTX001')") == ["FTX001"]


def test_another_line_is_not_silenced() -> None:
    assert codes(f"\n    {NOQA}: FTX001", "print(time.time())") == ["FTX001"]


def test_what_cannot_be_read_cannot_be_silenced() -> None:
    assert [it.code for it in lint(f"def f(:  {NOQA}\n")] == ["FTX000"]
