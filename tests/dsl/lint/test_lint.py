"""The linter as a function: it never fails, it is deterministic, and it points at what is there."""

import ast
import subprocess
import sys
import sysconfig
import warnings
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from flowtx_dsl.lint.findings import Finding
from flowtx_dsl.lint.lint import lint, lint_tree
from flowtx_dsl.lint.rules import RULES
from flowtx_dsl.lint.source import lines_of

HERE = Path(__file__).parent
DSL = HERE.parents[2] / "dsl"
STDLIB = Path(sysconfig.get_path("stdlib"))
SAMPLE_COUNT = 300
PIECES = sorted({line for file in HERE.glob("*/*.py") for line in file.read_text().splitlines(keepends=True)})


def is_python(file: Path) -> bool:
    """False for the files that are kept to test how errors in them are told."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            ast.parse(file.read_bytes())
        except (SyntaxError, ValueError):
            return False
    return True


@pytest.fixture(scope="module")
def foreign_files() -> list[Path]:
    """Files of the standard library and of what is installed beside it, evenly chosen."""
    files = sorted({*STDLIB.rglob("*.py"), *Path(sysconfig.get_path("purelib")).rglob("*.py")})
    files = [file for file in files if file.stat().st_size < 100_000]
    assert len(files) > SAMPLE_COUNT
    return [file for file in files[:: len(files) // SAMPLE_COUNT] if is_python(file)]


def as_workflows(tree: ast.Module) -> str:
    """The same code, with every function a workflow that calls its first parameter tx."""
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            node.decorator_list.insert(0, ast.Attribute(ast.Name("flowtx"), "workflow"))
    place = sum(isinstance(it, ast.ImportFrom) and it.module == "__future__" for it in tree.body)
    place += ast.get_docstring(tree) is not None
    tree.body.insert(place, ast.Import([ast.alias("flowtx")]))
    return ast.unparse(ast.fix_missing_locations(tree))


def check_places(findings: tuple[Finding, ...], text: str) -> None:
    """Every finding points at characters that are there, and has the code of a rule."""
    lines = lines_of(text)
    for finding in findings:
        assert finding.code in RULES
        assert 1 <= finding.line <= len(lines), finding
        assert 1 <= finding.column <= finding.end_column <= len(lines[finding.line - 1]) + 1, finding
        assert finding.message
        assert finding.remedy.endswith(".")
    assert list(findings) == sorted(findings)


def test_whatever_others_wrote_can_be_linted(foreign_files: list[Path]) -> None:
    strange = [str(it) for file in foreign_files for it in lint(file.read_bytes(), str(file))]
    assert not strange, "findings in code that knows nothing of flowtx:\n" + "\n".join(strange)


def test_whatever_others_wrote_can_be_a_workflow(foreign_files: list[Path]) -> None:
    total = 0
    for file in foreign_files[::3]:
        with warnings.catch_warnings(action="ignore"):  # of others' escape sequences
            tree = ast.parse(file.read_bytes())
        text = as_workflows(tree)
        try:
            findings = lint(text, str(file))
        except Exception as error:
            error.add_note(f"while linting {file}")
            raise
        assert all(it.code != "FTX000" for it in findings), findings
        check_places(findings, text)
        total += len(findings)
    assert total > 100


@given(st.lists(st.sampled_from(PIECES), max_size=30).map("".join))
def test_any_mixture_of_lines_can_be_linted(text: str) -> None:
    findings = lint(text)
    assert findings == lint(text)
    if [it.code for it in findings] != ["FTX000"]:
        check_places(findings, text)


@given(st.one_of(st.text(max_size=80), st.binary(max_size=80)))
def test_any_text_and_any_bytes_are_answered_with_findings(source: str | bytes) -> None:
    assert all(it.code in RULES for it in lint(source))


def test_bytes_and_text_of_a_file_give_the_same_findings(bad_file: Path) -> None:
    once = lint(bad_file.read_bytes(), bad_file.name)
    assert once == lint(bad_file.read_text(), bad_file.name)
    assert len(once) == len(set(once))
    check_places(once, bad_file.read_text())


def test_findings_do_not_depend_on_how_a_process_hashes() -> None:
    program = f"""
import sys; sys.path[:0] = [{str(DSL)!r}]
from pathlib import Path
from flowtx_dsl.lint.lint import lint
for file in sorted(Path({str(HERE / "bad")!r}).glob("*.py")):
    print(*lint(file.read_bytes(), file.name), sep="\\n")
"""
    printed = {
        subprocess.run(
            [sys.executable, "-c", program], env={"PYTHONHASHSEED": seed}, capture_output=True, check=True
        ).stdout
        for seed in ("0", "1", "2")
    }
    (same,) = printed
    assert same.count(b"FTX") > 100


@pytest.mark.parametrize(
    ("source", "line", "reason"),
    [
        ("x = 1\ndef f(:\n", 2, "invalid syntax"),
        ("x = '\n", 1, "unterminated string"),
        (b"# -*- coding: klingon -*-\n", 1, "unknown encoding"),
        (b"x = '\xff'\n", 1, "encoding"),
        ("x = 1\0\n", 1, "null bytes"),
    ],
)
def test_what_is_not_python_is_a_finding(source: str | bytes, line: int, reason: str) -> None:
    (finding,) = lint(source, "broken.py")
    assert (finding.code, finding.path, finding.line) == ("FTX000", "broken.py", line)
    assert reason in finding.message


def test_nesting_that_python_itself_refuses_is_a_finding() -> None:
    findings = lint("x = " + "(" * 1_000 + ")" * 1_000)
    assert [it.code for it in findings] == ["FTX000"]


def test_long_chains_are_linted() -> None:
    chain = " + ".join(["{1}"] * 900)
    text = f"import flowtx\n@flowtx.workflow\nasync def w(tx) -> None:\n    for x in {chain}:\n        print(x)\n"
    assert lint(text) == lint(text)
    chain = "tx" + ".a()" * 900
    assert not lint(f"import flowtx\n@flowtx.workflow\nasync def w(tx) -> None:\n    {chain}\n")


def test_columns_count_characters_and_lines_end_as_python_ends_them() -> None:
    text = "import flowtx, time\r\n@flowtx.workflow\rasync def w(tx) -> None:\n    print('€\x0c\u2028', time.time())\n"
    (finding,) = lint(text)
    assert (finding.line, finding.column, finding.end_column) == (4, 18, 29)
    (same,) = lint(text.encode())
    assert same == finding
    (signed,) = lint(b"\xef\xbb\xbf" + text.encode())
    assert signed == finding


def test_old_escapes_do_not_disturb() -> None:
    assert not lint("x = '\\d'\n")


def test_a_tree_alone_can_be_linted() -> None:
    text = (HERE / "bad" / "clock.py").read_text()
    found = lint_tree(ast.parse(text), lines_of(text), "clock.py")
    assert found == lint(text, "clock.py")


@pytest.mark.skipif(sys.version_info < (3, 12), reason="the syntax is Python 3.12's: run the tests with it")
def test_type_parameters_are_understood() -> None:
    head = "import flowtx\ntype Many[T] = list[T]\n@flowtx.workflow\n"
    assert not lint(f"{head}async def w[T](tx: flowtx.Tx, x: T) -> T:\n    return x\n")
