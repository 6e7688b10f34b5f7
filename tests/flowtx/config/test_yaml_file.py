"""Configuration files: what is read with which line, and what is refused with which words."""

from __future__ import annotations

from pathlib import Path

import pytest

from flowtx.config.given import ConfigError
from flowtx.config.yaml_file import BYTES_MAX, read_file


def read(tmp_path: Path, text: str | bytes) -> dict[str, tuple[str, ...]]:
    path = tmp_path / "c.yml"
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return {key: given.texts for key, given in read_file(path).items()}


def test_sections_are_flattened_and_values_are_texts(tmp_path: Path) -> None:
    text = "# why\nStore:\n  Host: 'h'\n  Port: 5432\nzone: +8\nflag: yes\napp: [a, b]\nempty:\nnull_too: ~\n"
    assert read(tmp_path, text) == {
        "Store.Host": ("h",),
        "Store.Port": ("5432",),
        "zone": ("+8",),
        "flag": ("yes",),
        "app": ("a", "b"),
    }


@pytest.mark.parametrize("text", ["", "# nothing\n", "---\n"])
def test_an_empty_file_says_nothing(tmp_path: Path, text: str) -> None:
    assert read(tmp_path, text) == {}


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("a: 1\nb: 2\na: 3\n", "a (FILE, line 3) stands a second time, first in FILE, line 1"),
        ("S:\n  a: 1\nS.a: 2\n", "S.a (FILE, line 3) stands a second time, first in FILE, line 2"),
        ("- a\n", "FILE, line 1 is no mapping"),
        ("just words\n", "FILE, line 1 is no mapping"),
        ("a: 1\nb: [\n", "FILE is no YAML: line 3:"),
        ("a: 'no end\n", "FILE is no YAML: line 2:"),
        ("a: 1\n--- \nb: 2\n", "FILE is no YAML: line 2: but found another document"),
        ("S:\n  T:\n    a: 1\n", "S.T (FILE, line 2) is a section in a section"),
        ("S:\n  RedisPrefix: {a}\n", "S.RedisPrefix (FILE, line 2) is a section in a section"),
        ("a:\n - b: 1\n", "a (FILE, line 2) holds more than plain values"),
        ("? [a]\n: 1\n", "FILE, line 1: a key is no plain name"),
        (b"a: \xff\n", "FILE is not UTF-8 at byte 3"),
        (b"a: \x00\n", "FILE is no YAML"),
        (b"#" * (BYTES_MAX + 1), "FILE has more than 1048576 bytes"),
    ],
)
def test_what_is_no_configuration_is_refused_with_its_line(tmp_path: Path, text: str | bytes, message: str) -> None:
    with pytest.raises(ConfigError) as refused:
        read(tmp_path, text)
    assert refused.value.message.startswith(message.replace("FILE", str(tmp_path / "c.yml")))
    assert refused.value.remedy


def test_a_file_that_is_not_there_is_said(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"c\.yml cannot be read: No such file"):
        read_file(tmp_path / "c.yml")
    with pytest.raises(ConfigError, match="cannot be read: Is a directory"):
        read_file(tmp_path)


def test_a_message_about_bad_yaml_shows_no_password(tmp_path: Path) -> None:
    with pytest.raises(ConfigError) as refused:
        read(tmp_path, "Password: 'geheim\n  : x: [\n")
    assert "geheim" not in str(refused.value)


def test_nothing_in_a_file_becomes_an_object(tmp_path: Path) -> None:
    assert read(tmp_path, "a: !!python/object/apply:os.system ['false']\n") == {"a": ("false",)}
