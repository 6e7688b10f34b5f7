"""Dice that are thrown in workflows."""

import os
import random
import secrets
import uuid
from random import choice
from uuid import uuid4 as fresh

import flowtx as f


SHARED = random.Random(42)


@f.workflow(name="lottery")
async def lottery(tx: f.Tx, people: list[str]) -> str:
    number = random.randint(1, 6)  # expect: FTX002
    winner = choice(people)  # expect: FTX002
    key = fresh()  # expect: FTX002
    node = uuid.uuid1()  # expect: FTX002
    salt = os.urandom(8)  # expect: FTX002
    token = secrets.token_hex(8)  # expect: FTX002
    dice = random.Random()  # expect: FTX002
    drawn = SHARED.random()  # expect: FTX002
    ordered = sorted(people, key=lambda _: random.random())  # expect: FTX002
    return f"{number}{winner}{key}{node}{salt!r}{token}{dice}{drawn}{ordered}"
