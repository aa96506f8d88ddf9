"""The suite passes a good channel, and catches each mutant by the checks that are meant for it."""

import gc
import warnings
from importlib import import_module
from pathlib import Path
from typing import Any

import pytest

from knell.testing import ChannelConformance

import_module("trustme")  # by an inner run only, its C types would not survive being imported anew

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
    "KeepsTheAnswer": {"every_event_is_taken"},
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
"""Mutant -> checks that must fail; others may."""

ALONE = {
    "ShowsItsToken",
    "TakesTimeoutsForDelivered",
    "PagesInHealthChecks",
    "TriesRateLimitsAtOnce",
    "GivesUpTooSoon",
}
"""Those that do one thing wrong which one check alone can see."""


CHECKS = {name.removeprefix("test_") for name in vars(ChannelConformance) if name.startswith("test_")}
"""The checks of the topmost class; loaded here, so that no inner run imports everything anew."""


def failed(pytester: pytest.Pytester, name: str, checks: set[str]) -> set[str]:
    """Run checks (all, when none is named) on a channel, and return those that failed."""
    pytester.makepyfile(pagers=PAGERS.read_text())
    pytester.makepyfile(test_pager=CASE.format(name=name))
    chosen = ["-k", " or ".join(checks)] if checks else []
    # The modules of the suite are here already, from the outer run.
    again = ["-W", "error", "-W", "ignore::pytest.PytestAssertRewriteWarning"]
    quiet = ["-q", "--tb=no", "-p", "no:cacheprovider", "-p", "no:logging"]
    inner: Any = pytester
    ran = inner.inline_run(*quiet, *again, *chosen)
    with warnings.catch_warnings(action="ignore"):
        gc.collect()  # what a mutant leaves open is not for the next run to find
    passed, _, bad = ran.listoutcomes()
    assert passed or bad
    return {report.nodeid.split("::test_")[1].split("[")[0] for report in bad}


@pytest.mark.parametrize("name", sorted(CAUGHT))
def test_what_the_suite_catches(pytester: pytest.Pytester, name: str) -> None:
    """Each mutant fails the checks of what it does wrong; the good channel fails none of them."""
    wanted = CAUGHT[name]
    assert failed(pytester, name, wanted or {"masked", "redirect", "retry_after", "close"}) == wanted


@pytest.mark.slow
@pytest.mark.parametrize("name", ["Pager", *sorted(ALONE)])
def test_nothing_else_fails(pytester: pytest.Pytester, name: str) -> None:
    """The suite says what is wrong, and no more: of all its checks these alone fail."""
    assert failed(pytester, name, set()) == CAUGHT[name]


def test_the_checks_of_http_are_all_caught_by_a_mutant() -> None:
    """No check of the suite's own class is without a mutant that only it, or it among others, catches."""
    caught = set[str]().union(*CAUGHT.values())
    assert CHECKS - caught == {"an_answer_that_breaks_off", "an_answer_that_drips"}
