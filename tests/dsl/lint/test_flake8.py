"""The plugin as flake8 uses it: found by its entry point, made with a tree, asked to run."""

import ast
import importlib
import inspect
import tomllib
from collections.abc import Callable
from pathlib import Path

from flowtx_dsl.lint.flake8 import Plugin

HERE = Path(__file__).parent
ROOT = HERE.parents[2]


def test_the_entry_point_names_the_plugin() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    module, _, name = project["entry-points"]["flake8.extension"]["FTX"].partition(":")
    assert getattr(importlib.import_module(module), name) is Plugin


def test_it_asks_for_what_flake8_can_give() -> None:
    given = {"tree", "filename", "lines"}  # of flake8's documented parameters
    assert set(inspect.signature(Plugin).parameters) == given
    assert Plugin.name == "flowtx"
    assert Plugin.version


def test_it_finds_what_the_linter_finds(bad_file: Path, marks: Callable[[str], list[tuple[int, str]]]) -> None:
    text = bad_file.read_text()
    plugin = Plugin(tree=ast.parse(text), filename=bad_file.name, lines=text.splitlines(keepends=True))
    found = list(plugin.run())
    assert sorted((line, text.partition(" ")[0]) for line, _, text, _ in found) == sorted(marks(text))
    assert all(column >= 0 and kind is Plugin for _, column, _, kind in found)


def test_it_can_do_without_the_lines() -> None:
    tree = ast.parse((HERE / "bad" / "clock.py").read_text())
    assert len(list(Plugin(tree).run())) == 13
