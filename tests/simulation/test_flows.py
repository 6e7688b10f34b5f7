"""Three workflows as a reader of the docs writes them: a claim, an order of many parts, a monthly bill.

The law: all or nothing, nothing twice under a key, and the same again at every crash point.
"""

from __future__ import annotations

import contextlib
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field

import pytest
import trio

import flowtx
import flowtx.testing
from flowtx.testing.faults import Schedule
from flowtx.testing.prove import single_faults_everywhere
from flowtx.testing.world import World
from flowtx_dsl.workflow import AnyWorkflow
from flowtx_engine.journal.errors import JournalUnavailable
from flowtx_engine.runtime.engine import Engine

DAY_S = 86_400.0


@dataclass
class Books:
    """What was done, once a key, whatever is repeated; a try is held until it is taken or let go."""

    entries: dict[str, str] = field(default_factory=dict[str, str])
    wallets: dict[str, str] = field(default_factory=dict[str, str])

    def do(self, what: str) -> str:
        """Book it, unless it was taken back before it came."""
        key = flowtx.current_step().key
        if what.startswith("no "):
            raise flowtx.Refused(what)
        if f"{key}/c" not in self.entries:
            self.entries.setdefault(key, what)
        return what

    def back(self, what: str) -> None:
        """Take it back, if it was ever done."""
        key = flowtx.current_step().key
        self.entries[key] = ""
        self.entries.pop(key.removesuffix("/c"), None)

    def hold(self, wallet: str) -> str:
        """Hold the money, unless it was let go before."""
        if wallet == "empty":
            raise flowtx.Refused("the wallet is empty")
        self.wallets.setdefault(wallet, "held")
        return wallet

    def take(self, wallet: str) -> None:
        """Take what is held."""
        assert self.wallets[wallet] in ("held", "taken"), self.wallets
        self.wallets[wallet] = "taken"

    def let_go(self, wallet: str) -> None:
        """Give back what is held, if it ever was."""
        assert self.wallets.get(wallet) != "taken", self.wallets
        self.wallets[wallet] = "let go"

    @property
    def standing(self) -> list[str]:
        """What stands in the books, sorted."""
        return sorted(filter(None, self.entries.values()))

    def clear(self) -> None:
        """Back to where every play begins."""
        self.entries.clear()
        self.wallets.clear()


books = Books()


class FreshWorld(World):
    """A world that begins with empty books."""

    def __init__(self, workflow: AnyWorkflow, schedule: Schedule) -> None:
        books.clear()
        assert trio.current_time() < 1, "a client that begins again says days since the beginning of the world"
        super().__init__([workflow], schedule=schedule)


def survive(
    make_world: Callable[[Schedule], World], client: Callable[[Engine], Awaitable[object]], check: Callable[[], None]
) -> None:
    """Every single fault, with a client that repeats what it does until it has an answer."""

    async def scenario(engine: Engine) -> None:
        while True:
            try:
                await client(engine)
                return
            except JournalUnavailable:
                await trio.sleep(1)

    def check_world(world: World) -> None:
        assert not world.unfinished()
        check()

    assert single_faults_everywhere(make_world, scenario, check=check_world).crash_count > 10


# -- a claim: a person approves it within thirty days, is reminded, and somebody above decides when nobody does


REMINDERS = [f"reminder of day {day:02}" for day in range(3, 30, 3)]


async def remind(tx: flowtx.Tx) -> None:
    for text in REMINDERS:
        await tx.sleep(3 * DAY_S)
        await tx.step(books.do, text)


@flowtx.workflow
async def claim(tx: flowtx.Tx) -> str:
    await tx.step(books.do, "reserve", compensate=books.back)
    answers: list[bool] = []
    with tx.move_on_after(30 * DAY_S):
        async with tx.open_nursery() as nursery:
            nursery.start_soon(remind, tx)
            answers.append(await tx.signal("approval", type=bool))
            nursery.cancel_scope.cancel()
    if not answers:
        await tx.step(books.do, "escalated", compensate=books.back)
        answers.append(await tx.signal("decision", type=bool))
    if not answers[0]:
        raise flowtx.Abort("it was refused")
    return await tx.step(books.do, "paid")


@pytest.mark.parametrize(("after_days", "name"), [(7, "approval"), (31, "decision")])
@pytest.mark.parametrize("is_approved", [True, False])
def test_a_claim_is_decided_in_time_or_above_and_a_refusal_takes_it_back(
    after_days: int, name: str, is_approved: bool
) -> None:
    async def client(engine: Engine) -> None:
        await engine.start(claim, gid="t")
        await trio.sleep_until(after_days * DAY_S)
        with contextlib.suppress(flowtx.AlreadyFinal):  # it was heard before a crash, and the claim has ended
            await engine.signal("t", name, is_approved, key="click")
        if is_approved:
            assert await engine.wait("t") == "paid"
        else:
            with pytest.raises(flowtx.TransactionFailed, match="it was refused"):
                await engine.wait("t")

    def check() -> None:
        reminders = REMINDERS[: (after_days - 1) // 3]
        kept = ["paid", *reminders, "reserve"] if is_approved else reminders
        escalated = ["escalated"] if is_approved and after_days > 30 else []
        assert books.standing == escalated + kept

    survive(lambda schedule: FreshWorld(claim, schedule), client, check)


# -- an order: five parts in parallel, some of which may be missing, then an option, and the payments at the end

PARTS = ["bolt", "cord", "disk", "hook"]


@flowtx.workflow
async def order(tx: flowtx.Tx, parts: list[str], option: str, wallets: list[str]) -> list[str]:
    found: list[str] = []

    async def branch(part: str) -> None:
        try:
            found.append(await tx.step(books.do, part, compensate=books.back))
        except flowtx.Refused:
            tx.message(books.do, f"sorry: {part}")

    async with tx.open_nursery() as nursery:
        for part in parts:
            nursery.start_soon(branch, part)
        for wallet in wallets:
            nursery.start_soon(tx.tcc, books.hold, books.take, books.let_go, wallet)
    try:
        async with tx.savepoint():
            await tx.step(books.do, "gift wrap", compensate=books.back)
            tx.message(books.do, "told: wrapped")
            await tx.step(books.do, option, compensate=books.back)
    except flowtx.Refused:
        tx.message(books.do, "told: plain")
    tx.message(books.do, "told: sent")
    return sorted(found)


@pytest.mark.parametrize("option", ["ribbon", "no ribbon"])
@pytest.mark.parametrize("wallet", ["full", "empty"])
def test_an_order_is_paid_and_told_or_nothing_of_it_stands(option: str, wallet: str) -> None:
    wrapped = ["gift wrap", "ribbon", "told: sent", "told: wrapped"]

    def check(ending: flowtx.testing.Ending) -> None:
        if wallet == "empty":
            assert ending.error is not None
            assert books.standing == []
            assert books.wallets.get("voucher", "let go") == "let go"
        else:
            assert ending.result == PARTS
            told = wrapped if option == "ribbon" else ["told: plain", "told: sent"]
            assert books.standing == sorted([*PARTS, "sorry: no glue", *told])
            assert books.wallets == {"voucher": "taken", "full": "taken"}

    parts = [*PARTS, "no glue"]
    proof = flowtx.testing.crash_everywhere(order, parts, option, ["voucher", wallet], before=books.clear, check=check)
    assert proof.crash_count > 10


# -- a bill each month: the plan is changed by an update, and the code by a deploy

MONTHS = 3


class Deploy:
    """Which code is loaded."""

    is_new = False


@flowtx.workflow
async def billing(tx: flowtx.Tx, month: int, plan: str) -> str:
    with tx.move_on_after(30 * DAY_S):
        while True:
            update = await tx.update("plan", type=str)
            plan = update.value
            update.answer(f"{plan} from month {month}")
    if Deploy.is_new and tx.changed("taxes"):
        await tx.step(books.do, f"{month} taxed")
    await tx.step(books.do, f"{month} billed {plan}")
    if month == MONTHS:
        return plan
    return tx.restart(month + 1, plan)


def test_every_month_is_billed_once_by_its_plan_and_a_deploy_is_seen_from_its_month_on() -> None:
    async def client(engine: Engine) -> None:
        await engine.start(billing, 1, "small", gid="t")
        await trio.sleep_until(45 * DAY_S)
        with contextlib.suppress(flowtx.AlreadyFinal, flowtx.Refused):
            pytest.fail(f"{await engine.update('t', 'plan', 7, key='wrong')} was taken for a plan")
        with contextlib.suppress(flowtx.AlreadyFinal):  # it was heard before a crash, and the last month is over
            assert await engine.update("t", "plan", "large", key="click") == "large from month 2"
        Deploy.is_new = True
        assert await engine.wait("t") == "large"

    def make_world(schedule: Schedule) -> World:
        Deploy.is_new = False
        return FreshWorld(billing, schedule)

    def check() -> None:
        billed = [what for what in books.standing if "billed" in what]
        assert billed == ["1 billed small", "2 billed large", "3 billed large"]
        taxed = [what for what in books.standing if "taxed" in what]
        assert taxed in (["2 taxed", "3 taxed"], ["3 taxed"])

    survive(make_world, client, check)


@flowtx.workflow
async def diary(tx: flowtx.Tx, pages: tuple[str, ...] = ()) -> tuple[str, ...]:
    page = await tx.signal("page", type=str)
    if page == "the end":
        return pages
    return tx.restart((*pages, page))


def test_a_loop_that_only_listens_begins_again_with_each_word_wherever_it_is_struck() -> None:
    async def client(engine: Engine) -> None:
        await engine.start(diary, gid="t")
        for day, page in enumerate(("monday", "tuesday", "the end"), 1):
            await trio.sleep_until(day * DAY_S)  # by then it is parked, and was not begun again by anything else
            with contextlib.suppress(flowtx.AlreadyFinal):  # it was heard before a crash
                await engine.signal("t", "page", page, key=page)
        assert await engine.wait("t") == ["monday", "tuesday"]

    def check() -> None:
        assert books.standing == []

    survive(lambda schedule: FreshWorld(diary, schedule), client, check)
