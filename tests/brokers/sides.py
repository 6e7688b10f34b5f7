"""The kinds of brokers that tests run against."""

from __future__ import annotations

from tests.brokers.amqp_side import AmqpSide
from tests.brokers.nats_side import NatsSide
from tests.brokers.redis_side import RedisSide
from tests.brokers.side import Side

SIDES: dict[str, type[Side]] = {"amqp": AmqpSide, "nats": NatsSide, "redis": RedisSide}
"""By the names that flowtx has for them."""
