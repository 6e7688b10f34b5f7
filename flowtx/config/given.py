"""A value as somebody wrote it, with the place where it stands, and its reading as what a setting wants.

The law of this file: nothing is guessed. A value that is not what the setting wants is refused with its name, its place
and what was expected; secrets are not among what a message shows.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from flowtx.settings import default_of
from flowtx_dsl.errors import FlowtxError

BOOLEANS = {"true": True, "yes": True, "on": True, "1": True, "false": False, "no": False, "off": False, "0": False}


class ConfigError(FlowtxError):
    """A file or the environment says something that cannot work."""

    remedy = "Correct it; `flowtx config` shows what is in force and where each value came from."


@dataclass(frozen=True, slots=True, kw_only=True)
class Given:
    """One value: ``key`` as it was written, ``where`` it stands ("flowtx.yml, line 3"), and the texts it holds.

    ``texts`` is one text, or any number when a list was written (``is_list``).
    """

    key: str
    where: str
    texts: tuple[str, ...]
    is_list: bool = False

    @property
    def text(self) -> str:
        """The one text; raises ``ConfigError`` when a list was written."""
        if self.is_list:
            raise ConfigError(f"{self.place} is a list, expected one value")
        return self.texts[0]

    @property
    def place(self) -> str:
        """What messages call it: ``retry_interval_s (flowtx.yml, line 3)``."""
        return f"{self.key} ({self.where})"


def read_as(setting: str, given: Given) -> Any:
    """The value for a setting of flowtx; raises ``ConfigError``."""
    default = default_of(setting)
    match default:
        case tuple():
            return given.texts if given.is_list else tuple(given.text.split())
        case bool():
            return _boolean(given)
        case int():
            return whole(given)
        case float():
            return _number(given)
        case _:
            return given.text


def whole(given: Given) -> int:
    """A whole number; raises ``ConfigError``."""
    try:
        return int(given.text)
    except ValueError:
        raise ConfigError(f"{given.place} is {given.text[:100]!r}, expected a whole number") from None


def _number(given: Given) -> float:
    try:
        return float(given.text)
    except ValueError:
        raise ConfigError(f"{given.place} is {given.text[:100]!r}, expected a number") from None


def _boolean(given: Given) -> bool:
    try:
        return BOOLEANS[given.text.lower()]
    except KeyError:
        raise ConfigError(f"{given.place} is {given.text[:100]!r}, expected true or false") from None
