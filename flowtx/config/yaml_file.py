"""A configuration file: YAML, flattened to keys and values that know their line.

The law of this file: it knows YAML and no setting. Whatever the file holds that is not a mapping of names to plain
values is refused with its line; a key that stands twice is, too, because nobody can tell which of the two was meant.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import yaml

from flowtx.config.given import ConfigError, Given

BYTES_MAX = 1024 * 1024
"""A longer file is no configuration."""
NULL = "tag:yaml.org,2002:null"
"""What YAML calls nothing: no value, ``~`` or ``null``."""


def read_file(path: Path) -> dict[str, Given]:
    """Every value of the file by its key, those of a section as ``Section.Key``; raises ``ConfigError``.

    A key without a value says nothing and is left out, as an empty variable is.
    """
    found: dict[str, Given] = {}
    root = _compose(path)
    if root is None or root.tag == NULL:
        return found
    for given in _flattened(path, "", root):
        if given.key in found:
            raise ConfigError(
                f"{given.place} stands a second time, first in {found[given.key].where}", remedy="Remove one of them."
            )
        found[given.key] = given
    return found


def _compose(path: Path) -> yaml.Node | None:
    try:
        with path.open("rb") as file:
            text = file.read(BYTES_MAX + 1)
        if len(text) > BYTES_MAX:
            raise ConfigError(f"{path} has more than {BYTES_MAX} bytes, expected a configuration file")
        # Composed and not loaded: only the nodes know their lines, and nothing in them is ever made an object.
        node: yaml.Node | None = yaml.compose(text.decode("utf-8"), Loader=yaml.SafeLoader)
    except OSError as error:
        raise ConfigError(
            f"the configuration file {path} cannot be read: {error.strerror}", remedy="Check the path after --config."
        ) from error
    except UnicodeDecodeError as error:
        raise ConfigError(f"{path} is not UTF-8 at byte {error.start}", remedy="Save it as UTF-8.") from error
    except yaml.YAMLError as error:
        raise ConfigError(f"{path} is no YAML: {_told(error)}", remedy="Correct the file.") from error
    return node


def _told(error: yaml.YAMLError) -> str:
    """What is wrong and in which line, without an excerpt: the line may hold a password."""
    if not isinstance(error, yaml.MarkedYAMLError) or error.problem_mark is None:
        return str(getattr(error, "reason", "it cannot be parsed"))
    return f"line {error.problem_mark.line + 1}: {error.problem}"


def _flattened(path: Path, section: str, node: yaml.Node) -> Iterator[Given]:
    if not isinstance(node, yaml.MappingNode):
        what = "a name and a value" if not section else f"values under {section}"
        raise ConfigError(f"{_where(path, node)} is no mapping, expected {what}", remedy="Write `name: value`.")
    pairs: list[tuple[yaml.Node, yaml.Node]] = node.value
    for name, value in pairs:
        if not isinstance(name, yaml.ScalarNode):
            raise ConfigError(f"{_where(path, name)}: a key is no plain name", remedy="Write `name: value`.")
        key = f"{section}.{name.value}" if section else str(name.value)
        where = _where(path, name)
        match value:
            case yaml.ScalarNode():
                if value.tag != NULL:
                    yield Given(key=key, where=where, texts=(str(value.value),))
            case yaml.SequenceNode():
                yield Given(key=key, where=where, texts=tuple(_texts(path, key, value)), is_list=True)
            case _ if section:
                raise ConfigError(f"{key} ({where}) is a section in a section", remedy="Write its value behind it.")
            case _:
                yield from _flattened(path, key, value)


def _texts(path: Path, key: str, node: yaml.SequenceNode) -> Iterator[str]:
    items: list[yaml.Node] = node.value
    for item in items:
        if not isinstance(item, yaml.ScalarNode):
            raise ConfigError(f"{key} ({_where(path, item)}) holds more than plain values", remedy="Write `- value`.")
        yield str(item.value)


def _where(path: Path, node: yaml.Node) -> str:
    assert node.start_mark is not None, node
    return f"{path}, line {node.start_mark.line + 1}"
