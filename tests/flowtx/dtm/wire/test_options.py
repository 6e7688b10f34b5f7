"""Options as they are stored, and what a submission changes of them."""

from __future__ import annotations

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from flowtx.dtm.wire.options import INTERVAL_MAX_S, StoredOptions, base_interval_s, merged, options_of
from flowtx.dtm.wire.requests import TransactionRequest

seconds = st.sampled_from([0, 1, 7, 35, 120])
requests = st.builds(
    TransactionRequest,
    custom_data=st.sampled_from(["", '{"delay":1}']),
    query_prepared=st.sampled_from(["", "http://a", "http://b"]),
    protocol=st.sampled_from(["", "http", "grpc"]),
    wait_result=st.booleans(),
    timeout_to_fail=seconds,
    request_timeout=seconds,
    retry_interval=seconds,
    branch_headers=st.sampled_from([{}, {"a": "1"}]),
    concurrent=st.booleans(),
    retry_limit=seconds,
)
options = requests.map(lambda request: options_of(request, retry_interval_s=10))


@given(options, options)
def test_what_a_submission_names_counts_and_the_rest_stays(stored: StoredOptions, submitted: StoredOptions) -> None:
    both = merged(stored, submitted, retry_interval_s=10)
    for field in msgspec.structs.fields(StoredOptions):
        name = field.name
        if name in ("interval", "protocol"):
            continue
        named = getattr(submitted, name)
        assert getattr(both, name) == (named if named else getattr(stored, name)), name
    assert both.protocol == stored.protocol, "the branches that are stored are called as they were ordered"
    assert both.interval == base_interval_s(both.retry_interval, both.timeout_to_fail, retry_interval_s=10)


@given(options)
def test_submitting_with_the_same_options_changes_nothing(stored: StoredOptions) -> None:
    assert merged(stored, stored, retry_interval_s=10) == stored


@pytest.mark.parametrize(
    ("asked_s", "timeout_s", "base_s"),
    [(0, 0, 10), (3, 0, 3), (3, 1, 3), (0, 4, 4), (0, 10, 10), (0, 99, 10), (-5, 0, 1), (2**62, 0, INTERVAL_MAX_S)],
)
def test_the_base_of_pauses_is_the_reset_rules(asked_s: int, timeout_s: int, base_s: int) -> None:
    assert base_interval_s(asked_s, timeout_s, retry_interval_s=10) == base_s
