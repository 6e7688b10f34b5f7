"""Orders that are another in the next process."""

import glob
import os
from collections.abc import Set as AbstractSet
from pathlib import Path

from flowtx import Tx, workflow

CITIES = {"Oslo", "Rome", "Kyiv"}


async def visit(city: str) -> None:
    print(city)


@workflow
async def journey(tx: Tx, wanted: set[str], seen: AbstractSet[str], prices: dict[str, int], folder: str) -> str:
    for city in {"Oslo", "Rome"}:  # expect: FTX007
        await tx.step(visit, city)
    for city in CITIES:  # expect: FTX007
        await tx.step(visit, city)
    for city in wanted - seen:  # expect: FTX007
        await tx.step(visit, city)
    route = list(set(prices))  # expect: FTX007
    text = ", ".join(frozenset(route))  # expect: FTX007
    numbered = dict(enumerate(wanted))  # expect: FTX007
    costs = {city: 1 for city in wanted}  # expect: FTX007
    fresh = dict.fromkeys(wanted.union(seen), 0)  # expect: FTX007
    both = [city for city in prices.keys() & costs.keys()]  # expect: FTX007
    first = next(iter(seen))  # expect: FTX007
    spread = [*wanted]  # expect: FTX007
    some = set(route)
    last = some.pop()  # expect: FTX007
    one, *others = wanted  # expect: FTX007
    winner = tx.random.choice(list(wanted))  # expect: FTX007
    waits = {await tx.step(visit, city) for city in wanted}  # expect: FTX007
    for name in os.listdir(folder):  # expect: FTX008
        text += name
    text += "".join(glob.glob("*.txt"))  # expect: FTX008
    text += "".join(path.name for path in Path(folder).iterdir())  # expect: FTX008
    return f"{text}{numbered}{fresh}{both}{first}{spread}{last}{one}{others}{winner}{waits}"
