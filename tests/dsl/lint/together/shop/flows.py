"""The workflow whose helpers live in other files."""

import shop.helpers as h
from flowtx import Tx, workflow
from shop.api import nonce

from . import steps
from .helpers import cached, in_branch, pure, stamp
from .helpers import untyped as helper
from .models import Order
from .steps import charge


@workflow
async def fulfil(tx: Tx, order: Order) -> str:
    a = stamp()
    b = nonce()
    c = h.cached()
    await helper(tx, "x")
    async with tx.open_nursery() as nursery:
        await in_branch(tx, nursery)
        nursery.start_step(steps.charge, order)
    if order.is_late():
        await tx.step(charge, order)
    await tx.step(steps.untyped, order)
    charge(order)  # expect: FTX013
    new = Order("x")
    return f"{a}{b}{c}{pure(3)}{new.total}"
