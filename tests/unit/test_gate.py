from __future__ import annotations

import pytest

from redpajama_pipe.errors import GateError, ReconcileError
from redpajama_pipe.gate import Loss, check_bucket, check_component, check_shares

KEY = "dedup.max_dropped_share"
GUTENBERG = Loss("gutenberg", 53_000, 51_160)
CALLS = Loss("function_calling", 859_092, 859_090)
WEB = Loss("web", 1000, 900)


def test_losses_up_to_the_limit_pass() -> None:
    check_shares([WEB, Loss("books", 10, 0), Loss("empty", 0, 0)], 0.9, key=KEY)


def test_losses_over_the_limit_are_listed_with_the_key_that_allows_them() -> None:
    with pytest.raises(GateError) as caught:
        check_shares([WEB, GUTENBERG, CALLS], 0.9, key=KEY)
    assert str(caught.value) == (
        "too much would be dropped (2 over the limit of 90 %, 3 in all): "
        "source function_calling: 859,090 of 859,092 documents, 99.999 %; "
        "source gutenberg: 51,160 of 53,000 documents, 96.528 %. "
        "Read some of the decisions; if they are right, set dedup.max_dropped_share=1 or more"
    )


def test_the_share_offered_is_one_that_passes() -> None:
    with pytest.raises(GateError, match=r"set dedup\.max_dropped_share=0\.966 or more"):
        check_shares([GUTENBERG], 0.9, key=KEY)
    check_shares([GUTENBERG], 0.966, key=KEY)


def test_a_limit_of_zero_allows_nothing() -> None:
    check_shares([Loss("web", 1000, 0)], 0, key=KEY)
    with pytest.raises(GateError, match=r"language de: 1 of 1,000 documents, 0\.1 %"):
        check_shares([Loss("de", 1000, 1)], 0, key=KEY, group="language")


def test_more_dropped_than_there_were_do_not_reconcile() -> None:
    with pytest.raises(ReconcileError, match=r"source web: 11 of 10 documents dropped"):
        check_shares([Loss("web", 10, 11)], 1.0, key=KEY)


def test_a_bucket_is_allowed_up_to_its_limit() -> None:
    check_bucket(3, 1000, [], 1000)
    with pytest.raises(GateError) as caught:
        check_bucket(3, 1001, [bytes([0xAB] * 16), bytes(16)], 1000)
    assert str(caught.value).startswith(
        "band 3: 1,001 documents share one key, more than dedup.max_bucket=1,000; "
        f"among them {'ab' * 16}, {'00' * 16}. "
    )
    assert str(caught.value).endswith("or set dedup.max_bucket=1001 to go on")


def test_a_component_is_allowed_up_to_its_limit() -> None:
    check_component(10, 0, [], 10)
    with pytest.raises(GateError) as caught:
        check_component(11, 2, [bytes([0xAB] * 16)], 10)
    assert str(caught.value).startswith(
        "11 documents hang together by shared bands, more than dedup.max_component=10 (2 such components); "
        f"among them {'ab' * 16}. "
    )
    assert str(caught.value).endswith("or set dedup.max_component=11 to go on")
