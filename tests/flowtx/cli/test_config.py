"""``flowtx config``: what is in force, from where, and nothing secret."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

from click.testing import Result

from flowtx.settings import names

Call = Callable[..., Result]


def test_every_setting_is_shown_with_its_origin(call: Call) -> None:
    Path("flowtx.yml").write_text("active_max: 7\nRetryInterval: 11\n")
    result = call("config", "-c", "flowtx.yml", "--grace-s", "3", FLOWTX_HEARTBEAT_S="1")
    assert result.exit_code == 0, result.output
    lines = {line.split()[0]: line.split(maxsplit=2)[1:] for line in result.stdout.splitlines() if line.strip()}
    assert [name for name in lines if name in names()] == list(names())
    assert lines["active_max"] == ["7", "flowtx.yml, line 1"]
    assert lines["retry_interval_s"] == ["11", "RetryInterval (flowtx.yml, line 2)"]
    assert lines["grace_s"] == ["3.0", "--grace-s"]
    assert lines["heartbeat_s"] == ["1.0", "FLOWTX_HEARTBEAT_S"]


def test_json_holds_the_same_and_no_password(call: Call) -> None:
    result = call("config", "--json", FLOWTX_DB="mysql://u:geheim@h/d", TRANS_CRON_INTERVAL="3", FLOWTX_CONFIG="")
    shown = json.loads(result.stdout)
    assert shown["settings"]["db"] == {"value": "mysql://u:***@h/d", "from": "FLOWTX_DB"}
    assert shown["settings"]["app"] == {"value": [], "from": "default"}
    assert shown["notices"] == [
        "TRANS_CRON_INTERVAL (environment) means nothing to flowtx: flowtx wakes when something is due"
    ]
    assert "geheim" not in result.output


def test_a_notice_is_a_line(call: Call) -> None:
    assert "note: STORE_PASSWORD (environment) means nothing" in call("config", STORE_PASSWORD="geheim").stdout


def test_what_a_server_would_refuse_is_refused_in_the_same_words(call: Call) -> None:
    Path("flowtx.yml").write_text("x: 1\n")
    for command in ("config", "serve"):
        refused = call(command, "--config", "flowtx.yml")
        assert (refused.exit_code, refused.stdout) == (1, "")
        assert (
            refused.stderr
            == "flowtx: x (flowtx.yml, line 1) is no setting\n  -> Remove it; `flowtx config` lists the settings.\n"
        )
    refused = call("serve", RETRY_INTERVAL="5")
    assert refused.exit_code == 1
    assert "RetryInterval should not be less than 10" in refused.stderr
    refused = call("serve", "--active-max", "0")
    assert refused.exit_code == 2
