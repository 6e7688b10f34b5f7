"""Attackers that speak HTTP well and JSON badly: bodies and queries of DTM's API, and calls of JSON-RPC."""

from __future__ import annotations

from urllib.parse import quote

from tests.compat.dtm import API
from tests.fuzz import nonsense
from tests.fuzz.scene import RPC, Scene

BINARY = "%00%ff%fe%C3%28"


async def attack_json(scene: Scene) -> None:
    """Whole requests with nonsense in them, until cancelled."""
    dice = scene.dice
    while True:
        match dice.randrange(4):
            case 0:
                await scene.ask("GET", f"{API}/{dice.choice(nonsense.LOOKS)}?{query(scene)}")
            case 1:
                name = quote(dice.choice(nonsense.TEXTS).encode("utf-8", "surrogatepass"), safe="")
                await scene.ask("DELETE", f"{API}/topic/{name}")
            case _:
                await scene.ask("POST", f"{API}/{dice.choice(nonsense.OPERATIONS)}", nonsense.body(dice))


async def attack_rpc(scene: Scene) -> None:
    """Calls of JSON-RPC with nonsense in them, until cancelled."""
    while True:
        body = nonsense.call(scene.dice) if scene.dice.random() < 0.8 else nonsense.body(scene.dice)
        await scene.ask("POST", RPC, body)


def query(scene: Scene) -> str:
    """A query string that may hold anything."""
    dice = scene.dice
    values = (*nonsense.TEXTS, *nonsense.NUMBERS, f"n-{dice.randrange(200)}")
    pairs = [
        f"{dice.choice(nonsense.PARAMETERS)}={quote(dice.choice(values).encode('utf-8', 'surrogatepass'), safe='')}"
        for _ in range(dice.randrange(5))
    ]
    return dice.choice(("&", "&", ";", "&&")).join(pairs) + dice.choice(("", "", "&", "=", "%", BINARY))
