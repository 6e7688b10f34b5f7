"""The settings of a server: one value, made from options, a file and the environment (``flowtx/config``).

The law of this file: every setting has a name, a unit, a default and a line that says what it is for; what cannot work
is refused here, by name, before anything starts.
"""

from __future__ import annotations

import dataclasses
import ipaddress
from dataclasses import dataclass, field
from typing import Any

from flowtx_dsl.errors import FlowtxError

PREFIX = "FLOWTX_"


class SettingsError(FlowtxError):
    """A setting has a value that cannot work."""

    remedy = "Correct the setting; `flowtx serve --help` lists them all."

    def __init__(self, message: str, *, setting: str) -> None:
        super().__init__(message)
        self.setting = setting


def _setting(default: Any, doc: str, *, choices: tuple[str, ...] = ()) -> Any:
    return field(default=default, metadata={"doc": doc, "choices": choices})


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """How a server runs. Each field is the environment variable ``FLOWTX_<NAME>`` too; see ``doc_of``."""

    db: str = _setting("sqlite:///flowtx.db", "URL of the database that holds the journal.")
    bind: str = _setting(
        "127.0.0.1:36789",
        "Address and port to serve HTTP on; port 0 lets the system choose one, :36789 is every address.",
    )
    grpc_bind: str = _setting("127.0.0.1:36790", "Address and port to serve gRPC on, as for bind; off serves none.")
    grace_s: float = _setting(10.0, "Seconds that calls in flight may go on after the server was asked to stop.")
    body_max_bytes: int = _setting(16 * 1024 * 1024, "The longest request body, in bytes; a longer one is refused.")
    payload_bytes_max: int = _setting(
        16 * 1024 * 1024,
        "The longest payload, in bytes of JSON: an input, a step's result, a signal.",
    )
    keep_alive_s: float = _setting(
        120.0, "Seconds that an idle connection of a client is kept open, and that the body of a request may take."
    )
    request_timeout_s: int = _setting(
        3, "Seconds that a call to a participant may take, unless the transaction names its own request_timeout."
    )
    retry_interval_s: int = _setting(
        10, "Seconds before an unfinished call is repeated, unless the transaction names its own retry_interval."
    )
    timeout_to_fail_s: int = _setting(
        35,
        "Seconds after which a prepared TCC, XA or message that nobody submitted is given up or asked about, unless it "
        "names its own timeout_to_fail.",
    )
    active_max: int = _setting(10_000, "The most transactions driven at once; more are refused with 503.")
    park_after_s: float = _setting(10.0, "A transaction that waits longer than so many seconds is dropped from memory.")
    heartbeat_s: float = _setting(
        2.0, "Seconds between two signs of life of this node; after two without one, others take over its work."
    )
    retention_s: float = _setting(
        604_800.0, "Seconds after its end at which a transaction is deleted, with its journal; 0 keeps all of them."
    )
    app: tuple[str, ...] = _setting(
        (), "Workflows to recover and run: all of a module, or the one (or the list) of that name. Repeatable."
    )
    codec: str = _setting("", "What payloads in the database are written with, as MODULE:NAME; empty: as they are.")
    log_level: str = _setting("info", "How much to say on stderr.", choices=("debug", "info", "warning", "error"))
    log_format: str = _setting(
        "auto",
        "How the log is written: a JSON object a line, or text; auto is text at a terminal and JSON elsewhere.",
        choices=("auto", "json", "text"),
    )
    alert_web_hook: str = _setting(
        "", "A URL that is told of branches that keep failing, by POST; nobody is told when it is empty."
    )
    alert_retry_limit: int = _setting(3, "From how many faults of a branch in a row on the web hook is told.")
    tracing: bool = _setting(False, "Send traces by OpenTelemetry, to where its OTEL_* variables say.")
    test_mode: bool = _setting(
        False, "Let tests of other programs drive the server's time and empty its database, over an address of its own."
    )
    test_port: int = _setting(36799, "The port of test mode, on 127.0.0.1; port 0 lets the system choose one.")
    test_mode_forced: bool = _setting(False, "Run test mode although other machines can reach the server.")

    def __post_init__(self) -> None:
        for name in (
            "body_max_bytes",
            "payload_bytes_max",
            "request_timeout_s",
            "retry_interval_s",
            "timeout_to_fail_s",
            "active_max",
            "alert_retry_limit",
        ):
            _at_least(name, getattr(self, name), 1)
        for name in ("grace_s", "park_after_s", "retention_s"):
            _at_least(name, getattr(self, name), 0)
        for name in ("keep_alive_s", "heartbeat_s"):
            _at_least(name, getattr(self, name), 0.05)
        if not self.db:
            raise SettingsError("db is empty, expected the URL of a database such as sqlite:///flowtx.db", setting="db")
        for name in names():
            _one_of(name, getattr(self, name), choices_of(name))
        address_of(self.bind)
        if self.serves_grpc:
            address_of(self.grpc_bind, "grpc_bind")
        if self.alert_web_hook and not self.alert_web_hook.startswith(("http://", "https://")):
            raise SettingsError(
                "alert_web_hook is no URL, expected one such as https://alerts.example/hook", setting="alert_web_hook"
            )
        _at_least("test_port", self.test_port, 0)
        if self.test_port > 65_535:
            raise SettingsError(f"test_port is {self.test_port}, expected a port", setting="test_port")
        if self.test_mode and not self.test_mode_forced:
            _loopback("bind", self.bind)
            if self.serves_grpc:
                _loopback("grpc_bind", self.grpc_bind)

    @property
    def serves_grpc(self) -> bool:
        """Whether there is an address for gRPC; no text is none, too, where an option or a file can say so."""
        return self.grpc_bind not in ("", "off")


def _at_least(name: str, value: float, low: float) -> None:
    if not value >= low:  # also refuses NaN
        raise SettingsError(f"{name} is {value!r}, expected at least {low}", setting=name)


def _loopback(name: str, bind: str) -> None:
    if not is_loopback(bind):
        raise SettingsError(
            f"test_mode is on and {name} is {bind!r}: transactions of other machines would be at the mercy of a test, "
            f"expected an address such as {default_of(name)}, or test_mode_forced",
            setting="test_mode",
        )


def _one_of(name: str, value: object, choices: tuple[str, ...]) -> None:
    if choices and value not in choices:
        raise SettingsError(f"{name} is {value!r}, expected one of {', '.join(choices)}", setting=name)


def address_of(bind: str, setting: str = "bind") -> tuple[str, int]:
    """Host and port of a ``bind`` setting, the host without the brackets of IPv6; raises ``SettingsError``."""
    host, colon, port = bind.rpartition(":")
    if not colon or not (port.isascii() and port.isdigit()) or int(port) > 65_535:
        example = default_of(setting)
        raise SettingsError(f"{setting} is {bind!r}, expected an address and a port such as {example}", setting=setting)
    return host.removeprefix("[").removesuffix("]"), int(port)


def is_loopback(bind: str) -> bool:
    """True when a ``bind`` setting can be reached from this machine only; raises ``SettingsError``."""
    host, _ = address_of(bind)
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def names() -> tuple[str, ...]:
    """The names of all settings, in the order they are shown."""
    return tuple(each.name for each in dataclasses.fields(Settings))


def variable_of(name: str) -> str:
    """The environment variable of a setting."""
    return PREFIX + name.upper()


def doc_of(name: str) -> str:
    """What a setting is for, in one sentence; raises ``KeyError`` for a name that is none."""
    return str(_fields()[name].metadata["doc"])


def choices_of(name: str) -> tuple[str, ...]:
    """The values a setting can have, empty when they cannot be listed; raises ``KeyError``."""
    choices: tuple[str, ...] = _fields()[name].metadata["choices"]
    return choices


def default_of(name: str) -> Any:
    """What a setting is when nobody says anything; raises ``KeyError``."""
    return _fields()[name].default


def _fields() -> dict[str, dataclasses.Field[Any]]:
    return {each.name: each for each in dataclasses.fields(Settings)}
