"""The names that services import: one list for people, one for checkers, and each from its own file."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

import flowtx.client


def test_checkers_and_programs_find_the_same_names() -> None:
    path = flowtx.client.__file__
    assert path is not None
    tree = ast.parse(Path(path).read_text())
    for_checkers = {
        alias.name
        for node in ast.walk(tree)
        if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("flowtx.client.")
        for alias in node.names
    }
    assert for_checkers == set(flowtx.client.__all__)
    assert for_checkers <= set(dir(flowtx.client))


@pytest.mark.parametrize("name", flowtx.client.__all__)
def test_a_name_is_what_its_file_defines(name: str) -> None:
    value = getattr(flowtx.client, name)
    assert getattr(flowtx.client, name) is value
    if name != "METHODS":
        assert value.__module__.startswith("flowtx.client.")
        assert value.__name__ == name


def test_a_name_that_is_none_is_refused_as_everywhere() -> None:
    with pytest.raises(AttributeError, match=r"module 'flowtx.client' has no attribute 'Sage'"):
        getattr(flowtx.client, "Sage")  # noqa: B009 - checkers would find it


def test_the_barrier_loads_no_client() -> None:
    program = "import sys; from flowtx.client import Barrier; print(*(name for name in sys.modules))"
    run = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    loaded = set(run.stdout.split())
    assert "flowtx.client.barrier" in loaded
    assert not loaded & {"flowtx.client.sync_client", "flowtx.client.async_client", "httpx2", "google.protobuf", "grpc"}
