"""The world of the interop tests: ``flowtx serve`` as a process of its own, a scripted participant, and a bank in Go.

With FLOWTX_COMPAT_URL and FLOWTX_COMPAT_GRPC the tests ask a server that runs already, as those of ``compat`` do.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from collections.abc import Generator
from pathlib import Path

import pytest
import trio

from tests.compat.dtm import Dtm
from tests.compat.server import clean_environ, foreign_server, running_server
from tests.compat.web import Participant
from tests.interop.bank import DATABASES, Bank, Database, need
from tests.workers import made_once

GO_PROGRAM = Path(__file__).parent / "go"
BUILT_MAX_S = 600


@pytest.fixture
async def participant(nursery: trio.Nursery) -> Participant:
    participant = Participant()
    await nursery.start(participant.serve)
    return participant


@pytest.fixture
def environ() -> dict[str, str]:
    return clean_environ()


@pytest.fixture(scope="session")
def dtm(tmp_path_factory: pytest.TempPathFactory) -> Generator[Dtm]:
    if foreign := foreign_server():
        yield foreign
        return
    with running_server(tmp_path_factory.mktemp("interop"), {}) as dtm:
        yield dtm


@pytest.fixture(scope="session")
def databases() -> dict[str, Database]:
    """The databases that the environment names, each with the barrier's table and accounts."""
    urls = {name: os.environ.get(variable) for name, (variable, _) in DATABASES.items()}
    return {name: Database.at(name, url) for name, url in urls.items() if url}


@pytest.fixture(scope="session")
def go_program(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The bank, built; its modules come from Go's proxy the first time."""
    if not (go := shutil.which("go")):
        pytest.skip("Go is missing, 1.19 or newer (apt-get install golang-go): DTM's Go client is not tried")

    def build(program: Path) -> None:
        fetched = _run_go(go, "mod", "download")
        if fetched.returncode:
            pytest.skip(f"the modules of tests/interop/go cannot be fetched: {fetched.stderr[-500:]}")
        made = _run_go(go, "build", "-o", str(program), ".")
        assert made.returncode == 0, made.stderr

    return made_once(tmp_path_factory, "go-bank", build)


def _run_go(*command: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(command, cwd=GO_PROGRAM, capture_output=True, text=True, timeout=BUILT_MAX_S, check=False)


@pytest.fixture(scope="session")
def bank(
    go_program: Path, dtm: Dtm, databases: dict[str, Database], tmp_path_factory: pytest.TempPathFactory
) -> Generator[Bank]:
    """The bank, serving."""
    confs = {name: database.conf for name, database in databases.items()}
    command = [str(go_program), "-dtm", f"{dtm.url}/api/dtmsvr", "-dtm-grpc", dtm.grpc, "-databases", json.dumps(confs)]
    log = tmp_path_factory.mktemp("bank") / "log"
    with log.open("wb") as stderr:
        process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=stderr)
    assert process.stdout is not None
    try:
        said = process.stdout.readline()
        assert said, log.read_text()
        yield Bank(url=json.loads(said)["url"], dtm=dtm)
        assert process.poll() is None, log.read_text()
    finally:
        process.kill()
        process.wait()
        process.stdout.close()


@pytest.fixture(params=list(DATABASES))
def store(request: pytest.FixtureRequest, databases: dict[str, Database]) -> str:
    """Each database in turn."""
    name: str = request.param
    need(databases, name)
    return name
