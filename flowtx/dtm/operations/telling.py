"""What operations say to a run, and what they find out from its journal.

The law of this file: it decides by row and journal alone. Where a word ends a run, its end is taken from the run
itself and stands in the same append, so that whoever asks next sees it.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import msgspec

from flowtx_dsl.patterns.calling import WORD, Word
from flowtx_dsl.workflow import AnyWorkflow
from flowtx_engine.journal.records import Transaction
from flowtx_engine.kernel.events import AnyFact, Event, Hastened, Signalled
from flowtx_engine.kernel.kernel import Kernel
from flowtx_engine.runtime.outside import Told

_encoder = msgspec.json.Encoder()
_decoder = msgspec.json.Decoder(Word)


def fact_of(word: Word) -> Signalled:
    """A word as what its run is told."""
    return Signalled(name=WORD, value=msgspec.Raw(_encoder.encode(word)))


def words_of(events: Iterable[Event]) -> Iterator[tuple[Event, Word]]:
    """What a run was told, in order."""
    for event in events:
        if isinstance(event.fact, Signalled) and event.fact.name == WORD:
            yield event, _decoder.decode(event.fact.value)


def hastened(row: Transaction) -> Told | None:
    """Calls that wait for their next attempt are made now, by this request; None when there are none."""
    return Told(facts=(Hastened(),)) if row.last_error else None


def ending_with(workflow: AnyWorkflow, row: Transaction, events: Iterable[Event], word: Word, at: float) -> AnyFact:
    """How a run ends when it is told a word that ends it at once."""
    kernel = Kernel(workflow, row.input, gid=row.gid)
    try:
        seq = 0
        for event in events:
            kernel.feed(event)
            seq = event.seq + 1
        kernel.feed(Event(seq=seq, at=at, address="", fact=fact_of(word)))
        assert kernel.ended is not None, f"{kernel!r} goes on after {word}"
        return kernel.ended
    finally:
        kernel.close()
