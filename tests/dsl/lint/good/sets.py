"""Sets used where their order does not matter, or after it was made."""

from collections import Counter

from flowtx import Tx, workflow

KNOWN = {"a", "b"}


def visit(name: str) -> int:
    return len(name)


@workflow
async def harmless(tx: Tx, wanted: set[str], prices: dict[str, int]) -> list[str]:
    for name in sorted(wanted):
        await tx.step(visit, name)
    for name in sorted(wanted | KNOWN, key=str.lower):
        await tx.step(visit, name)
    for name in prices:
        await tx.step(visit, name)
    for name in prices.keys():
        await tx.step(visit, name)
    total = sum(prices[name] for name in wanted)
    cheapest = min(wanted, key=prices.__getitem__)
    has_all = all(name in prices for name in wanted) and any(KNOWN)
    upper = {name.upper() for name in wanted}
    ordered = sorted(name.lower() for name in upper)
    counted = Counter(wanted)
    listed = sorted(list(wanted))
    mapped = sorted(map(str.upper, wanted))
    merged = {*wanted, *KNOWN}
    wanted.discard("x")
    seen: set[str] = set()
    for name in ordered:
        if name not in seen:
            seen.add(name)
    last = ordered.pop()
    names = ["x"]
    names = list(names)
    text = ",".join(names) + ",".join(sorted(seen))
    print(total, cheapest, has_all, counted, listed, mapped, merged, last, f"{seen}")
    return [text, *ordered]
