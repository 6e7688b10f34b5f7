"""Gids that the server makes: a version 4 UUID in base 57 (spec 1, "Generated ids")."""

from __future__ import annotations

from uuid import UUID, uuid4

# No I, O, l, 0 or 1. Because I is missing, no gid can hold the words FAILURE or ONGOING, which clients search for.
ALPHABET = "23456789ABCDEFGHJKLMNPQRSTUVWXYZabcdefghijkmnopqrstuvwxyz"
LENGTH_MIN = 13


def new_gid() -> str:
    """A gid that nobody has; usually 22 characters."""
    return spell_uuid(uuid4())


def spell_uuid(uuid: UUID) -> str:
    """A UUID in base 57, least significant digit first, filled up with zeros (which are ``2``) on the right."""
    digits: list[str] = []
    rest = uuid.int
    while rest:
        rest, digit = divmod(rest, len(ALPHABET))
        digits.append(ALPHABET[digit])
    return "".join(digits).ljust(LENGTH_MIN, ALPHABET[0])
