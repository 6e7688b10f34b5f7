"""DTM's saga as a workflow: what it asks for, in which order, and what it makes of a refusal."""

from __future__ import annotations

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from flowtx_dsl.commands import Compensate, Sleep, Step
from flowtx_dsl.error_codec import encode_error
from flowtx_dsl.errors import Ongoing, Refused, StepFault
from flowtx_dsl.patterns.calling import PAUSE_MAX_S, WORD, Word, retry_of
from flowtx_dsl.patterns.saga import SagaOrder, SagaStep, saga
from flowtx_dsl.targets import GrpcTarget, HttpTarget, JsonRpcTarget
from flowtx_engine.kernel import events
from flowtx_engine.kernel.events import Began, Event, Failed, Fired, Signalled, Succeeded
from flowtx_engine.kernel.kernel import Kernel
from flowtx_engine.kernel.tasks import Asked, Order


def order_with(step_count: int, **more: object) -> SagaOrder:
    usual = SagaOrder(
        steps=tuple(
            SagaStep(
                branch_id=f"{i + 1:02d}", action=f"http://p/do{i}", compensate=f"http://p/undo{i}", payload=b"%d" % i
            )
            for i in range(step_count)
        ),
        branch_headers=(("x-tenant", "t1"),),
        request_timeout_s=3.0,
        retry_interval_s=10.0,
    )
    return msgspec.structs.replace(usual, **more)


class Run:
    """A saga in a kernel, fed by hand."""

    def __init__(self, order: SagaOrder, *, is_prepared: bool = False) -> None:
        self.kernel = Kernel(saga, msgspec.json.encode([order]), gid="g")
        self.calls: list[str] = []
        self._seq = 0
        self._feed("", Began(workflow="dtm.saga", is_prepared=is_prepared))

    def _feed(self, address: str, fact: events.AnyFact, *, at: float = 0.0) -> None:
        orders: list[Order] = self.kernel.feed(Event(seq=self._seq, at=at, address=address, fact=fact))
        self._seq += 1
        asked = [order for order in orders if isinstance(order, Asked) and not isinstance(order.command, Sleep)]
        self.calls += [_url(order) for order in asked]

    @property
    def asked(self) -> Asked:
        (asked,) = self.kernel.waiting
        return asked

    @property
    def waiting(self) -> list[str]:
        """What is on its way: the ends of the URLs."""
        return [_url(asked).rpartition("/")[2] for asked in self.kernel.waiting if not isinstance(asked.command, Sleep)]

    def _asked_at(self, url: str) -> Asked:
        """The call of a URL that ends so, or the only one there is."""
        calls = [asked for asked in self.kernel.waiting if not isinstance(asked.command, Sleep)]
        (found,) = [asked for asked in calls if not url or _url(asked).endswith(f"/{url}")]
        return found

    def succeed(self, url: str = "") -> None:
        asked = self._asked_at(url)
        self._feed(asked.address, Succeeded(call=asked.record))

    def refuse(self, message: str, url: str = "") -> None:
        asked = self._asked_at(url)
        self._feed(asked.address, events.Refused(call=asked.record, error=encode_error(Refused(message))))

    def give_up(self, error: Exception, url: str = "") -> None:
        """As the engine does after the last attempt that the step's policy allows."""
        asked = self._asked_at(url)
        assert isinstance(asked.command, Step)
        assert asked.command.retry.gives_up(error, 1)
        self._feed(asked.address, Failed(call=asked.record, error=encode_error(error)))

    def pass_deadline(self) -> None:
        (timer,) = [asked for asked in self.kernel.waiting if isinstance(asked.command, Sleep)]
        assert isinstance(timer.command, Sleep)
        self._feed(timer.address, Fired(until_at=timer.command.until_at), at=timer.command.until_at)

    def tell(self, word: Word, *, at: float = 0.0) -> None:
        self._feed("", Signalled(name=WORD, value=msgspec.Raw(msgspec.json.encode(word))), at=at)

    @property
    def reason(self) -> str:
        assert self.kernel.cause is not None
        return self.kernel.cause.text

    @property
    def status(self) -> str:
        return self.kernel.phase if self.kernel.ended is None else self.kernel.ended.status


def _url(asked: Asked) -> str:
    assert isinstance(asked.command, Step | Compensate)
    return asked.command.call.name


@given(st.integers(0, 6), st.data())
def test_a_saga_goes_forward_and_back_in_order(step_count: int, data: st.DataObject) -> None:
    refused = data.draw(st.integers(0, step_count))  # step_count: none is refused
    run = Run(order_with(step_count))
    for i in range(step_count):
        if i == refused:
            run.refuse("no FAILURE")
            break
        run.succeed()
    there = [f"http://p/do{i}" for i in range(min(refused + 1, step_count))]
    if refused == step_count:
        assert (run.status, run.calls) == ("succeed", there)
        return
    assert run.status == "compensating"
    while run.status == "compensating":
        run.succeed()
    back = [f"http://p/undo{i}" for i in reversed(range(refused + 1))]
    assert (run.status, run.calls) == ("failed", there + back)


def test_a_refusal_becomes_the_reason_with_its_url() -> None:
    run = Run(order_with(2))
    run.succeed()
    run.refuse("not enough money FAILURE")
    assert run.reason == "url:http://p/do1 return failed: not enough money FAILURE"


def test_a_call_carries_what_dtm_participants_expect() -> None:
    run = Run(order_with(2, request_timeout_s=7.0))
    run.succeed()
    command = run.asked.command
    assert isinstance(command, Step)
    assert command.timeout_s == 7.0
    assert command.call.body == b"1"
    assert command.compensation is not None
    assert command.compensation.body == b"1"
    target: HttpTarget[None] = HttpTarget(
        url="http://p/do1",
        headers=(("x-tenant", "t1"),),
        result_type=None,
        branch_id="02",
        op="action",
        trans_type="saga",
    )
    assert command.call.target == target


def before(i: int) -> st.SearchStrategy[tuple[int, ...]]:
    return st.sets(st.integers(0, i - 1)).map(lambda steps: tuple(sorted(steps))) if i else st.just(())


graphs = st.integers(1, 6).flatmap(lambda count: st.tuples(*map(before, range(count))))


@given(graphs, st.permutations(range(6)), st.sampled_from([0, 3]), st.data())
def test_a_concurrent_saga_keeps_its_orders_there_and_back(
    graph: tuple[tuple[int, ...], ...], names: list[int], retry_limit: int, data: st.DataObject
) -> None:
    """Whatever the graph, the sequence of outcomes, and the step that is refused."""
    place = {old: new for new, old in enumerate(i for i in names if i < len(graph))}
    after = tuple(tuple(place[j] for j in graph[old]) for old in sorted(place, key=lambda old: place[old]))
    run = Run(order_with(len(after), concurrent=True, after=after, retry_limit=retry_limit))
    refused = data.draw(st.integers(0, len(after)))
    done: set[int] = set()
    while run.status == "running":
        on_their_way = {int(name[2:]) for name in run.waiting}
        assert on_their_way == {i for i in range(len(after)) if i not in done and done.issuperset(after[i])}
        i = data.draw(st.sampled_from(sorted(on_their_way)))
        if i == refused:
            run.refuse("no", f"do{i}")
        else:
            run.succeed(f"do{i}")
            done.add(i)
    if refused == len(after):
        assert (run.status, done) == ("succeed", set(range(len(after))))
        return
    due = {int(url[-1]) for url in run.calls if "/do" in url}
    assert run.reason == f"url:http://p/do{refused} return failed: no"
    taken_back: set[int] = set()
    while run.status == "compensating":
        i = data.draw(st.sampled_from(sorted(int(name[4:]) for name in run.waiting)))
        later = {j for j in due if i in after[j]}
        assert later <= taken_back, f"step {i} is taken back before {later}, which came after it"
        run.succeed(f"undo{i}")
        taken_back.add(i)
    assert (run.status, taken_back) == ("failed", due)


def test_the_first_refusal_is_the_reason() -> None:
    run = Run(order_with(2, concurrent=True))
    run.refuse("first", "do1")
    assert run.reason == "url:http://p/do1 return failed: first"


@pytest.mark.parametrize("concurrent", [False, True])
def test_time_turns_a_saga_round_and_only_what_was_asked_is_taken_back(concurrent: bool) -> None:
    after = ((), (0,)) if concurrent else ()
    run = Run(order_with(2, timeout_s=1800, concurrent=concurrent, after=after))
    assert run.waiting == ["do0"]
    run.pass_deadline()
    assert run.reason == "Timeout after 1800 seconds"
    assert run.waiting == ["undo0"]
    run.succeed()
    assert (run.status, run.calls) == ("failed", ["http://p/do0", "http://p/undo0"])


def test_a_prepared_saga_calls_nobody_until_it_is_submitted_and_then_by_what_was_ordered_last() -> None:
    run = Run(order_with(2), is_prepared=True)
    assert (run.waiting, run.kernel.status) == ([], "prepared")
    run.tell(Word(kind="hurry"))
    assert run.waiting == []
    ordered_last = order_with(2, concurrent=True, steps=())
    run.tell(Word(kind="submit", data=msgspec.Raw(msgspec.json.encode(ordered_last))))
    assert (run.waiting, run.kernel.status) == (["do0", "do1"], "submitted")


def test_the_timeout_of_a_prepared_saga_counts_from_its_creation() -> None:
    run = Run(order_with(1), is_prepared=True)
    ordered_last = order_with(1, timeout_s=100, steps=())
    run.tell(Word(kind="submit", data=msgspec.Raw(msgspec.json.encode(ordered_last))), at=70.0)
    (timer,) = [asked for asked in run.kernel.waiting if isinstance(asked.command, Sleep)]
    assert isinstance(timer.command, Sleep)
    assert timer.command.until_at == 100.0


def test_a_saga_that_is_done_in_time_succeeds() -> None:
    run = Run(order_with(1, timeout_s=1800))
    run.succeed()
    assert run.status == "succeed"


@given(st.integers(1, 3), st.booleans(), st.data())
def test_calls_without_outcome_are_limited_over_the_whole_saga(
    limit: int, concurrent: bool, data: st.DataObject
) -> None:
    run = Run(order_with(3, retry_limit=limit, concurrent=concurrent))
    fault_count = 0
    while run.status == "running":
        url = data.draw(st.sampled_from(run.waiting))
        if data.draw(st.booleans()):
            run.succeed(url)
            continue
        fault_count += 1
        run.give_up(data.draw(st.sampled_from([StepFault("broken"), Ongoing("ONGOING")])), url)
        assert (run.status == "running") == (fault_count <= limit)
    if run.status == "succeed":
        return
    assert fault_count == limit + 1
    assert run.reason == f"RetryCount is greater than RetryLimit, RetryLimit: {limit}"
    asked = {url for url in run.calls if "/do" in url}
    while run.status == "compensating":
        run.succeed(run.waiting[0])
    undone = [url for url in run.calls if "/undo" in url]
    assert sorted(undone) == sorted(url.replace("/do", "/undo") for url in asked), "each branch once"


def test_calls_of_one_branch_have_one_key() -> None:
    run = Run(order_with(1, retry_limit=1))
    first = run.asked.command
    run.give_up(StepFault("broken"))
    second = run.asked.command
    assert isinstance(first, Step)
    assert isinstance(second, Step)
    assert first.call.target == second.call.target
    assert isinstance(first.call.target, HttpTarget)
    assert ("Idempotency-Key", "g/01/action") in first.call.target.headers


@pytest.mark.parametrize(
    ("protocol", "url", "kind"),
    [
        ("http", "http://p/do", HttpTarget),
        ("grpc", "p:50051/s.S/Do", GrpcTarget),
        ("grpc", "http://p/do", HttpTarget),
        ("json-rpc", "http://p/rpc?method=do", JsonRpcTarget),
        ("json-rpc", "http://p/do", HttpTarget),
    ],
)
def test_the_transport_is_dtms_choice_by_protocol_and_url(protocol: str, url: str, kind: type) -> None:
    steps = (SagaStep(branch_id="01", action=url, compensate=url, payload=b"{}"),)
    command = Run(order_with(1, protocol=protocol, steps=steps)).asked.command
    assert isinstance(command, Step)
    assert command.compensation is not None
    assert isinstance(command.call.target, kind)
    assert isinstance(command.compensation.target, kind)


@given(st.integers(1, 3600), st.integers(0, 80), st.floats(0, 1))
def test_pauses_double_from_the_base_up_to_a_cap(base_s: int, fault_count: int, dice: float) -> None:
    pause_s = retry_of(float(base_s)).pause_s(fault_count, dice)
    assert pause_s == min(base_s * 2**fault_count, max(PAUSE_MAX_S, 2 * base_s))


@pytest.mark.parametrize(("fault_count", "pause_s"), [(0, 10), (1, 20), (2, 40), (3, 80)])
def test_pauses_of_the_default_interval_are_dtms(fault_count: int, pause_s: float) -> None:
    assert retry_of(10.0).pause_s(fault_count, 0.5) == pause_s


@given(st.binary(max_size=50))
def test_a_payload_survives_the_journal(payload: bytes) -> None:
    order = SagaOrder(
        steps=(SagaStep(branch_id="01", action="", compensate="", payload=payload),),
        request_timeout_s=1.0,
        retry_interval_s=1.0,
    )
    assert saga.signature.decode_args(msgspec.json.encode([order])) == (order,)
