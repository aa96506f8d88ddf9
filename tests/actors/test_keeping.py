import pytest

from knell.actors.translate import keeping
from knell.config.schema import NotificationConfig, OpenChannelConfig, RetryPolicy

HOUR = 3600.0


@pytest.mark.parametrize(
    ("for_all", "for_one", "expected"),
    [(30_000, 1000, HOUR), (7_200_000, 1000, 2 * HOUR), (30_000, 10_800_000, 3 * HOUR)],
)
def test_the_longest_wait_is_that_of_any_channel(for_all: int, for_one: int, expected: float) -> None:
    """An hour at least: so long a provider may ask to be left alone."""
    section = OpenChannelConfig(name="a", type="x", retry_config=RetryPolicy(max_delay_ms=for_one))
    config = NotificationConfig(channels={"a": section}, retry_policy=RetryPolicy(max_delay_ms=for_all))
    assert keeping(config).longest_delay == expected
