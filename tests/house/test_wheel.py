"""What pip installs: exactly the three packages, typed, at the version the code says."""

import subprocess
import sys
import tomllib
from collections.abc import Mapping
from email.message import Message
from email.parser import Parser
from pathlib import Path
from zipfile import ZipFile

import pytest

from flowtx.version import __version__

SOURCE_ROOTS = {"flowtx": ".", "flowtx_engine": "engine", "flowtx_dsl": "dsl"}


@pytest.fixture(scope="module")
def wheel(root: Path, tmp_path_factory: pytest.TempPathFactory) -> ZipFile:
    """The wheel, built by the build backend itself: no network, no isolated environment."""
    folder = tmp_path_factory.mktemp("wheel")
    build = [sys.executable, "-m", "hatchling", "build", "--target", "wheel", "--directory", str(folder)]
    built = subprocess.run(build, cwd=root, capture_output=True, text=True, check=False)
    assert built.returncode == 0, built.stdout + built.stderr
    (file,) = folder.iterdir()
    assert file.name == f"flowtx-{__version__}-py3-none-any.whl"
    return ZipFile(file)


@pytest.fixture(scope="module")
def metadata(wheel: ZipFile) -> Message:
    """The wheel's METADATA file."""
    return Parser().parsestr(wheel.read(f"flowtx-{__version__}.dist-info/METADATA").decode())


def test_it_holds_the_three_packages_and_nothing_else(wheel: ZipFile, root: Path, texts: Mapping[str, str]) -> None:
    info = f"flowtx-{__version__}.dist-info/"
    held = {name for name in wheel.namelist() if not name.startswith(info)}
    expected = {
        Path(root, path).relative_to(root / source_root).as_posix()
        for package, source_root in SOURCE_ROOTS.items()
        for path in texts
        if Path(path).is_relative_to(Path(source_root, package))
    }
    assert held == expected
    assert {name.partition("/")[0] for name in held} == set(SOURCE_ROOTS)
    assert {f"{package}/py.typed" for package in SOURCE_ROOTS} <= held


DATA = {"flowtx/dtm/openapi/page.html"}
"""Files that are no code: the page at /docs."""


def test_it_holds_only_code_and_the_data_named_here(wheel: ZipFile) -> None:
    others = {
        name for name in wheel.namelist() if not name.endswith((".py", "/py.typed")) and ".dist-info/" not in name
    }
    assert others == DATA, f"a package that brings data files must be named in this test: {sorted(others ^ DATA)}"


def test_it_carries_its_licence(wheel: ZipFile, metadata: Message, root: Path) -> None:
    assert metadata["License-Expression"] == "Apache-2.0"
    assert wheel.read(f"flowtx-{__version__}.dist-info/licenses/LICENSE") == (root / "LICENSE").read_bytes()


def test_what_it_needs_to_run_holds_no_tool_of_development(metadata: Message) -> None:
    needed = {line for line in metadata.get_all("Requires-Dist", []) if "extra ==" not in line}
    assert needed, metadata.as_string()
    tools = ("pytest", "hypothesis", "mypy", "pyright", "ruff", "hatchling", "import-linter", "dtmcli", "trustme")
    assert not [line for line in needed if line.startswith(tools)]


def test_every_dependency_says_why_it_is_there(root: Path) -> None:
    text = (root / "pyproject.toml").read_text()
    project = tomllib.loads(text)["project"]
    groups = [project["dependencies"], *project["optional-dependencies"].values()]
    own = f"{project['name']}["  # the extras name one another
    lines = [line.strip() for line in text.splitlines()]
    for dependency in (name for group in groups for name in group if not name.startswith(own)):
        place = lines.index(f'"{dependency}",')
        assert lines[place - 1].startswith("# "), f"the line above {dependency} in pyproject.toml must say why"
