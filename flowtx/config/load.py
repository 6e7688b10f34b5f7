"""Loading: options, a file, the environment and defaults become one value of ``Settings``, and it is known from where.

The law of this file: the order is option, file, environment, default, for flowtx's names and for DTM's, because with
DTM the file wins over the environment and a deployment must not change its mind by changing servers (spec 7). Within a
file and within the environment, flowtx's own name wins over DTM's.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from flowtx.config import dtm
from flowtx.config.dtm_keys import DTM_KEYS, NO_KEYS, dtm_variable
from flowtx.config.given import ConfigError, Given, read_as
from flowtx.config.yaml_file import read_file
from flowtx.settings import PREFIX, Settings, SettingsError, default_of, names, variable_of

DEFAULT = "default"
OTHER_VARIABLES = frozenset({"FLOWTX_CONFIG", "FLOWTX_DEBUG", "FLOWTX_DTM_STORE"})
"""Variables that are no setting."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Loaded:
    """The settings in force, by name where each came from, and what was said to no effect."""

    settings: Settings
    origins: Mapping[str, str]
    notices: tuple[str, ...]


def load(options: Mapping[str, Any], *, file: Path | None, environment: Mapping[str, str]) -> Loaded:
    """The settings: ``options`` are those of the command line, already of their types.

    Raises ``ConfigError`` for what a file or the environment says, ``SettingsError`` for a wrong option.
    """
    in_file = read_file(file) if file is not None else {}
    _refuse_unknown(in_file)
    dtm_in_file = {key: given for key, given in in_file.items() if key not in names()}
    around = _dtm_variables(environment)
    dtm_keys = around | dtm_in_file
    taken = dtm.settings_of(dtm_keys)
    for path, setting in dtm.PORTS.items() if dtm_in_file else ():
        if setting not in taken:
            # Whoever brings a file of DTM's brings its clients, on other machines, and DTM listens on every address.
            port = default_of(setting).rpartition(":")[2]
            given = Given(key=path, where=f"DTM's default, because {file} holds its keys", texts=(port,))
            taken[setting] = dtm.Taken(value=f":{port}", given=given)
    values: dict[str, Any] = {}
    origins: dict[str, str] = {}
    notices = dtm.notices_of(dtm_keys)
    for name in names():
        from_dtm = taken.get(name)
        is_in_file = from_dtm is not None and from_dtm.given.where != ENVIRONMENT
        if name in options:
            values[name], origins[name] = options[name], f"--{name.replace('_', '-')}"
        elif name in in_file:
            values[name], origins[name] = read_as(name, in_file[name]), in_file[name].where
        elif from_dtm is not None and is_in_file:
            values[name], origins[name] = from_dtm.value, from_dtm.given.place
        elif environment.get(variable_of(name)):
            given = Given(key=variable_of(name), where=ENVIRONMENT, texts=(environment[variable_of(name)],))
            values[name], origins[name] = read_as(name, given), given.key
        elif from_dtm is not None:
            values[name], origins[name] = from_dtm.value, from_dtm.given.key
        else:
            values[name], origins[name] = default_of(name), DEFAULT
        if from_dtm is not None and values[name] is not from_dtm.value:
            notices.append(f"{from_dtm.given.place} is not used: {name} comes from {origins[name]}")
    notices += _unknown_variables(environment)
    return Loaded(settings=_made(values, origins), origins=origins, notices=tuple(notices))


ENVIRONMENT = "environment"


def _made(values: Mapping[str, Any], origins: Mapping[str, str]) -> Settings:
    try:
        return Settings(**values)
    except SettingsError as error:
        origin = origins[error.setting]
        if origin == DEFAULT or origin.startswith("--"):
            raise
        raise ConfigError(f"{error.message} (from {origin})") from error


def _dtm_variables(environment: Mapping[str, str]) -> dict[str, Given]:
    """DTM's keys that the environment holds; an empty variable counts as unset (spec 7)."""
    return {
        path: Given(key=dtm_variable(path), where=ENVIRONMENT, texts=(environment[dtm_variable(path)],))
        for path in DTM_KEYS
        if environment.get(dtm_variable(path))
    }


def _refuse_unknown(in_file: Mapping[str, Given]) -> None:
    known = {*names(), *DTM_KEYS, *NO_KEYS}
    for key, given in in_file.items():
        if key not in known:
            raise ConfigError(f"{given.place} is no setting", remedy=_did_you_mean(key, known))


def _unknown_variables(environment: Mapping[str, str]) -> Iterable[str]:
    known = {variable_of(name) for name in names()} | OTHER_VARIABLES
    for variable in sorted(environment):
        if variable.startswith(PREFIX) and variable not in known:
            yield f"{variable} (environment) is no setting: {_did_you_mean(variable, known)}"


def _did_you_mean(name: str, known: Iterable[str]) -> str:
    by_case = {each.lower(): each for each in known}
    near = difflib.get_close_matches(name.lower(), by_case, n=1)
    return f"Did you mean {by_case[near[0]]}?" if near else "Remove it; `flowtx config` lists the settings."
