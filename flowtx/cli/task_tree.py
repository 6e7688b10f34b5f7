"""A run's tasks as a tree for a person: what each waits for, at which line, and when it is tried again.

The law of this file: it draws what it is given and knows nothing of kernels and journals.
"""

from __future__ import annotations

from collections.abc import Iterable

from rich.text import Text
from rich.tree import Tree

from flowtx.cli.lines import ENCODED, cut
from flowtx.cli.printing import Style, length
from flowtx_engine.kernel.view import NurseryView, RunView, TaskView, Waiting, WaitKind

STYLES: dict[WaitKind, Style] = {
    "step": "",
    "compensation": "magenta",
    "confirmation": "cyan",
    "sleep": "dim",
    "deadline": "dim",
    "start": "dim",
    "task": "dim",
    "nothing": "dim",
}


def tree_of(view: RunView, *, now_at: float, encoded: bool = False) -> Tree:
    """The tree; ``encoded`` says that the arguments of calls could not be read."""
    title = "waits, as far as the journal tells" if view.phase == "unknown" else f"waits, {view.phase}"
    root = Tree(Text(title, "dim"), guide_style="dim")
    _grow(root, view.tasks, now_at, encoded)
    for other in (*view.deadlines, *view.given_up):
        root.add(_waiting_text(other, now_at, encoded))
    return root


def _grow(tree: Tree, tasks: Iterable[TaskView], now_at: float, encoded: bool) -> None:
    for task in tasks:
        label = _label_of(task)
        if task.waits_for is not None:
            label = Text.assemble(label, " " if label else "", _waiting_text(task.waits_for, now_at, encoded))
        below = tree.add(label) if label or len(task.nurseries) != 1 else tree
        for nursery in task.nurseries:
            _grow(below.add(_nursery_text(nursery)), nursery.branches, now_at, encoded)


def _label_of(task: TaskView) -> Text:
    return Text(" ".join(part for part in (task.address, task.name) if part), "bold")


def _nursery_text(nursery: NurseryView) -> Text:
    cancelled = Text(" cancelled", "magenta") if nursery.is_cancelled else ""
    return Text.assemble((f"nursery {nursery.address}", "cyan"), cancelled, _place(nursery.where))


def _waiting_text(waiting: Waiting, now_at: float, encoded: bool) -> Text:
    is_call = waiting.kind in ("step", "compensation", "confirmation")
    what = f"{waiting.what.partition('(')[0]}{ENCODED}" if encoded and is_call else waiting.what
    kind = "" if waiting.kind in ("task", "nothing", "sleep", "deadline", "start") else f"{waiting.kind} "
    text = Text.assemble(("<- " if waiting.kind == "compensation" else "waits for ", "dim"), kind, cut(what))
    text.stylize(STYLES[waiting.kind])
    text.append_text(_place(waiting.where))
    text.append_text(_attempts(waiting, now_at))
    return text


def _place(where: str) -> Text:
    return Text(f"  {where}", "cyan") if where else Text()


def _attempts(waiting: Waiting, now_at: float) -> Text:
    """How often it was tried, why it failed, and when it is due."""
    parts: list[str] = []
    if waiting.attempt_count:
        tried = f"{waiting.attempt_count} {'attempt' if waiting.attempt_count == 1 else 'attempts'}"
        parts.append(f"{tried}, {cut(waiting.error)}" if waiting.error else tried)
    if waiting.needs_decision:
        parts.append("in doubt: a person must decide")
    elif waiting.is_on_its_way:
        parts.append("on its way")
    elif waiting.due_at is not None:
        pause_s = waiting.due_at - now_at
        parts.append(f"due in {length(pause_s)}" if pause_s > 0 else "due now")
    return Text(f"  {'; '.join(parts)}", "yellow") if parts else Text()
