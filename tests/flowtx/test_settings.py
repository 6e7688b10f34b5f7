"""Settings come from the environment, and what cannot work is refused by its name."""

from __future__ import annotations

import pytest

from flowtx.settings import Settings, SettingsError, address_of, doc_of, names, settings_from, variable_of


def test_an_empty_environment_gives_the_defaults() -> None:
    assert settings_from({}) == Settings()


def test_every_setting_has_its_variable_and_its_line() -> None:
    for name in names():
        assert variable_of(name) == f"FLOWTX_{name.upper()}"
        assert doc_of(name).endswith(".")


@pytest.mark.parametrize(
    ("variable", "text", "name", "value"),
    [
        ("FLOWTX_DB", "memory://", "db", "memory://"),
        ("FLOWTX_BIND", "[::1]:80", "bind", "[::1]:80"),
        ("FLOWTX_GRACE_S", "2.5", "grace_s", 2.5),
        ("FLOWTX_BODY_MAX_BYTES", "1024", "body_max_bytes", 1024),
        ("FLOWTX_REQUEST_TIMEOUT_S", "7", "request_timeout_s", 7),
    ],
)
def test_a_variable_sets_its_setting(variable: str, text: str, name: str, value: object) -> None:
    assert getattr(settings_from({variable: text}), name) == value


def test_what_is_given_goes_before_the_environment_and_none_is_not_given() -> None:
    settings = settings_from({"FLOWTX_DB": "memory://", "FLOWTX_GRACE_S": "3"}, db="sqlite:///x.db", grace_s=None)
    assert (settings.db, settings.grace_s) == ("sqlite:///x.db", 3.0)


def test_other_variables_and_empty_ones_are_left_alone() -> None:
    assert settings_from({"FLOWTX_PORT": "tcp://10.0.0.1:36789", "FLOWTX_DB": "", "HOME": "/"}) == Settings()


@pytest.mark.parametrize(
    ("environ", "message"),
    [
        ({"FLOWTX_ACTIVE_MAX": "many"}, "FLOWTX_ACTIVE_MAX is 'many', expected a whole number"),
        ({"FLOWTX_GRACE_S": "x"}, "FLOWTX_GRACE_S is 'x', expected a number"),
        ({"FLOWTX_GRACE_S": "nan"}, "grace_s is nan, expected at least 0"),
        ({"FLOWTX_REQUEST_TIMEOUT_S": "0"}, "request_timeout_s is 0, expected at least 1"),
        ({"FLOWTX_BIND": "localhost"}, "bind is 'localhost', expected an address and a port"),
        ({"FLOWTX_BIND": "localhost:70000"}, "bind is 'localhost:70000'"),
        ({"FLOWTX_BIND": "localhost:http"}, "bind is 'localhost:http'"),
    ],
)
def test_what_cannot_work_is_refused_by_name(environ: dict[str, str], message: str) -> None:
    with pytest.raises(SettingsError) as refused:
        settings_from(environ)
    assert refused.value.message.startswith(message)


def test_an_ipv6_address_is_read_without_its_brackets() -> None:
    assert address_of("[::1]:36789") == ("::1", 36789)
    assert address_of(":36789") == ("", 36789)
