"""The server's settings as options: one for each, and the file that may hold the others.

The law of this file: no setting can be forgotten here, because the options are made from ``Settings``. What the command
line says is handed on; the file, the environment and the defaults are read by ``flowtx/config``.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import click
from click.core import ParameterSource

from flowtx.config.load import Loaded, load
from flowtx.settings import choices_of, default_of, doc_of, names, variable_of

Command = TypeVar("Command", bound=Callable[..., object])

METAVARS = {"db": "URL", "bind": "HOST:PORT", "grpc_bind": "HOST:PORT", "app": "MODULE[:NAME]", "codec": "MODULE:NAME"}


class _ConfigFile(click.Path):
    """A path; an equals sign before it is how Go's flags are given, ``-c=FILE``, as in DTM's Helm chart."""

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        return super().convert(value.removeprefix("=") if isinstance(value, str) else value, param, ctx)


config_option = click.option(
    "-c",
    "--config",
    "config_file",
    type=_ConfigFile(path_type=Path),
    envvar="FLOWTX_CONFIG",
    show_envvar=True,
    metavar="FILE",
    help="A YAML file with settings, in flowtx's names or in DTM's.",
)


def settings_options(command: Command) -> Command:
    """``--config`` and an option for every setting, in the order of ``Settings``."""
    for name in reversed(names()):
        command = _option_of(name)(command)
    return config_option(command)


def _option_of(name: str) -> Callable[[Command], Command]:
    default, choices = default_of(name), choices_of(name)
    spelling = f"--{name.replace('_', '-')}"
    common: dict[str, Any] = {
        "default": default,
        "show_default": default != (),
        "envvar": variable_of(name),
        "show_envvar": True,
        "help": doc_of(name),
        "metavar": METAVARS.get(name),
    }
    if isinstance(default, bool):
        return click.option(f"{spelling}/--no-{spelling.removeprefix('--')}", name, **common)
    if isinstance(default, tuple):
        return click.option(spelling, name, multiple=True, **common)
    return click.option(spelling, name, type=click.Choice(choices) if choices else type(default), **common)


def loaded_from(ctx: click.Context) -> Loaded:
    """What is in force for a command that has these options; raises ``ConfigError`` and ``SettingsError``."""
    options = {
        name: ctx.params[name] for name in names() if ctx.get_parameter_source(name) is ParameterSource.COMMANDLINE
    }
    return load(options, file=ctx.params["config_file"], environment=os.environ)
