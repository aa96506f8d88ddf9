"""The suite passes a good channel, and catches each mutant by the checks that are meant for it."""

from pathlib import Path

import pytest

PAGERS = Path(__file__).with_name("pagers.py")

CASE = """
import knell.testing
from pagers import {name}

class TestPager(knell.testing.ChannelConformance):
    channel = {name}

    def section(self, stage):
        return {{"url": stage.url, "token": stage.secret("token")}}
"""

CAUGHT = {
    "Pager": set[str](),
    "LeaksItsToken": {"every_status", "a_redirect_is_not_followed", "a_bad_certificate"},
    "LogsItsToken": {"every_event_is_taken", "no_answer", "every_status", "no_secret_is_stored_or_counted"},
    "ShowsItsToken": {"secrets_are_masked"},
    "ReturnsNothing": {"every_event_is_taken", "no_answer", "every_status"},
    "TakesTimeoutsForDelivered": {"no_answer"},
    "TakesLostAnswersForNotSent": {"no_answer", "a_connection_lost_after_the_work"},
    "PagesInHealthChecks": {"a_health_check_sends_nothing"},
    "SwallowsCancellation": {"a_send_cancelled_under_way", "a_cancelled_send_leaves_nothing"},
    "TriesRateLimitsAtOnce": {"retry_after"},
    "GivesUpTooSoon": {"every_status"},
    "LeavesATask": {"close_gives_everything_back"},
    "RaisesOnLongTexts": {"the_worst_of_texts_are_taken"},
    "OwnClient": {"a_redirect_is_not_followed", "a_bad_certificate", "an_endless_answer"},
    "KeepsItsSocket": {"close_gives_everything_back"},
}
"""Mutant -> the checks that must fail; others may."""

ALONE = {"ShowsItsToken", "TakesTimeoutsForDelivered", "PagesInHealthChecks", "TriesRateLimitsAtOnce", "GivesUpTooSoon"}
"""Those at which nothing else may fail: the suite says what is wrong, and no more."""


def failed(pytester: pytest.Pytester, name: str, *arguments: str) -> set[str]:
    """Run the suite on a channel in a session of its own, and return the checks that failed."""
    pytester.makepyfile(pagers=PAGERS.read_text())
    pytester.makepyfile(test_pager=CASE.format(name=name))
    ran = pytester.runpytest_subprocess("-q", "-p", "no:cacheprovider", "-W", "error", *arguments)
    lines = [line for line in ran.outlines if line.startswith(("FAILED", "ERROR"))]
    assert any(" passed" in line or " failed" in line for line in ran.outlines), ran.outlines
    return {line.split("::test_")[1].split(" ")[0].split("[")[0] for line in lines}


@pytest.mark.timeout(300)
@pytest.mark.parametrize("name", sorted(CAUGHT))
def test_what_the_suite_catches(pytester: pytest.Pytester, name: str) -> None:
    """Each mutant fails the checks of what it does wrong; the good channel fails none."""
    wanted = CAUGHT[name]
    chosen = ["-k", " or ".join(wanted)] if wanted and name not in ALONE else []
    found = failed(pytester, name, *chosen)
    assert wanted <= found
    if name in ALONE or not wanted:
        assert found == wanted
