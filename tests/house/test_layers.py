"""The import law holds, and the contracts that hold it would notice a breach.

The law itself is written in pyproject.toml, as import-linter contracts.
"""

import os
import shutil
import subprocess
import sys
from pathlib import Path

# A file that breaks one contract, and what import-linter must then say. Some stand in packages that may not exist yet.
BREACHES = [
    ("dsl/flowtx_dsl/breach.py", "import flowtx_engine", "flowtx_dsl is not allowed to import flowtx_engine"),
    ("engine/flowtx_engine/runtime/breach.py", "import flowtx.cli", "flowtx_engine is not allowed to import flowtx"),
    ("engine/flowtx_engine/kernel/breach.py", "import flowtx_engine.journal", "kernel is not allowed to import"),
    ("engine/flowtx_engine/kernel/breach_trio.py", "import trio", "kernel is not allowed to import trio"),
    ("engine/flowtx_engine/kernel/breach_time.py", "import time", "kernel is not allowed to import time"),
    ("engine/flowtx_engine/journal/breach.py", "import flowtx_engine.calls", "journal is not allowed to import"),
    ("engine/flowtx_engine/calls/breach.py", "import flowtx_engine.journal", "calls is not allowed to import"),
    ("engine/flowtx_engine/stray.py", "", "- flowtx_engine.stray"),
    ("flowtx/server.py", "import flowtx.cli", "flowtx.server is not allowed to import flowtx.cli"),
    ("flowtx/dtm/breach.py", "import flowtx.testing", "flowtx.dtm is not allowed to import flowtx.testing"),
    ("flowtx/console/breach.py", "import flowtx.dtm", "flowtx.console is not allowed to import flowtx.dtm"),
    ("flowtx/debug/breach.py", "import flowtx.client", "flowtx.debug is not allowed to import flowtx.client"),
    ("flowtx/client/breach.py", "import flowtx.testing", "flowtx.client is not allowed to import flowtx.testing"),
    ("flowtx/settings.py", "import flowtx.dtm", "flowtx.settings is not allowed to import flowtx.dtm"),
    ("flowtx/stray.py", "", "- flowtx.stray"),
]


def lint_imports(root: Path) -> subprocess.CompletedProcess[str]:
    sources = os.pathsep.join(str(root / folder) for folder in (".", "dsl", "engine"))
    command = "import sys; from importlinter.cli import lint_imports; sys.exit(lint_imports(no_cache=True))"
    return subprocess.run(
        [sys.executable, "-c", command],
        cwd=root,
        env=os.environ | {"PYTHONPATH": sources, "COLUMNS": "1000"},
        capture_output=True,
        text=True,
        check=False,
    )


def test_nothing_imports_upward_or_sideways(root: Path) -> None:
    linted = lint_imports(root)
    assert linted.returncode == 0, linted.stdout + linted.stderr


def test_every_contract_notices_a_breach(root: Path, tmp_path: Path) -> None:
    shutil.copy(root / "pyproject.toml", tmp_path)
    for folder in ("flowtx", "engine", "dsl"):
        shutil.copytree(root / folder, tmp_path / folder, ignore=shutil.ignore_patterns("__pycache__"))
    for path, source, _ in BREACHES:
        file = tmp_path / path
        file.parent.mkdir(exist_ok=True)
        (file.parent / "__init__.py").touch()
        with file.open("a") as existing:
            existing.write(f"\n{source}\n")

    linted = lint_imports(tmp_path)

    assert linted.returncode == 1, linted.stdout + linted.stderr
    unnoticed = [(path, source) for path, source, complaint in BREACHES if complaint not in linted.stdout]
    assert not unnoticed, linted.stdout
