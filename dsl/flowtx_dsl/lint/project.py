"""The files that are linted together: what workflow code of one uses of another is followed there.

The law of this file: an import is followed only when it surely means one of the files that were given. Nothing is read
from disk, and files that know nothing of each other are left as they are.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace
from pathlib import PurePath

from flowtx_dsl.lint.bindings import Imported
from flowtx_dsl.lint.source import Source
from flowtx_dsl.lint.uses import Use

REEXPORTS_MAX = 5
"""So many files that only pass a name on are followed."""


def follow(sources: Mapping[str, Source]) -> dict[str, Source]:
    """The same files, each with what the others use of it, until nothing new is found."""
    modules = Modules(sources)
    followed = dict(sources)
    used: dict[str, set[Use]] = {path: set() for path in sources}
    ahead = list(sources)
    while ahead:
        path = ahead.pop()
        changed: set[str] = set()
        for use in followed[path].reach.uses:
            found = modules.find(use.name, path)
            for name in () if found is None else modules.meant(*found):
                home, local = name
                known = replace(use, name=local)
                if home != path and known not in used[home]:
                    used[home].add(known)
                    changed.add(home)
        for home in sorted(changed):
            followed[home] = sources[home].used_by(sorted(used[home], key=_steps_first))
            ahead.append(home)
    return followed


def _steps_first(use: Use) -> tuple[bool, str, str]:
    return not use.is_step, use.name, use.caller


class Modules:
    """Which of the files a module's name means."""

    def __init__(self, sources: Mapping[str, Source]) -> None:
        self._sources = sources
        self._files: dict[tuple[str, ...], list[str]] = {}
        for path in sources:
            parts = _module_of(path)
            for start in range(len(parts)):
                self._files.setdefault(parts[start:], []).append(path)

    def find(self, name: str, importer: str) -> tuple[str, str] | None:
        """The file that a name such as ``shop.steps.charge`` lives in, and what it is called there."""
        level = len(name) - len(name.lstrip("."))
        parts = tuple(name[level:].split("."))
        if level:
            home = PurePath(importer).parent.parts
            parts = (*home[: len(home) - level + 1], *parts)
        for end in range(len(parts) - 1, 0, -1):
            files = self._files.get(parts[:end], [])
            if level:
                files = [it for it in files if len(_module_of(it)) == end]
            if len(files) > 1:
                files = _nearest(files, importer)
            if len(files) == 1:
                return files[0], ".".join(parts[end:])
        return None

    def meant(self, path: str, name: str) -> Iterable[tuple[str, str]]:
        """The file and name behind names that are only passed on, and the methods that run when a class is called."""
        for _ in range(REEXPORTS_MAX):
            first, _, rest = name.partition(".")
            match self._sources[path].scopes.module.names.get(first):
                case [Imported(dotted=dotted)]:
                    found = self.find(f"{dotted}.{rest}" if rest else dotted, path)
                    if found is None:
                        return
                    path, name = found
                case _:
                    break
        yield path, name
        yield path, f"{name}.__init__"
        yield path, f"{name}.__post_init__"


def _module_of(path: str) -> tuple[str, ...]:
    parts = PurePath(path).with_suffix("").parts
    return parts[:-1] if parts[-1:] == ("__init__",) else parts


def _nearest(files: list[str], importer: str) -> list[str]:
    """Those files that share most folders with the one that imports."""
    home = PurePath(importer).parent.parts
    shared = {it: sum(1 for _ in _common(PurePath(it).parent.parts, home)) for it in files}
    return [it for it in files if shared[it] == max(shared.values())]


def _common(first: tuple[str, ...], second: tuple[str, ...]) -> Iterable[str]:
    for one, other in zip(first, second, strict=False):
        if one != other:
            return
        yield one
