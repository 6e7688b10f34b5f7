"""Import rules that import-linter cannot express: what each package may use, and that nothing goes through a face."""

import ast
import subprocess
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path

# Only a server or a test needs these; they would double the time of `import flowtx`.
HEAVY = {
    "aiormq",
    "click",
    "grpc",
    "hypercorn",
    "hypothesis",
    "nats",
    "quart",
    "quart_trio",
    "redis",
    "rich",
    "sqlalchemy",
}


def imported(tree: ast.Module) -> Iterator[tuple[int, str]]:
    """Line and dotted name of each thing imported: ``import a.b`` gives a.b, ``from a.b import c`` gives a.b.c."""
    for node in ast.walk(tree):
        match node:
            case ast.Import(names=names):
                yield from ((node.lineno, alias.name) for alias in names)
            case ast.ImportFrom(module=module, names=names, level=level):
                prefix = "." * level + (module or "")
                yield from ((node.lineno, f"{prefix}.{alias.name}") for alias in names)
            case _:
                pass


def used_of_random(tree: ast.Module) -> Iterator[tuple[int, str]]:
    """Line and dotted name of each use of the module random; ``import random as r`` is one, as it hides the others."""
    for node in ast.walk(tree):
        match node:
            case ast.Import(names=names):
                yield from (
                    (node.lineno, f"random as {alias.asname}")
                    for alias in names
                    if alias.name == "random" and alias.asname
                )
            case ast.ImportFrom(module="random", names=names):
                yield from ((node.lineno, f"random.{alias.name}") for alias in names)
            case ast.Attribute(value=ast.Name(id="random"), attr=attr):
                yield node.lineno, f"random.{attr}"
            case _:
                pass


def test_the_language_needs_only_the_standard_library_and_msgspec(package_trees: Mapping[str, ast.Module]) -> None:
    allowed = sys.stdlib_module_names | {"flowtx_dsl", "msgspec"}
    for_checkers = {
        (path, line)
        for path, tree in package_trees.items()
        for node in ast.walk(tree)
        if isinstance(node, ast.If) and isinstance(node.test, ast.Name) and node.test.id == "TYPE_CHECKING"
        for line, name in imported(ast.Module(node.body, []))
        if name.startswith("typing_extensions.")  # every checker brings it
    }
    foreign = [
        f"{path}:{line} imports {name}"
        for path, tree in package_trees.items()
        if path.startswith("dsl/")
        for line, name in imported(tree)
        if name.partition(".")[0] not in allowed and (path, line) not in for_checkers
    ]
    assert not foreign, "flowtx_dsl may import the standard library and msgspec only:\n" + "\n".join(foreign)


def test_the_kernel_throws_no_dice(package_trees: Mapping[str, ast.Module]) -> None:
    # random.Random(seed) is deterministic; every other name of the module draws from a hidden state.
    dice = [
        f"{path}:{line} uses {name}"
        for path, tree in package_trees.items()
        if path.startswith("engine/flowtx_engine/kernel/")
        for line, name in used_of_random(tree)
        if name != "random.Random"
    ]
    assert not dice, "the kernel may use random.Random and seed it, nothing else of random:\n" + "\n".join(dice)


def test_inside_the_house_files_import_files(root: Path, package_trees: Mapping[str, ast.Module]) -> None:
    def is_file_or_something_in_one(name: str) -> bool:
        home, _, rest = name.partition(".")
        source_root = root / {"flowtx": ".", "flowtx_engine": "engine", "flowtx_dsl": "dsl"}[home]
        folder = source_root / home
        for part in rest.split("."):
            if (folder / f"{part}.py").exists():
                return True
            folder /= part
        return False

    through_a_face = [
        f"{path}:{line} imports {name}"
        for path, tree in package_trees.items()
        for line, name in imported(tree)
        if name.startswith(".")
        or (
            name.partition(".")[0] in {"flowtx", "flowtx_engine", "flowtx_dsl"}
            and not is_file_or_something_in_one(name)
        )
    ]
    assert not through_a_face, (
        "inside the house write `from flowtx_engine.calls.http import HttpClient`, "
        "not an import from a package or a relative one:\n" + "\n".join(through_a_face)
    )


FACES = ("flowtx/__init__.py", "flowtx/client/__init__.py", "flowtx/testing/__init__.py")
"""What users import: the library, what services need to take part, and the kit for their tests."""


def test_only_faces_re_export(package_trees: Mapping[str, ast.Module]) -> None:
    more_than_a_docstring = [
        path
        for path, tree in package_trees.items()
        if path.endswith("/__init__.py") and path not in FACES and len(tree.body) != 1
    ]
    assert not more_than_a_docstring, f"expected a docstring and nothing else in {more_than_a_docstring}"


def test_importing_flowtx_stays_light(root: Path) -> None:
    paths = [str(root / folder) for folder in (".", "dsl", "engine")]
    program = f"import sys; sys.path[:0] = {paths!r}; import flowtx; print(flowtx.__file__, *sys.modules)"
    run = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False, cwd=root)
    assert run.returncode == 0, run.stderr
    face, *modules = run.stdout.split()
    assert face == str(root / "flowtx" / "__init__.py")
    heavy = HEAVY & {module.partition(".")[0] for module in modules}
    assert not heavy, f"`import flowtx` loaded {sorted(heavy)}; import them where they are used"


def test_the_client_is_had_without_the_extras_of_sqlalchemy(root: Path) -> None:
    # SQLAlchemy from 2.1 on brings greenlet with its extra for asyncio only, and a sync service has none.
    paths = [str(root / folder) for folder in (".", "dsl", "engine")]
    program = (
        f"import sys; sys.path[:0] = {paths!r}; sys.modules['greenlet'] = None; import flowtx.client as client; "
        "print(*[getattr(client, name) for name in client.__all__])"
    )
    run = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False, cwd=root)
    assert run.returncode == 0, run.stderr


def test_a_web_framework_is_imported_only_by_its_own_file_of_the_client(
    package_trees: Mapping[str, ast.Module],
) -> None:
    # None of them is a dependency: who has one need not have the others.
    homes = {name: f"flowtx/client/{name}.py" for name in ("flask", "django", "fastapi")}
    homes["starlette"] = homes["fastapi"]
    astray = [
        f"{path}:{line} imports {name}"
        for path, tree in package_trees.items()
        for line, name in imported(tree)
        if path != homes.get(name.partition(".")[0], path)
    ]
    assert not astray, "move it to flowtx/client, in the file of its framework:\n" + "\n".join(astray)
    assert set(homes.values()) <= set(package_trees)
