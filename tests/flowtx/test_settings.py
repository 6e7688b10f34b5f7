"""Every setting has a name, a variable and a line; what cannot work is refused by its name."""

from __future__ import annotations

import pytest

from flowtx.settings import Settings, SettingsError, address_of, doc_of, names, variable_of


def test_every_setting_has_its_variable_and_its_line() -> None:
    for name in names():
        assert variable_of(name) == f"FLOWTX_{name.upper()}"
        assert doc_of(name).endswith(".")


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"db": ""}, "db is empty"),
        ({"grace_s": float("nan")}, "grace_s is nan, expected at least 0"),
        ({"request_timeout_s": 0}, "request_timeout_s is 0, expected at least 1"),
        ({"bind": "localhost"}, "bind is 'localhost', expected an address and a port"),
        ({"log_level": "loud"}, "log_level is 'loud', expected one of debug, info, warning, error"),
        ({"alert_web_hook": "hook.example"}, "alert_web_hook is no URL"),
        ({"test_port": 70000}, "test_port is 70000, expected a port"),
        ({"test_mode": True, "bind": "0.0.0.0:0"}, "test_mode is on and bind is '0.0.0.0:0'"),
        ({"test_mode": True, "grpc_bind": "0.0.0.0:0"}, "test_mode is on and grpc_bind is '0.0.0.0:0'"),
        (
            {"grpc_bind": "localhost"},
            "grpc_bind is 'localhost', expected an address and a port such as 127.0.0.1:36790",
        ),
        ({"bind": "localhost:70000"}, "bind is 'localhost:70000'"),
        ({"bind": "localhost:http"}, "bind is 'localhost:http'"),
    ],
)
def test_what_cannot_work_is_refused_by_name(given: dict[str, object], message: str) -> None:
    with pytest.raises(SettingsError) as refused:
        Settings(**given)  # type: ignore[arg-type]  # that is the point
    assert refused.value.message.startswith(message)


def test_test_mode_is_for_this_machine_unless_it_is_forced() -> None:
    for bind in ("127.0.0.1:0", "[::1]:0", "localhost:0"):
        assert Settings(test_mode=True, bind=bind).test_mode
    assert Settings(test_mode=True, test_mode_forced=True, bind=":0").test_mode
    assert Settings(test_mode=True, grpc_bind="off").test_mode


def test_an_ipv6_address_is_read_without_its_brackets() -> None:
    assert address_of("[::1]:36789") == ("::1", 36789)
    assert address_of(":36789") == ("", 36789)
