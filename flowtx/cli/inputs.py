"""The input of a workflow from the command line: JSON in, typed arguments out.

The law of this file: what reaches the engine fits the workflow's annotations; what does not is refused here, in the
words of what was typed.
"""

from __future__ import annotations

import dataclasses
import inspect
import re
import sys
import typing
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import cast

import msgspec

from flowtx.cli.failures import Misused
from flowtx_dsl.errors import FlowtxError
from flowtx_dsl.workflow import AnyWorkflow

_MODULES = re.compile(r"(?<![.\w])(?:\w+\.)+(?=\w)")
"""What stands before a name: annotations are shown without their modules."""


def read_text(given: str) -> str:
    """The text of ``--input``: itself, the content of ``@file``, or stdin for ``-``; raises ``Misused``."""
    if given == "-":
        return sys.stdin.read()
    if not given.startswith("@"):
        return given
    try:
        return Path(given[1:]).read_text("utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise Misused(f"--input {given}: the file cannot be read: {error}") from error


def arguments_of(workflow: AnyWorkflow, text: str | None) -> tuple[object, ...]:
    """The workflow's arguments from JSON; raises ``Misused`` when they do not fit.

    A workflow of one parameter takes the JSON itself; one of several takes an array by position or an object by name.
    """
    values, paths = _spread(workflow, text)
    try:
        workflow.signature.check_count(len(values))
        arguments = workflow.signature.decode_args(msgspec.json.encode(values), len(values))
    except FlowtxError as error:
        cause = error.__cause__
        problem = str(cause) if isinstance(cause, msgspec.ValidationError) else error.message
        raise Misused(f"--input does not fit {signature_text(workflow)}: {_in_typed_words(problem, paths)}") from error
    unknown = [
        place
        for given, value, path in zip(values, arguments, paths, strict=True)
        for place in _unknown(given, value, path)
    ]
    if unknown:
        raise Misused(f"--input does not fit {signature_text(workflow)}: it has the unknown {', '.join(unknown)}")
    for argument in arguments:
        _write_out_defaults(argument)
    return arguments


def _write_out_defaults(value: object) -> None:
    """Give every dataclass the attributes that were left out.

    msgspec leaves them to the class, and then does not write them: the same input would have two forms in the journal,
    and a default that is changed later would change what a replay sees.
    """
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        for field in dataclasses.fields(value):
            part: object = getattr(value, field.name)
            object.__setattr__(value, field.name, part)  # also into a frozen one
            _write_out_defaults(part)
    elif isinstance(value, msgspec.Struct):
        for name in value.__struct_fields__:
            _write_out_defaults(getattr(value, name))
    elif isinstance(value, dict):
        for part in cast("dict[object, object]", value).values():
            _write_out_defaults(part)
    elif isinstance(value, list | tuple | set | frozenset):
        for part in cast("Iterable[object]", value):
            _write_out_defaults(part)


def _unknown(given: object, value: object, path: str) -> Iterator[str]:
    """The fields that were typed and are none of the value's; a misspelt one must not leave its default in force."""
    fields = _fields_of(value)
    match given:
        case list() if isinstance(value, list | tuple):
            items = zip(cast("list[object]", given), cast("list[object]", value), strict=False)
            for place, (given_item, item) in enumerate(items):
                yield from _unknown(given_item, item, f"{path}[{place}]")
        case dict() if fields is not None:
            for name, part in cast("dict[str, object]", given).items():
                if name in fields:
                    yield from _unknown(part, getattr(value, fields[name]), f"{path}.{name}")
                else:
                    yield f"{path}.{name}"
        case _:
            pass


def _fields_of(value: object) -> dict[str, str] | None:
    """The fields of a dataclass or Struct, by their names in JSON; None for everything else."""
    if isinstance(value, msgspec.Struct):
        return dict(zip(value.__struct_encode_fields__, value.__struct_fields__, strict=True))
    if dataclasses.is_dataclass(value):
        return {field.name: field.name for field in dataclasses.fields(value)}
    return None


def signature_text(workflow: AnyWorkflow) -> str:
    """``workflow transfer(t: Transfer)``, for messages."""
    signature = inspect.signature(workflow.fn)
    params = list(signature.parameters.values())[1:]
    shown = str(signature.replace(parameters=params, return_annotation=inspect.Signature.empty))
    return f"workflow {workflow.name}{_MODULES.sub('', shown).replace(chr(39), '')}"


def _spread(workflow: AnyWorkflow, text: str | None) -> tuple[list[object], list[str]]:
    """The JSON values by position, and where each was in what was typed."""
    names = workflow.signature.names
    takes_one = len(names) == 1 and workflow.signature.most == 1
    if text is None:
        if workflow.signature.least:
            raise Misused(
                f"{signature_text(workflow)} needs its input\n  -> Pass it as JSON: --input {_model(workflow)}"
            )
        return [], []
    value = _parse(text)
    if takes_one:
        return [value], ["$"]
    match value:
        case list():
            values = cast("list[object]", value)
            return values, [f"$[{place}]" for place in range(len(values))]
        case dict():
            return _by_name(workflow, cast("dict[str, object]", value))
        case _:
            raise Misused(
                f"{signature_text(workflow)} takes {len(names)} arguments, --input is one value"
                f"\n  -> Pass an array, or an object by names: {_model(workflow)}"
            )


def _parse(text: str) -> object:
    try:
        return msgspec.json.decode(text)
    except msgspec.DecodeError as error:
        shown = text if len(text) <= 60 else f"{text[:60]}..."
        raise Misused(
            f"--input is not JSON: {error}\n     {shown}\n"
            "  -> Text stands in double quotes, and the whole in single ones for the shell: --input '\"alice\"'."
        ) from error


def _by_name(workflow: AnyWorkflow, given: dict[str, object]) -> tuple[list[object], list[str]]:
    names = workflow.signature.names
    unknown = [name for name in given if name not in names]
    missing = [name for name in names[: workflow.signature.least] if name not in given]
    if unknown or missing:
        lacks = [f"lacks {', '.join(missing)}"] if missing else []
        has = [f"has the unknown {', '.join(unknown)}"] if unknown else []
        raise Misused(f"--input does not fit {signature_text(workflow)}: it {' and '.join(lacks + has)}")
    count = max((place for place, name in enumerate(names, 1) if name in given), default=0)
    defaults = {name: param.default for name, param in inspect.signature(workflow.fn).parameters.items()}
    # Arguments travel by position, so one that was left out before another is filled in with its default.
    return [given.get(name, defaults[name]) for name in names[:count]], [f"$.{name}" for name in names[:count]]


def _in_typed_words(problem: str, paths: list[str]) -> str:
    """The place in the arguments' array, as the place in what was typed."""

    def place(found: re.Match[str]) -> str:
        return paths[int(found[1])]

    return re.sub(r"\$\[(\d+)\]", place, problem, count=1)


def _model(workflow: AnyWorkflow) -> str:
    """What an input looks like."""
    params = list(inspect.signature(workflow.fn).parameters.values())[1:]
    if len(params) != 1:
        return _object_of([param.name for param in params])
    kind: object = typing.get_type_hints(workflow.fn).get(params[0].name)
    if isinstance(kind, type) and issubclass(kind, msgspec.Struct):
        return _object_of(kind.__struct_encode_fields__)
    if isinstance(kind, type) and dataclasses.is_dataclass(kind):
        return _object_of([field.name for field in dataclasses.fields(kind)])
    return "'...'"


def _object_of(names: Sequence[str]) -> str:
    return "'{" + ", ".join(f'"{name}": ...' for name in names) + "}'"
