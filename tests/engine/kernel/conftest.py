"""A kernel fed by hand."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import msgspec
import pytest

from flowtx_dsl.commands import Sleep
from flowtx_dsl.error_codec import encode_error
from flowtx_dsl.workflow import AnyWorkflow
from flowtx_engine.kernel.events import AnyFact, Began, Cancelled, Event, Failed, Fired, Refused, Succeeded
from flowtx_engine.kernel.kernel import Kernel
from flowtx_engine.kernel.tasks import Asked


class Play:
    """One run whose outcomes a test says; keeps the journal."""

    def __init__(self, workflow: AnyWorkflow, *, gid: str = "g") -> None:
        self.workflow = workflow
        self.kernel = Kernel(workflow, b"[]", gid=gid)
        self.kernels = [self.kernel]
        self.events: list[Event] = []
        self.orders: list[str] = []  # what the last event led to
        self.feed("", Began(workflow=workflow.name))

    def feed(self, address: str, fact: AnyFact, *, at: float = 0.0) -> None:
        at = max(at, self.events[-1].at if self.events else 0.0)
        self.events.append(Event(seq=len(self.events), at=at, address=address, fact=fact))
        self.orders = [str(order) for order in self.kernel.feed(self.events[-1])]

    def succeed(self, *addresses: str, value: object = 1) -> None:
        for address in addresses:
            call = self.asked(address).record
            self.feed(address, Succeeded(call=call, value=msgspec.Raw(msgspec.json.encode(value))))

    def refuse(self, address: str, error: Exception) -> None:
        self.feed(address, Refused(call=self.asked(address).record, error=encode_error(error)))

    def fail(self, address: str, error: Exception) -> None:
        self.feed(address, Failed(call=self.asked(address).record, error=encode_error(error)))

    def fire(self, address: str) -> None:
        command = self.asked(address).command
        assert isinstance(command, Sleep), command
        self.feed(address, Fired(until_at=command.until_at), at=command.until_at)

    def cancel(self, reason: str) -> None:
        self.feed("", Cancelled(reason=reason))

    def asked(self, address: str) -> Asked:
        asked = self.kernel.asked(address)
        assert asked is not None, f"nothing waits at {address}: {self.kernel.waiting}"
        return asked

    @property
    def waiting(self) -> list[str]:
        return [asked.address for asked in self.kernel.waiting]

    def replay(self) -> Kernel:
        """A second kernel, fed what this one was fed."""
        kernel = Kernel(self.workflow, b"[]", gid=self.kernel.gid)
        self.kernels.append(kernel)
        for event in self.events:
            kernel.feed(event)
        assert [asked.address for asked in kernel.waiting] == self.waiting
        assert kernel.ended == self.kernel.ended
        return kernel


@pytest.fixture
def play() -> Iterator[Callable[[AnyWorkflow], Play]]:
    """Begin a run."""
    plays: list[Play] = []

    def begin(workflow: AnyWorkflow) -> Play:
        plays.append(Play(workflow))
        return plays[-1]

    yield begin
    for one in plays:
        for kernel in one.kernels:
            kernel.close()
