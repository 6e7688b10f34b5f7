"""The linter against its corpora: every planted fault is found where it is, and nothing else is."""

from collections import Counter
from collections.abc import Callable
from pathlib import Path

from flowtx_dsl.lint.lint import lint, lint_together
from flowtx_dsl.lint.rules import RULES, UNREADABLE

ROOT = Path(__file__).parents[3]
BAD = Path(__file__).parent / "bad"
TOGETHER = Path(__file__).parent / "together"


def test_nothing_is_found_where_nothing_is_wrong(good_file: Path) -> None:
    assert not lint(good_file.read_bytes(), good_file.name)


def test_every_planted_fault_is_found_and_nothing_else(
    bad_file: Path, marks: Callable[[str], list[tuple[int, str]]]
) -> None:
    expected = Counter(marks(bad_file.read_text()))
    assert expected, f"{bad_file.name} marks no fault"
    found = lint(bad_file.read_bytes(), bad_file.name)
    counted = Counter((finding.line, finding.code) for finding in found)
    missed = sorted((expected - counted).elements())
    surplus = sorted((counted - expected).elements())
    assert not missed, f"not found: {missed}"
    assert not surplus, "found, though not planted:\n" + "\n".join(
        str(finding) for finding in found if (finding.line, finding.code) in surplus
    )


def test_what_workflows_call_in_other_files_is_looked_at_there(marks: Callable[[str], list[tuple[int, str]]]) -> None:
    files: dict[str, str | bytes] = {str(file): file.read_text() for file in sorted(TOGETHER.rglob("*.py"))}
    found = {
        (path, finding.line, finding.code) for path, findings in lint_together(files).items() for finding in findings
    }
    planted = {(path, *mark) for path, text in files.items() for mark in marks(str(text))}
    assert len({path for path, _, _ in planted}) >= 4
    assert found == planted
    backwards = lint_together(dict(reversed(files.items())))
    assert backwards == lint_together(files), "the order of the files does not matter"


def test_files_that_are_not_given_are_not_followed() -> None:
    flows = TOGETHER / "shop" / "flows.py"
    assert {it.code for it in lint(flows.read_text(), str(flows))} == {"FTX013"}


def test_the_bad_corpus_breaks_every_rule(marks: Callable[[str], list[tuple[int, str]]]) -> None:
    planted = [mark for file in BAD.glob("*.py") for mark in marks(file.read_text())]
    assert {code for _, code in planted} == RULES.keys() - {UNREADABLE.code}
    assert len(planted) >= 40


def test_nothing_is_found_in_the_examples_and_in_the_house_itself() -> None:
    files = [file for folder in ("examples", "flowtx", "engine", "dsl") for file in (ROOT / folder).rglob("*.py")]
    assert any(file.name == "transfer.py" for file in files)
    found = [str(finding) for file in files for finding in lint(file.read_bytes(), str(file))]
    assert not found, "\n".join(found)
