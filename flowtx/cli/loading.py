"""Finding a workflow by its name, ``module:workflow``, and saying clearly why there is none.

The law of this file: what a person can mistype is answered with what was found there instead.
"""

from __future__ import annotations

import difflib
import importlib
import os
import sys
import traceback
from types import ModuleType
from typing import TypeGuard, cast

from flowtx.cli.failures import Misused
from flowtx_dsl.workflow import AnyWorkflow, Workflow
from flowtx_engine.journal.codec import PayloadCodec


def load_workflow(spec: str) -> AnyWorkflow:
    """The workflow that ``module:name`` names; raises ``Misused``."""
    module_name, colon, name = spec.partition(":")
    if not colon or not module_name or not name:
        known = "" if colon or not module_name else _that_it_has(load_module(module_name))
        raise Misused(f"{spec!r} names no workflow{known}\n  -> Write module:workflow, for example bank:transfer.")
    module = load_module(module_name)
    return _as_workflow(module, name)


def load_app(spec: str) -> list[AnyWorkflow]:
    """The workflows of ``module``, or those that ``module:name`` names: one, or a list; raises ``Misused``."""
    module_name, colon, name = spec.partition(":")
    module = load_module(module_name)
    if colon:
        found: object = getattr(module, name, None)
        if isinstance(found, list | tuple):
            several = cast("list[object]", found)
            return [_checked(item, f"{spec}[{place}]") for place, item in enumerate(several)]
        return [_as_workflow(module, name)]
    workflows = list(workflows_of(module).values())
    if not workflows:
        raise Misused(f"the module {module_name} has no workflows\n  -> Declare them with @flowtx.workflow.")
    return workflows


def load_codec(spec: str | None) -> PayloadCodec | None:
    """The codec that ``module:name`` names: the object, or what it makes when it is called; raises ``Misused``."""
    if not spec:
        return None
    module_name, colon, name = spec.partition(":")
    if not colon or not module_name or not name:
        raise Misused(f"{spec!r} names no codec\n  -> Write module:name, for example bank.codecs:codec.")
    module = load_module(module_name)
    found: object = getattr(module, name, None)
    if found is None:
        raise Misused(f"the module {module_name} has no {name}")
    if callable(found) and (isinstance(found, type) or not is_codec(found)):
        try:
            found = found()
        except Exception as error:  # whatever the user's own function raises, such as a key that is not there
            raise Misused(f"{spec} cannot make a codec: {type(error).__name__}: {error}") from error
    if not is_codec(found):
        raise Misused(f"{spec} is no codec: it has no encode and decode\n  -> See flowtx.PayloadCodec.")
    return found


def is_codec(value: object) -> TypeGuard[PayloadCodec]:
    """True for what looks like a ``flowtx.PayloadCodec``."""
    return callable(getattr(value, "encode", None)) and callable(getattr(value, "decode", None))


def is_workflow(value: object) -> TypeGuard[AnyWorkflow]:
    """True for what ``@flowtx.workflow`` makes."""
    return isinstance(value, Workflow)


def workflows_of(module: ModuleType) -> dict[str, AnyWorkflow]:
    """The workflows a module has, by their names in it."""
    return {name: value for name, value in vars(module).items() if is_workflow(value)}


def load_module(name: str) -> ModuleType:
    """Import a module by its dotted name, from the current folder too; raises ``Misused``."""
    folder = os.getcwd()
    if name.startswith(".") or "/" in name:
        raise Misused(f"{name} is no name of a module{_hint(name)}")
    if folder not in sys.path:
        sys.path.insert(0, folder)
    try:
        return importlib.import_module(name)
    except ModuleNotFoundError as error:
        if error.name is not None and (name == error.name or name.startswith(f"{error.name}.")):
            raise Misused(f"there is no module {name} in {folder} or installed{_hint(name)}") from error
        raise Misused(_broken(name, error)) from error
    except Exception as error:  # whatever a user's module raises while it is imported
        raise Misused(_broken(name, error)) from error


def _hint(name: str) -> str:
    """What to write instead of a path to a file."""
    if "/" in name or name.endswith(".py"):
        dotted = name.removeprefix("./").removesuffix(".py").replace("/", ".")
        return f"\n  -> Write it as a module: {dotted}."
    return "\n  -> Run the command in the folder that holds it, or install it."


def _broken(name: str, error: Exception) -> str:
    if isinstance(error, SyntaxError):  # its own text names the file and line
        place = f" ({error.filename}:{error.lineno})"
        return f"the module {name} cannot be imported: SyntaxError: {error.msg}{place}"
    frames = [frame for frame in traceback.extract_tb(error.__traceback__) if "importlib" not in frame.filename]
    own = [frame for frame in frames if frame.filename != __file__]
    place = f" ({own[-1].filename}:{own[-1].lineno})" if own else ""
    return f"the module {name} cannot be imported: {type(error).__name__}: {error}{place}"


def _as_workflow(module: ModuleType, name: str) -> AnyWorkflow:
    if not hasattr(module, name):
        near = difflib.get_close_matches(name, workflows_of(module), n=1)
        guess = f"\n  -> Did you mean {module.__name__}:{near[0]}?" if near else ""
        raise Misused(f"the module {module.__name__} has no {name}{_that_it_has(module)}{guess}")
    return _checked(getattr(module, name), f"{module.__name__}:{name}")


def _checked(value: object, spec: str) -> AnyWorkflow:
    if is_workflow(value):
        return value
    kind = "a function" if callable(value) else f"a {type(value).__name__}"
    raise Misused(f"{spec} is {kind}, not a workflow\n  -> Declare it with @flowtx.workflow above its async def.")


def _that_it_has(module: ModuleType) -> str:
    names = ", ".join(workflows_of(module))
    return f"; the workflows of {module.__name__} are: {names}" if names else f"; {module.__name__} has no workflows"
