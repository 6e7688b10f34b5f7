"""Passes names on."""

from shop.models import Order

from .helpers import nonce, stamp
