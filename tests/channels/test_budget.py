"""Money: set aside before it is spent, given back when it was not, by days of UTC, with a reserve."""

import asyncio
from collections.abc import Coroutine
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from knell.channels.budget import UNPRICED, Budget, Charge, Spending, correct, day_of, spent_on
from knell.channels.memory import Scratch

MIDNIGHT = 1_800_057_600.0
DAY = "2027-01-16"
"""The day that begins at MIDNIGHT."""


def run(coroutine: Coroutine[Any, Any, Any]) -> Any:
    """Run to the end."""
    return asyncio.run(coroutine)


def spending(budget: Budget, memory: Scratch | None = None, at: float = MIDNIGHT) -> Spending:
    """Return the money of a channel at a time."""
    return Spending(budget, memory or Scratch(), lambda: at)


def test_a_day_is_one_of_utc() -> None:
    """It begins at midnight there, wherever the machine is."""
    assert (day_of(MIDNIGHT - 1), day_of(MIDNIGHT)) == ("2027-01-15", DAY)


def test_the_last_share_is_for_critical_events() -> None:
    """Of 1.00 at 0.10, eight go, two more if they are critical, and then nothing at all."""

    async def taken() -> list[bool]:
        money = spending(Budget(per_day=1.0, price_per_segment=0.1))
        return [await money.take(0.1, critical=n >= 9) is not None for n in range(12)]

    assert run(taken()) == [True] * 8 + [False] + [True] * 2 + [False]


def test_sums_of_prices_are_exact() -> None:
    """A thousand times 0.0083 fill 8.30 to the last one, whatever binary fractions make of it."""

    async def taken() -> int:
        money = spending(Budget(per_day=8.3, reserve=0))
        return sum([await money.take(0.0083, critical=False) is not None for _ in range(1200)])

    assert run(taken()) == 1000


def test_many_at_once_do_not_spend_it_twice() -> None:
    """What is asked for at the same time is counted one by one, also where the store takes its time."""

    class Slow(Scratch):
        async def get(self, key: str) -> Any:
            """Let everybody else go on in between."""
            found = await super().get(key)
            await asyncio.sleep(0)
            return found

    async def taken() -> tuple[int, float]:
        memory = Slow()
        money = spending(Budget(per_day=1.0, reserve=0), memory)
        charges = await asyncio.gather(*(money.take(0.1, critical=False) for _ in range(50)))
        return sum(charge is not None for charge in charges), await spent_on(memory, DAY)

    assert run(taken()) == (10, 1.0)


def test_what_was_not_sent_is_given_back() -> None:
    """And what cost another amount is put right, on the day it was set aside."""

    async def spent() -> list[float]:
        memory = Scratch()
        money = spending(Budget(per_day=1.0), memory)
        charge = await money.take(0.2, critical=False)
        assert charge is not None
        sums = [await spent_on(memory, DAY)]
        await spending(Budget(per_day=1.0), memory, MIDNIGHT + 86_400).settle(charge, 0.3)
        sums.append(await spent_on(memory, DAY))
        await money.settle(Charge(charge.at, 0.3), 0.0)
        return [*sums, await spent_on(memory, DAY)]

    assert run(spent()) == [0.2, 0.3, 0.0]


def test_the_next_day_begins_with_nothing() -> None:
    """And what was spent survives the channel object."""

    async def taken() -> list[bool]:
        memory, budget = Scratch(), Budget(per_day=0.1, reserve=0)
        return [
            await spending(budget, memory, at).take(0.1, critical=True) is not None
            for at in (MIDNIGHT - 2, MIDNIGHT - 1, MIDNIGHT, MIDNIGHT + 1)
        ]

    assert run(taken()) == [True, False, True, False]


def test_a_real_price_counts_from_then_on() -> None:
    """Dearer than thought leaves less; cheaper leaves more."""

    async def taken() -> list[bool]:
        memory = Scratch()
        money = spending(Budget(per_day=1.0, reserve=0), memory)
        assert await money.take(0.5, critical=False)
        await correct(memory, DAY, 0.45)
        dear = await money.take(0.1, critical=False)
        await correct(memory, DAY, -0.85)
        assert await spent_on(memory, DAY) == 0.1
        return [dear is not None, await money.take(0.9, critical=False) is not None]

    assert run(taken()) == [False, True]


def test_two_memories_share_nothing() -> None:
    """Each system has its own day."""

    async def taken() -> list[bool]:
        budget = Budget(per_day=0.1, reserve=0)
        return [await spending(budget).take(0.1, critical=False) is not None for _ in range(2)]

    assert run(taken()) == [True, True]


@pytest.mark.parametrize("budget", [UNPRICED, Budget()])
def test_without_an_amount_nothing_is_stopped(budget: Budget) -> None:
    """It may be counted all the same."""
    assert run(spending(budget).take(1e6, critical=False)) is not None


def test_a_refusal_says_what_to_do() -> None:
    """Amount, day, share and remedy."""
    money = spending(Budget(per_day=5.0))
    assert money.refusal(critical=False) == (
        "over the budget of 5 USD for 2027-01-16 (UTC), of which 20% are kept for critical events: "
        "replay it tomorrow, or raise budget.per_day"
    )
    assert "critical" not in money.refusal(critical=True)


@given(
    st.lists(st.tuples(st.floats(0.001, 2), st.booleans(), st.floats(0, 2)), max_size=40),
    st.floats(0.01, 20),
    st.floats(0, 1),
)
def test_no_day_is_overdrawn(
    messages: list[tuple[float, bool, float]], per_day: float, reserve: float
) -> None:
    """What is set aside never passes the day's amount, nor the part open to all while nothing is critical."""

    async def check() -> None:
        memory = Scratch()
        budget = Budget(per_day=per_day, reserve=reserve)
        money = spending(budget, memory)
        for cost, critical, actual in messages:
            charge = await money.take(cost, critical=critical)
            limit = budget.limit(critical=critical)
            assert limit is not None
            if charge is not None:
                assert await spent_on(memory, DAY) <= limit + 1e-6
                await money.settle(charge, min(actual, cost))
            assert await spent_on(memory, DAY) <= per_day + 1e-6

    run(check())


@pytest.mark.parametrize(
    "section",
    [
        {"per_day": 0},
        {"per_day": -1},
        {"per_day": "nan"},
        {"currency": "usd"},
        {"currency": "EURO"},
        {"price_per_segment": -0.1},
        {"reserve": 1.1},
        {"per_week": 5},
    ],
)
def test_mistakes_in_a_budget(section: dict[str, Any]) -> None:
    """Each is refused when the configuration is read."""
    with pytest.raises(ValidationError):
        Budget.model_validate(section)
