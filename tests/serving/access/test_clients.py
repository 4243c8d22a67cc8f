"""A key's requests and streams are limited, each by itself."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st
from starlette.exceptions import HTTPException

from serct.serving.access.clients import Client, ClientLimits, TokenBucket
from tests.serving.test_speakers import Clock

WAITS = st.lists(st.floats(0, 200, allow_nan=False), max_size=60)


@given(st.integers(1, 100), WAITS)
def test_a_bucket_never_gives_more_than_its_rate(per_minute: int, waits: list[float]) -> None:
    clock = Clock()
    bucket = TokenBucket(per_minute, clock)
    taken: list[float] = []
    for wait in waits:
        clock.now += wait
        for _ in range(5):
            if not bucket.take():
                taken.append(clock.now)
    for first, start in enumerate(taken):
        for last in range(first, len(taken)):
            minutes = (taken[last] - start) / 60
            assert last - first + 1 <= per_minute * (1 + minutes) + 1e-6


@given(st.integers(1, 100), WAITS)
def test_it_says_how_long_to_wait(per_minute: int, waits: list[float]) -> None:
    clock = Clock()
    bucket = TokenBucket(per_minute, clock)
    for wait in waits:
        clock.now += wait
        left_s = bucket.take()
        if left_s:
            assert left_s <= 60 / per_minute + 1e-6
            clock.now += 0.98 * left_s
            assert bucket.take() > 0
            clock.now += 0.02 * left_s + 1e-6
            assert bucket.take() == 0


@given(st.integers(1, 1000))
def test_an_even_client_is_never_refused_and_a_full_one_gets_its_minute_at_once(n: int) -> None:
    clock = Clock()
    even, burst = TokenBucket(n, clock), TokenBucket(n, clock)
    assert not any(burst.take() for _ in range(n))
    assert burst.take()
    for _ in range(2 * n):
        assert not even.take()
        clock.now += 60 / n


def test_too_many_requests_say_when_to_come_back() -> None:
    clock = Clock()
    client = Client("lab", ClientLimits(requests_per_minute=20), clock)
    for _ in range(20):
        client.count_request()
    clock.now = 0.5
    with pytest.raises(HTTPException) as error:
        client.count_request()
    assert error.value.status_code == 429
    assert error.value.headers == {"Retry-After": "3"}
    assert error.value.detail == "more than 20 requests a minute with the key lab; retry after 3 s"
    assert math.ceil(TokenBucket(20, clock).take()) == 0
    clock.now = 3.5
    client.count_request()


def test_streams_end_their_count_with_the_block() -> None:
    client = Client("lab", ClientLimits(streams=1))
    refused = pytest.raises(HTTPException, match="1 streams open with the key lab")
    with client.stream(), refused, client.stream():
        raise AssertionError
    with pytest.raises(ZeroDivisionError), client.stream():
        raise ZeroDivisionError
    with client.stream():
        pass
