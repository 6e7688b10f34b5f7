"""What laws about garbage need."""

import gc
from collections.abc import Generator

import pytest


@pytest.fixture(scope="module")
def only_garbage_from_now_on() -> Generator[None]:
    """The garbage collector does not look through what was there before.

    In the middle of a whole run that takes half a second, and a property collects after every example.
    """
    gc.collect()
    gc.freeze()
    yield
    gc.unfreeze()
