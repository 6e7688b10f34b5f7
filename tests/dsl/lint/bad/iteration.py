"""Sets whose order leaks, by loops, comprehensions, unpacking, joins and what makes lists of them."""

import os
from collections.abc import Set as AbstractSet
from dataclasses import dataclass
from pathlib import Path

from flowtx import Tx, workflow


def visit(name: str) -> str:
    return name


@dataclass
class Batch:
    names: set[str]
    prices: dict[str, int]


@workflow
async def leaks(
    tx: Tx, names: list[str], seen: frozenset[str], wanted: AbstractSet[str], batch: Batch
) -> list[str]:
    unique = set(names)
    for name in unique:  # expect: FTX007
        await tx.step(visit, name)
    for _, name in enumerate({*names, "x"}):  # expect: FTX007
        await tx.step(visit, name)
    for name in set(names) - set(seen):  # expect: FTX007
        await tx.step(visit, name)
    visited = [await tx.step(visit, name) for name in {n.lower() for n in names}]  # expect: FTX007
    listed = list(unique)  # expect: FTX007
    joined = ", ".join(unique)  # expect: FTX007
    first, *_ = unique  # expect: FTX007
    popped = unique.pop()  # expect: FTX007
    pairs = list(zip(unique, range(3)))  # expect: FTX007
    keyed = {name: len(name) for name in seen}  # expect: FTX007
    one = next(iter(wanted))  # expect: FTX007
    async with tx.open_nursery() as nursery:
        for name in wanted:  # expect: FTX007
            nursery.start_step(visit, name)
    await tx.step(visit, *seen)  # expect: FTX007
    for name in batch.names:  # expect: FTX007
        await tx.step(visit, name)
    for name in batch.prices.keys() & names:  # expect: FTX007
        await tx.step(visit, name)
    reverse = tuple(unique)  # expect: FTX007
    for child in Path("/data").iterdir():  # expect: FTX008
        await tx.step(visit, child.name)
    for name in os.listdir("/data"):  # expect: FTX008
        await tx.step(visit, name)
    return [*visited, *listed, joined, first, popped, *map(str, pairs), *keyed, one, *reverse]
