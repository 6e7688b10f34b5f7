"""From DTM's keys to flowtx's settings, with DTM's own checks and their texts (spec 7).

The law of this file: what DTM refuses to start with is refused here in its words, and what means nothing here is said.
What the keys together ask for is decided here and nowhere else.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote

from flowtx.config.dtm_keys import DTM_KEYS, MICROSERVICE_DRIVERS, NO_KEYS
from flowtx.config.given import ConfigError, Given, whole
from flowtx.settings import default_of
from flowtx_engine.journal.store import STORES

LOG_LEVELS: Mapping[str, str] = {"debug": "debug", "info": "info", "warn": "warning", "error": "error"}
PORTS: Mapping[str, str] = {"HttpPort": "bind", "GrpcPort": "grpc_bind"}
SCHEMES: Mapping[str, str] = {"boltdb": "sqlite", "mysql": "mysql", "postgres": "postgresql", "redis": "redis"}
"""What a ``Store.Driver`` becomes in the database's URL. boltdb is a file beside the server; so is SQLite's."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Taken:
    """What DTM's keys give one setting: its ``value``, and the key it was ``given`` by."""

    value: Any
    given: Given


def settings_of(keys: Mapping[str, Given]) -> dict[str, Taken]:
    """What DTM's keys, by their paths, mean for flowtx's settings; raises ``ConfigError``."""
    taken: dict[str, Taken] = {}
    for path, given in keys.items():
        key = DTM_KEYS.get(path)
        value = whole(given) if key is not None and key.is_whole else given.text
        if key is not None and key.setting:
            taken[key.setting] = Taken(value=value, given=given)
    _check_times(keys, taken)
    if "Store.Driver" in keys:
        taken["db"] = Taken(value=_database_url(keys), given=keys["Store.Driver"])
    for path, setting in PORTS.items():
        if path in keys:
            # DTM listens on every address of the machine.
            taken[setting] = Taken(value=f":{whole(keys[path])}", given=keys[path])
    kept = keys.get(_kept_by(keys))
    if kept is not None:
        taken["retention_s"] = Taken(value=float(whole(kept)), given=kept)
    if "LogLevel" in keys:
        taken["log_level"] = Taken(value=_log_level(keys["LogLevel"]), given=keys["LogLevel"])
    _check_driver(keys.get("MicroService.Driver"))
    return taken


def notices_of(keys: Mapping[str, Given]) -> list[str]:
    """A line for each key that means nothing here."""
    notices: list[str] = []
    for path, given in keys.items():
        why = NO_KEYS.get(path) or DTM_KEYS[path].means_nothing
        is_kept = path in ("Store.DataExpire", "Store.FinishedDataExpire")
        if is_kept and path != _kept_by(keys):
            why = f"how long finished transactions are kept is {_kept_by(keys)} here"
        elif path.startswith("Store.") and not why and keys.get("Store.Driver", _BOLTDB).text == "boltdb":
            why = "" if is_kept or path == "Store.Driver" else "a SQLite file has a name and nothing else"
        if why:
            notices.append(f"{given.place} means nothing to flowtx: {why}")
    return notices


def _kept_by(keys: Mapping[str, Given]) -> str:
    """The key that says how long finished transactions are kept: DTM's Redis has one of its own."""
    is_redis = keys.get("Store.Driver", _BOLTDB).text == "redis"
    return "Store.FinishedDataExpire" if is_redis else "Store.DataExpire"


_BOLTDB = Given(key="Store.Driver", where="DTM's default", texts=("boltdb",))


def _check_times(keys: Mapping[str, Given], taken: Mapping[str, Taken]) -> None:
    interval, timeout = keys.get("RetryInterval"), keys.get("TimeoutToFail")
    interval_s = taken["retry_interval_s"].value if interval is not None else default_of("retry_interval_s")
    timeout_s = taken["timeout_to_fail_s"].value if timeout is not None else default_of("timeout_to_fail_s")
    if interval is not None and interval_s < 10:
        raise ConfigError(
            f"RetryInterval should not be less than 10\n    found: {interval.place} is {interval_s}",
            remedy="Raise it, or use flowtx's own retry_interval_s, which may be shorter.",
        )
    told = timeout if timeout is not None else interval
    if told is not None and timeout_s < interval_s:
        raise ConfigError(
            f"TimeoutToFail should not be less than RetryInterval\n    found: {told.place}, "
            f"TimeoutToFail is {timeout_s} and RetryInterval is {interval_s}",
            remedy="Raise TimeoutToFail, or lower RetryInterval.",
        )


def _database_url(keys: Mapping[str, Given]) -> str:
    driver = keys["Store.Driver"]
    scheme = SCHEMES.get(driver.text)
    if scheme is None:
        raise ConfigError(
            f"{driver.place} is {driver.text[:100]!r}, expected one of {', '.join(SCHEMES)}",
            remedy="Name one of them, or give flowtx its own setting db: the URL of a database.",
        )
    if scheme != "sqlite":
        _check_server(keys, driver)
    if scheme not in STORES:
        raise ConfigError(
            f"{driver.place} is {driver.text}: this version keeps journals in {' and '.join(STORES)} only",
            remedy="Write `Driver: boltdb` for a SQLite file beside the server, or db: sqlite:////path/to/flowtx.db.",
        )
    return str(default_of("db")) if scheme == "sqlite" else _server_url(keys, scheme)


def _check_server(keys: Mapping[str, Given], driver: Given) -> None:
    """What DTM wants to know of a database server, in its order and its words."""
    name = "Redis" if driver.text == "redis" else "Db"
    for path, text in (
        ("Store.Host", f"{name} host not valid "),
        ("Store.Port", f"{name} port not valid "),
        *((("Store.User", "Db user not valid "),) if name == "Db" else ()),
    ):
        given = keys.get(path)
        if given is None or not given.text or (path == "Store.Port" and not 0 < whole(given) < 65_536):
            found = f"{given.place} is {given.text!r}" if given is not None else f"{path} is not given"
            raise ConfigError(f"{text.rstrip()}\n    found: {found}, and {driver.place} is {driver.text}")
    schema = keys.get("Store.Schema")
    if name == "Db" and schema is not None and not schema.text:
        raise ConfigError(f"Postgres schema not valid\n    found: {schema.place} is empty")


def _server_url(keys: Mapping[str, Given], scheme: str) -> str:
    def part(path: str, default: str = "") -> str:
        return keys[path].text if path in keys else default

    user, password = quote(part("Store.User"), safe=""), quote(part("Store.Password"), safe="")
    who = f"{user}:{password}@" if password else f"{user}@" if user else ""
    name = "" if scheme == "redis" else f"/{quote(part('Store.Db', 'dtm'), safe='')}"
    schema = part("Store.Schema", "public")
    query = f"?schema={quote(schema, safe='')}" if scheme == "postgresql" and schema != "public" else ""
    return f"{scheme}://{who}{part('Store.Host')}:{part('Store.Port')}{name}{query}"


def _log_level(given: Given) -> str:
    try:
        return LOG_LEVELS[given.text.lower()]
    except KeyError:
        raise ConfigError(f"{given.place} is {given.text[:100]!r}, expected one of {', '.join(LOG_LEVELS)}") from None


def _check_driver(given: Given | None) -> None:
    if given is not None and given.text not in MICROSERVICE_DRIVERS:
        raise ConfigError(
            f"{given.place} is {given.text[:100]!r}, which DTM does not know either",
            remedy="Write `default`, or remove it: flowtx registers nowhere.",
        )
