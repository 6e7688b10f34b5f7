"""Secrets are not shown, however they are written."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from flowtx.config.secrets import shown, without_password


@pytest.mark.parametrize(
    ("url", "fit"),
    [
        ("sqlite:////var/lib/flowtx.db", "sqlite:////var/lib/flowtx.db"),
        ("mysql://u:p@h:3306/d", "mysql://u:***@h:3306/d"),
        ("mysql://u:p/w@x@h/d", "mysql://u:***@h/d"),
        ("redis://:p@h", "redis://:***@h"),
        ("postgresql://u@h/d", "postgresql://u@h/d"),
        ("http://h:80/hook?token=abc&x=1", "http://h:80/hook?token=***&x=1"),
    ],
)
def test_a_url_is_shown_without_its_password(url: str, fit: str) -> None:
    assert without_password(url) == fit


@given(st.text(st.characters(blacklist_characters="\n\r"), min_size=8))
def test_no_password_is_ever_shown(password: str) -> None:
    assert f":{password}@" not in without_password(f"mysql://user:{password}@host/db")


def test_other_values_are_shown_as_they_are() -> None:
    assert (shown("active_max", 3), shown("log_level", "info"), shown("app", ("a",))) == (3, "info", ("a",))


def test_of_a_web_hook_only_the_host_is_shown() -> None:
    assert shown("alert_web_hook", "https://hooks.example/T0/B0/geheim") == "https://hooks.example/***"
    assert shown("alert_web_hook", "https://u:geheim@hooks.example?x=1") == "https://u:***@hooks.example/***"
    assert shown("alert_web_hook", "") == ""
