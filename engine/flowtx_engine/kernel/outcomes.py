"""Outcomes: what became of a run's steps, and of those that may be made once only, whether anybody knows.

The law of this file: a step that may be made once only is in doubt from the fact that says so until an outcome or a
person's decision is fed. One that the run gave up meanwhile is kept in mind, because what it did may have to be taken
back, and what it did not do must not be.
"""

from __future__ import annotations

from typing import assert_never

from flowtx_dsl.codec import misfit
from flowtx_dsl.commands import Step
from flowtx_dsl.error_codec import decode_error, encode_error
from flowtx_dsl.errors import FlowtxError
from flowtx_dsl.errors import Refused as RefusedError
from flowtx_engine.kernel import mismatch
from flowtx_engine.kernel.events import Attempted, Decided, Doubted, Failed, Refused, Started, Succeeded
from flowtx_engine.kernel.tasks import Asked, Wait
from flowtx_engine.kernel.words import Words


class Outcomes(Words):
    """The part of a run that takes outcomes of steps."""

    __slots__ = ()

    def _take_succeeded(self, asked: Asked | None, fact: Succeeded) -> None:
        if asked is None:
            return
        command = asked.command
        value: object = None
        if isinstance(command, Step):
            decoder = command.call.target.result
            try:
                value = decoder.decode_plainly(fact.value)
            except Exception as error:  # as in Decoder.decode, whose text costs more than most results
                unfit = misfit(f"the result of {command.call.name}", decoder.wanted, error)
                raise mismatch.misfit(self.name, asked, unfit.message) from error
            if command.compensation is not None or command.confirmation is not None:
                registered = self._registered.get(asked.address) or asked.entry
                if registered is not None:
                    registered.result = bytes(fact.value)
        self._answer(asked, value, None)

    def _take_attempted(self, asked: Asked | None, fact: Attempted) -> None:
        if asked is not None:
            asked.attempt_count = fact.attempt
            asked.fault_count = fact.fault_count
            asked.retry_at = fact.retry_at
            asked.error = fact.error

    def _take_error(self, asked: Asked | None, fact: Refused | Failed) -> None:
        if asked is None:
            return
        command = asked.command
        assert isinstance(command, Step), f"{self.name}: {asked} was given up, but it is tried for ever"
        if isinstance(fact, Refused) and not command.compensates_refused:
            self._registered.pop(asked.address, None)
            if asked.entry is not None:
                asked.entry.is_void = True
        self._answer(asked, None, decode_error(fact.error))

    @property
    def unanswered(self) -> list[Asked]:
        """Steps that may be made once only, were started, and have neither an outcome nor are in doubt yet."""
        return [asked for asked in self._once_steps() if asked.is_started and not asked.is_in_doubt]

    @property
    def undecided(self) -> list[Asked]:
        """Steps that keep the run waiting until a person says what became of them."""
        return [asked for asked in self._once_steps() if asked.is_in_doubt]

    def _once_steps(self) -> list[Asked]:
        if not self.has_once:
            return []
        waiting = [asked for asked in self._asked.values() if asked.is_once]
        return waiting + [self._doubtful[address] for address in self._deciding]

    def _take_doubt(self, asked: Asked | None, fact: Started | Doubted) -> None:
        """An attempt begins, or nobody knows what became of it."""
        if asked is None:
            return
        asked.is_started = True
        if isinstance(fact, Doubted):
            asked.is_in_doubt = True
            asked.attempt_count = fact.attempt
            asked.error = fact.error

    def _take_decided(self, asked: Asked | None, fact: Decided) -> None:
        """A person knows what became of a step; a decision that came late, or has an unfit value, changes nothing."""
        if asked is None or not asked.is_in_doubt:
            return
        match fact.verdict:
            case "succeeded":
                try:
                    check_decided(asked, bytes(fact.value))
                except FlowtxError as unfit:
                    asked.error = encode_error(unfit)
                    return
                self._take_succeeded(asked, Succeeded(call=fact.call, value=fact.value))
            case "refused":
                self._take_error(asked, Refused(call=fact.call, error=encode_error(RefusedError(fact.reason))))
            case "retry":
                if asked.address not in self._doubtful:  # else nobody waits for it any more
                    asked.is_started = asked.is_in_doubt = False
            case _:
                assert_never(fact.verdict)

    def _hasten(self, at: float) -> None:
        """What is to be attempted later is due now."""
        for asked in self._asked.values():
            asked.retry_at = min(asked.retry_at, at)

    async def _decision(self, address: str) -> None:
        """Wait until it is known whether a step that may be made once only has happened."""
        self._deciding[address] = self.speaking()
        await Wait(_never, f"the outcome of the step at {address}")

    def _answer(self, asked: Asked, value: object, error: BaseException | None) -> None:
        """Let who waits for it go on; for what was given up, that is who must know whether to take it back."""
        if not self._doubtful or self._doubtful.pop(asked.address, None) is None:
            self._resume(asked, value, error)
        elif asked.address in self._deciding:
            self.reschedule(self._deciding.pop(asked.address))


def check_decided(asked: Asked, value: bytes) -> None:
    """Raise ``PayloadError`` unless a step can have this as its result (JSON)."""
    assert isinstance(asked.command, Step), asked
    what = f"the result decided for {asked.command.call.name} at {asked.address}"
    decoder = asked.command.call.target.result
    decoder.decode(value, what=what)


def _never() -> bool:
    return False
