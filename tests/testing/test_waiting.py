from __future__ import annotations

import asyncio

import pytest

from async_mongo_pool.testing import wait_until, wait_until_async


def test_it_looks_until_the_condition_is_true() -> None:
    looks = iter([False, False, True])
    wait_until(lambda: next(looks), interval=0.001)


def test_it_says_what_it_waited_for_and_how_long() -> None:
    with pytest.raises(TimeoutError, match=r"waited 0\.05 s in vain for the cows"):
        wait_until(lambda: False, timeout=0.05, message=lambda: "the cows")


async def test_the_asynchronous_one_takes_both_kinds_of_conditions() -> None:
    looks = iter([False, True, False, True])

    async def look() -> bool:
        return next(looks)

    await wait_until_async(look, interval=0.001)
    await wait_until_async(lambda: next(looks), interval=0.001)


async def test_the_bound_holds_for_an_awaited_condition_too() -> None:
    with pytest.raises(TimeoutError, match=r"waited 0\.05 s in vain for the cows"):
        await wait_until_async(lambda: asyncio.sleep(60), timeout=0.05, message="the cows")


async def test_a_timeout_of_the_condition_itself_passes_unchanged() -> None:
    async def look() -> bool:
        raise TimeoutError("mine")

    with pytest.raises(TimeoutError, match=r"^mine$"):
        await wait_until_async(look)
