"""What each event type is called, looks like and says about the state of things."""

from typing import Any

import msgspec

from knell.events import EventType, Severity

from .wording import msg

_BLUE = "#2563eb"
_GREEN = "#15803d"
_GREY = "#64748b"
_AMBER = "#b45309"
_RED = "#dc2626"
_CRIMSON = "#991b1b"

SEVERITY_COLORS = {
    Severity.INFO: _BLUE,
    Severity.WARNING: _AMBER,
    Severity.ERROR: _RED,
    Severity.CRITICAL: _CRIMSON,
}

SEVERITY_EMOJI = {
    Severity.INFO: "\N{INFORMATION SOURCE}\ufe0f",
    Severity.WARNING: "\N{WARNING SIGN}\ufe0f",
    Severity.ERROR: "\N{CROSS MARK}",
    Severity.CRITICAL: "\N{POLICE CARS REVOLVING LIGHT}",
}

SEVERITY_WORDS = {
    Severity.INFO: msg("info"),
    Severity.WARNING: msg("warning"),
    Severity.ERROR: msg("error"),
    Severity.CRITICAL: msg("critical"),
}


class Occasion(msgspec.Struct, frozen=True):
    """One event type: headline, short word, emoji, the status it implies, and its colour when all is well.

    `about` names the facts that may be its subject, best first.
    """

    headline: str
    word: str
    emoji: str
    status: str
    color: str
    about: tuple[str, ...]
    trouble: bool = False


_JOB = ("job", "task", "pull_request", "runner")
_TASK = ("task", "job", "pull_request", "runner")
_PULL_REQUEST = ("pull_request", "task", "job")
_AGENT = ("task", "job", "runner", "component")
_ANY = ("job", "task", "pull_request", "runner", "component")

_CANCELLED = Occasion(
    msg("Job cancelled"), msg("Cancelled"), "\N{NO ENTRY SIGN}", msg("cancelled"), _GREY, _JOB
)

OCCASIONS: dict[str, Occasion] = {
    EventType.JOB_STARTED: Occasion(
        msg("Job started"), msg("Started"), "\N{ROCKET}", msg("running"), _BLUE, _JOB
    ),
    EventType.JOB_COMPLETED: Occasion(
        msg("Job completed"), msg("Completed"), "\N{WHITE HEAVY CHECK MARK}", msg("completed"), _GREEN, _JOB
    ),
    EventType.JOB_FAILED: Occasion(
        msg("Job failed"), msg("Failed"), "\N{CROSS MARK}", msg("failed"), _RED, _JOB, trouble=True
    ),
    EventType.TASK_STARTED: Occasion(
        msg("Task started"),
        msg("Started"),
        "\N{BLACK RIGHT-POINTING TRIANGLE}\ufe0f",
        msg("running"),
        _BLUE,
        _TASK,
    ),
    EventType.TASK_COMPLETED: Occasion(
        msg("Task completed"),
        msg("Completed"),
        "\N{BALLOT BOX WITH CHECK}\ufe0f",
        msg("completed"),
        _GREEN,
        _TASK,
    ),
    EventType.TASK_FAILED: Occasion(
        msg("Task failed"),
        msg("Failed"),
        "\N{HEAVY EXCLAMATION MARK SYMBOL}",
        msg("failed"),
        _RED,
        _TASK,
        trouble=True,
    ),
    EventType.PR_CREATED: Occasion(
        msg("Pull request opened"),
        msg("Opened"),
        "\N{TWISTED RIGHTWARDS ARROWS}",
        msg("open"),
        _BLUE,
        _PULL_REQUEST,
    ),
    EventType.PR_MERGED: Occasion(
        msg("Pull request merged"), msg("Merged"), "\N{PARTY POPPER}", msg("merged"), _GREEN, _PULL_REQUEST
    ),
    EventType.PR_CLOSED: Occasion(
        msg("Pull request closed without merge"),
        msg("Closed"),
        "\N{NO ENTRY SIGN}",
        msg("closed"),
        _GREY,
        _PULL_REQUEST,
    ),
    EventType.AGENT_ERROR: Occasion(
        msg("Agent error"), msg("Agent error"), "\N{ROBOT FACE}", msg("error"), _RED, _AGENT, trouble=True
    ),
    EventType.SYSTEM_ALERT: Occasion(
        msg("System alert"), msg("Alert"), "\N{POLICE CARS REVOLVING LIGHT}", msg("active"), _AMBER, _ANY
    ),
    # Custom types, but Slack's threads and Discord's edits know them as an end.
    "job_cancelled": _CANCELLED,
    "job_canceled": _CANCELLED,
}

KNOWN_STATUSES = {
    *(occasion.status for occasion in OCCASIONS.values()),
    *(msg("pending"), msg("queued"), msg("ready"), msg("started"), msg("in progress"), msg("blocked")),
    *(msg("done"), msg("success"), msg("succeeded"), msg("passed"), msg("resolved"), msg("draft")),
    *(msg("failure"), msg("timeout"), msg("timed out"), msg("cancelled"), msg("skipped"), msg("firing")),
}


def occasion(event_type: str, severity: Severity) -> Occasion:
    """Return what is known of an event type; a custom one is called by its own name."""
    known = OCCASIONS.get(event_type)
    if known:
        return known
    name = " ".join(event_type.replace("_", " ").replace(".", " ").split())
    headline = name[:1].upper() + name[1:]
    return Occasion(headline, headline, "\N{BELL}", SEVERITY_WORDS[severity], _BLUE, _ANY)


def color(found: Occasion, severity: Severity) -> str:
    """Choose the accent: trouble and severity win over good news."""
    if severity is Severity.CRITICAL or found.trouble:
        return SEVERITY_COLORS[max(severity, Severity.ERROR, key=_rank)]
    return found.color if severity is Severity.INFO else SEVERITY_COLORS[severity]


def _rank(severity: Severity) -> int:
    return severity.rank


def as_number(hex_color: str) -> int:
    """Return a colour as Discord wants it."""
    return int(hex_color[1:], 16)


def status_word(value: Any) -> str | None:
    """Return a status as a text that can be translated, if it is one of the usual words."""
    word = str(value).strip().lower().replace("_", " ")
    return word if word in KNOWN_STATUSES else None
