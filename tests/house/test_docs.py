"""The docs are true: commands, options and settings stand in the reference, examples run, links lead somewhere."""

import re
import shlex
from collections.abc import Iterator, Mapping
from pathlib import Path

import click
import pytest

from flowtx.cli.main import COMMANDS, main
from flowtx.config.dtm_keys import DTM_KEYS
from flowtx.dtm.pages import PAGES
from flowtx.dtm.routes import JSON_RPC_PATH, NAMED_ROUTES, PING_PATH, ROUTES
from flowtx.settings import Settings, names, variable_of

FENCE = re.compile(r"^```(?P<language>\w*)\n(?P<code>.*?)^```$", re.MULTILINE | re.DOTALL)
LINK = re.compile(r"\]\((?P<target>[^)\s]+)\)")


def blocks(text: str, language: str) -> Iterator[str]:
    """The code of every fenced block in a language."""
    return (found["code"] for found in FENCE.finditer(text) if found["language"] == language)


def sections(text: str) -> dict[str, str]:
    """What stands under each second-level heading."""
    parts = re.split(r"^## (.+)$", text, flags=re.MULTILINE)
    return dict(zip(parts[1::2], parts[2::2], strict=True))


def slug(heading: str) -> str:
    """The anchor that readers of Markdown make of a heading."""
    return re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-")


def walk_commands() -> Iterator[tuple[str, click.Command]]:
    """Every command and what is typed to call it."""
    context = click.Context(main)
    for name in COMMANDS:
        command = main.get_command(context, name)
        assert command is not None
        yield f"flowtx {name}", command
        if isinstance(command, click.Group):
            yield from ((f"flowtx {name} {sub}", below) for sub, below in sorted(command.commands.items()))


def options_of(command: click.Command) -> set[str]:
    """The long spellings of a command's options, help aside."""
    spellings = {spelling for param in command.params for spelling in param.opts if spelling.startswith("--")}
    return spellings - {"--help"}


def test_every_command_has_its_heading_and_nothing_else_has(docs: Mapping[str, str]) -> None:
    headings = list(sections(docs["docs/reference/cli.md"]))
    assert headings == [name for name, _ in walk_commands()]


def test_every_option_is_in_its_commands_section_and_no_other_is(docs: Mapping[str, str]) -> None:
    pages = sections(docs["docs/reference/cli.md"])
    for name, command in walk_commands():
        expected = options_of(command)
        if name in ("flowtx serve", "flowtx config"):  # the settings have a page of their own
            expected -= {f"--{setting.replace('_', '-')}" for setting in names()}
        described = set(re.findall(r"^\| `(--[\w-]+)", pages[name], flags=re.MULTILINE))
        assert described == expected, f"{name} in docs/reference/cli.md"


def test_the_list_of_commands_says_what_each_says_of_itself() -> None:
    for name, command in walk_commands():
        if name.removeprefix("flowtx ") in COMMANDS:
            summary = COMMANDS[name.removeprefix("flowtx ")].summary
            assert (command.help or "").startswith(summary.removesuffix(".")), f"{name}: {summary!r} in flowtx --help"


def test_every_command_shows_how_it_is_called() -> None:
    for name, command in walk_commands():
        if not isinstance(command, click.Group):
            assert command.epilog is not None, f"{name} --help has no examples"
            assert f"  {name}" in command.epilog, f"{name} --help shows no example of itself"


def test_every_setting_has_its_heading_with_option_variable_and_default(docs: Mapping[str, str]) -> None:
    pages = sections(docs["docs/reference/settings.md"])
    assert [heading for heading in pages if heading not in NO_SETTINGS] == list(names())
    for name in names():
        head = f"`--{name.replace('_', '-')}`, `{variable_of(name)}`, default `{getattr(Settings(), name)}`"
        assert pages[name].strip().splitlines()[0] == head


NO_SETTINGS = {"Where settings come from", "The file", "Settings of DTM", "Other variables"}
"""Headings of the settings page that are none."""


def test_every_key_of_dtm_stands_in_the_settings_page(docs: Mapping[str, str]) -> None:
    page = sections(docs["docs/reference/settings.md"])["Settings of DTM"]
    assert [path for path in DTM_KEYS if f"`{path}`" not in page] == []


def test_every_route_has_its_heading_and_nothing_else_has(docs: Mapping[str, str]) -> None:
    named = [f"{method} {path}{{name}}" for method, path in NAMED_ROUTES]
    pages = [f"GET {path}" for path in PAGES]
    others = [f"POST {JSON_RPC_PATH}", f"ANY {PING_PATH}"]
    routes = {*(f"{method} {path}" for method, path in ROUTES), *named, *others, *pages}
    headings = {heading for heading in sections(docs["docs/reference/http-api.md"]) if "/" in heading}
    assert headings == routes


def test_no_variable_is_forgotten(docs: Mapping[str, str]) -> None:
    settings = docs["docs/reference/settings.md"]
    variables = {
        param.envvar
        for _, command in [("flowtx", main), *walk_commands()]
        for param in command.params
        if isinstance(param.envvar, str)
    }
    assert not [variable for variable in variables if f"`{variable}`" not in settings]


def test_every_flowtx_call_in_the_docs_could_be_typed(docs: Mapping[str, str]) -> None:
    typed = [
        (page, line.removeprefix("$ "))
        for page, text in docs.items()
        for block in blocks(text, "console")
        for line in block.splitlines()
        if line.startswith("$ flowtx ")
    ]
    assert len(typed) > 10
    for page, line in typed:
        words = shlex.split(line.partition(" | ")[0].removesuffix(" &"))[1:]
        try:
            parse(main, words)
        except click.exceptions.Exit:
            pass  # --version and --help end here
        except click.UsageError as error:
            pytest.fail(f"{page}: {line}\n{error.message}")


def parse(command: click.Command, words: list[str], parent: click.Context | None = None) -> None:
    """Read the words as the command would, without running it."""
    with command.make_context("flowtx", list(words), parent) as context:
        if isinstance(command, click.Group):
            rest = [*context._protected_args, *context.args]  # pyright: ignore[reportPrivateUsage]  # click keeps them so
            _, below, words_below = command.resolve_command(context, rest)
            assert below is not None, words
            parse(below, words_below, context)


def test_links_lead_somewhere(docs: Mapping[str, str], root: Path) -> None:
    broken: list[str] = []
    for page, text in docs.items():
        for found in LINK.finditer(FENCE.sub("", text)):
            target, _, anchor = found["target"].partition("#")
            if target.startswith("http"):
                continue
            file = (root / page).parent / target if target else root / page
            if not file.exists():
                broken.append(f"{page} -> {found['target']}")
            elif anchor and anchor not in {slug(each) for each in re.findall(r"^#+ (.+)$", file.read_text(), re.M)}:
                broken.append(f"{page} -> {found['target']}: no such heading")
    assert not broken, "\n".join(broken)


def test_decisions_are_numbered_without_gaps_and_say_how_they_stand(docs: Mapping[str, str]) -> None:
    decisions = sorted(page for page in docs if page.startswith("docs/decisions/"))
    numbers = [int(Path(page).name[:4]) for page in decisions]
    assert numbers == list(range(1, len(numbers) + 1))
    for page in decisions:
        assert docs[page].startswith(f"# {Path(page).name[:4]}: "), page
        assert "**Status**" in docs[page], page


def test_files_named_in_the_docs_exist(docs: Mapping[str, str], root: Path) -> None:
    named = {
        (page, path)
        for page, text in docs.items()
        for path in re.findall(r"`((?:flowtx|engine|dsl|docs|tests|examples)/[\w/.-]+\.(?:py|md))`", text)
    }
    assert named
    assert not [(page, path) for page, path in named if not (root / path).exists()]
