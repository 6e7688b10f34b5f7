"""``flowtx lint``: what breaks replay, found in the source.

The law of this file: files are read and findings printed here; what a finding is, the linter decides alone. Nothing of
what is linted is imported or run.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Literal

import click
import msgspec

from flowtx.cli.failures import FAILED, Misused
from flowtx.cli.options import examples, json_option
from flowtx.cli.printing import print_json
from flowtx_dsl.lint.findings import Finding
from flowtx_dsl.lint.lint import lint_together
from flowtx_dsl.lint.source import lines_of

Format = Literal["human", "ruff", "json"]

NOT_SOURCE = frozenset({"__pycache__", "node_modules", "site-packages", "build", "dist"})
"""Folders that are passed by; those that begin with a dot, and virtual environments, are as well."""


class Found(msgspec.Struct, frozen=True, kw_only=True):
    """A finding, for programs; lines and columns count from 1, ``end_column`` is behind the last."""

    path: str
    line: int
    column: int
    end_column: int
    code: str
    message: str
    remedy: str


@click.command(
    epilog=examples(
        "flowtx lint src",
        "flowtx lint bank.py --format ruff",
        "flowtx lint src --format json | jq -r '.[].code' | sort | uniq -c",
    )
)
@click.argument("paths", nargs=-1, required=True, metavar="PATH...", type=click.Path(path_type=Path))
@click.option(
    "--format",
    "form",
    type=click.Choice(["human", "ruff", "json"]),
    default="human",
    show_default=True,
    help="With the source lines, for people; a line each, for editors; or JSON, for programs.",
)
@json_option
def lint(*, paths: tuple[Path, ...], form: Format, as_json: bool) -> None:
    """Find in Python files what breaks the replay of their workflows.

    A folder stands for all Python files below it. Ends with 1 when there are findings. A comment
    "noqa: FTX001 - why" on a line silences that finding.
    """
    form = "json" if as_json else form
    for path in paths:
        if not path.exists():
            raise Misused(f"there is no file or folder {path}")
    files = list(python_files(paths))
    if not files:
        raise Misused(f"there is no Python file in {', '.join(map(str, paths))}")
    findings = findings_in(files)
    if form == "json":
        print_json([found(finding) for finding, _ in findings])
    else:
        for finding, text in findings:
            click.echo(str(finding) if form == "ruff" else picture(finding, text))
    if form == "human":
        click.echo(summary([finding for finding, _ in findings], file_count=len(files)))
    if findings:
        raise click.exceptions.Exit(FAILED)


def python_files(paths: Sequence[Path]) -> Iterator[Path]:
    """The files that are meant: those that are named, and the ``*.py`` below folders, each once."""
    seen: set[Path] = set()
    for path in paths:
        for file in _below(path) if path.is_dir() else [path]:
            if file not in seen:
                seen.add(file)
                yield file


def _below(folder: Path) -> Iterator[Path]:
    for home, folders, names in os.walk(folder):
        folders[:] = sorted(name for name in folders if _is_source(Path(home, name)))
        yield from (Path(home, name) for name in sorted(names) if name.endswith(".py"))


def _is_source(folder: Path) -> bool:
    hidden = folder.name.startswith(".") or folder.name in NOT_SOURCE
    return not hidden and not (folder / "pyvenv.cfg").exists()


def findings_in(files: Sequence[Path]) -> list[tuple[Finding, str]]:
    """The findings of files, each with its source line; raises ``Misused`` when one cannot be opened."""
    sources: dict[str, bytes] = {}
    for file in files:
        try:
            sources[str(file)] = file.read_bytes()
        except OSError as error:
            raise Misused(f"{file} cannot be read: {error.strerror}") from error
    findings: list[tuple[Finding, str]] = []
    for path, found_there in lint_together(sources).items():
        lines = lines_of(sources[path].decode(errors="replace")) if found_there else ()
        findings += [(it, lines[it.line - 1] if it.line <= len(lines) else "") for it in found_there]
    return findings


def found(finding: Finding) -> Found:
    """A finding as JSON has it."""
    return Found(**{name: getattr(finding, name) for name in Found.__struct_fields__})


def picture(finding: Finding, text: str) -> str:
    """What a person reads: place and message, the line with the place underlined, and the remedy."""
    head = f"{click.style(f'{finding.path}:{finding.line}:{finding.column}:', bold=True)} "
    head += f"{click.style(finding.code, fg='red', bold=True)} {finding.message}"
    number = str(finding.line)
    # Tabs stay tabs in front of the marks, so that these stand below what they mark in every terminal.
    blank = "".join("\t" if letter == "\t" else " " for letter in text[: finding.column - 1])
    marks = click.style("^" * (finding.end_column - finding.column), fg="red")
    rows = [head, f"    {number} | {text.rstrip()}", f"    {' ' * len(number)} | {blank}{marks}"]
    return "\n".join([*rows, f"  -> {finding.remedy}", ""])


def summary(findings: Sequence[Finding], *, file_count: int) -> str:
    """The last line: how much was found where."""
    looked = f"{file_count} {'file' if file_count == 1 else 'files'}"
    if not findings:
        return f"Nothing that breaks replay in {looked}."
    places = len({finding.path for finding in findings})
    noun = "finding" if len(findings) == 1 else "findings"
    return f"{len(findings)} {noun} in {places} of {looked}."
