"""``flowtx serve`` and ``flowtx run`` as processes of their own: ready lines, signals, exit codes."""

import json
import re
import signal
import subprocess
import time
from collections.abc import Callable
from pathlib import Path
from urllib.request import urlopen

import grpc
import pytest
from click.testing import Result

from flowtx.cli.signals import ONCE_S

Call = Callable[..., Result]
Spawn = Callable[..., "subprocess.Popen[str]"]

WITHIN_S = 30.0
HERE = ("--bind", "127.0.0.1:0", "--grpc-bind", "off")


def address_of(server: "subprocess.Popen[str]") -> str:
    """The address in the server's ready line."""
    assert server.stdout is not None
    line = server.stdout.readline()
    found = re.fullmatch(r"flowtx serves the DTM protocol at (http://127\.0\.0\.1:\d+), database \S+\n", line)
    assert found is not None, line + server.communicate()[1]
    return found[1]


def wait_for_status(call: Call, gid: str, status: str) -> None:
    deadline = time.monotonic() + WITHIN_S
    while True:
        rows = json.loads(call("list", "--json").stdout)
        if [row["status"] for row in rows if row["gid"] == gid] == [status]:
            return
        assert time.monotonic() < deadline, rows
        time.sleep(0.05)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_server_answers_when_it_says_so_and_leaves_with_0_when_asked(spawn: Spawn, number: signal.Signals) -> None:
    server = spawn("serve", *HERE)
    with urlopen(f"{address_of(server)}/api/dtmsvr/newGid", timeout=WITHIN_S) as answer:
        assert json.loads(answer.read())["dtm_result"] == "SUCCESS"
    server.send_signal(number)
    _, stderr = server.communicate(timeout=WITHIN_S)
    assert server.returncode == 0, stderr
    said = [json.loads(line)["msg"] for line in stderr.splitlines()]
    assert said == ["settings in force", "letting calls in flight end; another Ctrl-C leaves at once"]


def test_the_ready_line_names_the_address_of_grpc_too(spawn: Spawn) -> None:
    server = spawn("serve", "--bind", "127.0.0.1:0", "--grpc-bind", "127.0.0.1:0")
    assert server.stdout is not None
    line = server.stdout.readline()
    found = re.fullmatch(r"flowtx serves .* at http://127\.0\.0\.1:\d+ and grpc://(\S+:\d+), database \S+\n", line)
    assert found is not None, line
    with grpc.insecure_channel(found[1]) as channel:
        new_gid: grpc.UnaryUnaryMultiCallable[bytes, bytes] = channel.unary_unary("/dtmgimp.Dtm/NewGid")
        assert len(new_gid(b"", timeout=WITHIN_S)) > 13
    server.terminate()
    _, stderr = server.communicate(timeout=WITHIN_S)
    assert server.returncode == 0, stderr


def test_the_options_of_dtm_reset_and_say_much_and_name_the_file_as_its_helm_chart_does(
    spawn: Spawn, call: Call, folder: Path
) -> None:
    (folder / "conf.yml").write_text("retry_interval_s: 11\n")
    done = call("run", "cli_bank:transfer", "--gid", "t-1", "--input", '{"payer": "alice", "payee": "bob"}')
    assert done.exit_code == 0, done.stderr
    server = spawn("serve", *HERE, "-c=conf.yml", "-d", "-r")
    with urlopen(f"{address_of(server)}/api/dtmsvr/query?gid=t-1", timeout=WITHIN_S) as answer:
        assert json.loads(answer.read()) == {"branches": [], "transaction": None}
    again = call("serve", *HERE, "--reset")
    assert again.exit_code == 1
    assert "a server is at work on sqlite:///flowtx.db, so it is not reset\n  -> Stop it first." in again.stderr
    server.terminate()
    _, stderr = server.communicate(timeout=WITHIN_S)
    assert server.returncode == 0, stderr
    settings = json.loads(stderr.splitlines()[0])["settings"]
    assert (settings["retry_interval_s"], settings["log_level"]) == (11, "debug")
    assert "everything was forgotten that sqlite:///flowtx.db held" in stderr


def test_a_server_that_can_be_reached_from_outside_warns(spawn: Spawn) -> None:
    server = spawn("serve", "--bind", "0.0.0.0:0", "--grpc-bind", "0.0.0.0:0")
    assert server.stdout is not None
    assert server.stdout.readline().startswith("flowtx serves the DTM protocol at http://0.0.0.0:")
    server.terminate()
    _, stderr = server.communicate(timeout=WITHIN_S)
    told = [line["msg"] for line in map(json.loads, stderr.splitlines()) if line["level"] == "warn"]
    warning = "0.0.0.0:0 can be reached from other machines, and there is no authentication"
    assert [text.startswith(warning) for text in told] == [True, True]


def test_the_log_of_the_settings_shows_no_secret(spawn: Spawn) -> None:
    server = spawn(
        "serve",
        "--bind",
        "127.0.0.1:0",
        "--grpc-bind",
        "off",
        "--alert-web-hook",
        "https://u:geheim@hook.example/geheim",
        "--log-format",
        "text",
    )
    address_of(server)
    server.terminate()
    _, stderr = server.communicate(timeout=WITHIN_S)
    assert "hook.example" in stderr
    assert "geheim" not in stderr


def test_a_port_that_is_taken_is_named(spawn: Spawn, call: Call) -> None:
    address = address_of(spawn("serve", *HERE)).removeprefix("http://")
    for option, others in (("--bind", HERE[2:]), ("--grpc-bind", HERE[:2])):
        second = call("serve", option, address, *others, "--db", "sqlite:///other.db")
        assert second.exit_code == 1
        assert f"cannot listen on {address}: the port is in use" in second.stderr
        assert f"choose another address or port with {option}." in second.stderr


@pytest.mark.parametrize(
    ("arguments", "code", "complaint"),
    [
        (["--bind", "127.0.0.1"], 2, "bind is '127.0.0.1', expected an address and a port"),
        (["--heartbeat-s", "0"], 2, "heartbeat_s is 0.0, expected at least"),
        (["--app", "nowhere"], 2, "there is no module nowhere"),
        (["--grpc-bind", "36790"], 2, "grpc_bind is '36790', expected an address and a port such as 127.0.0.1:36790"),
        ([*HERE, "--db", "sqlite:////not/there/x.db"], 3, "the directory /not/there does not exist"),
    ],
)
def test_what_cannot_work_is_refused_before_anything_starts(
    call: Call, arguments: list[str], code: int, complaint: str
) -> None:
    result = call("serve", *arguments)
    assert (result.exit_code, result.stdout) == (code, "")
    assert complaint in result.stderr


def test_a_run_that_is_interrupted_stands_in_the_journal_and_a_server_finishes_it(
    spawn: Spawn, call: Call, folder: Path
) -> None:
    order = '{"payer": "alice", "payee": "bug"}'
    run = spawn("run", "cli_bank:transfer", "--gid", "t-1", "--input", order)
    assert run.stderr is not None
    assert "RuntimeError: the bank is on fire" in run.stderr.readline()
    run.send_signal(signal.SIGINT)
    stdout, stderr = run.communicate(timeout=WITHIN_S)
    assert (run.returncode, stdout) == (130, "")
    assert stderr.endswith("flowtx: t-1 is not finished; the same command with --gid t-1 goes on with it\n")
    assert "Traceback" not in stderr
    shown = call("show", "t-1").stdout
    assert "unknown" in shown
    assert "RuntimeError: the bank is on fire; again in 0.2 s" in shown

    (folder / "mended").touch()
    address_of(spawn("serve", *HERE, "--app", "cli_bank"))
    wait_for_status(call, "t-1", "succeed")


def test_a_second_signal_ends_the_process_at_once(spawn: Spawn, folder: Path) -> None:
    run = spawn("run", "cli_bank:slow", "--gid", "s-1")
    deadline = time.monotonic() + WITHIN_S
    while not (folder / "slow began").exists():
        assert time.monotonic() < deadline
        time.sleep(0.02)
    run.send_signal(signal.SIGINT)
    run.send_signal(signal.SIGTERM)  # the same wish: process managers tell a process and its group
    time.sleep(ONCE_S + 0.2)
    assert run.poll() is None
    run.send_signal(signal.SIGINT)
    _, stderr = run.communicate(timeout=5)
    assert run.returncode == 130
    assert stderr == "flowtx: letting calls in flight end; another Ctrl-C leaves at once\n"
