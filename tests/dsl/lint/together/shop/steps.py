"""Steps: everything is allowed in them but what travels badly."""

import time

import requests

from .models import Order


def charge(order: Order) -> float:
    requests.post("x")
    return time.time()


def untyped(order):  # expect: FTX041, FTX041
    return order


def stream(order: Order) -> list[int]:
    return []
