"""What every notification shows, from whatever keys a component used for it.

Job or task, status, error, execution time and links (requirement 1.4), and the details that go with them.
"""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from functools import cache
from typing import Any

from knell.events import EventType

from .occasions import OCCASIONS, Occasion, status_word
from .printing import ABSENT, text_of
from .taint import Json
from .text import is_web_url
from .wording import Catalog, msg

_KEYS = {
    "job": ("job_id", "job", "spec_name", "spec_id"),
    "job_name": ("job_name",),
    "task": ("task_id", "task"),
    "task_name": ("task_title", "task_name"),
    "pr": ("pr_number", "pr_id"),
    "pr_title": ("pr_title",),
    "component": ("component", "service", "alertname", "host", "instance"),
    "runner": ("runner_id", "runner", "agent_id", "agent", "agent_name"),
    "project": ("project", "project_name"),
    "repository": ("repo", "repository"),
    "status": ("status", "state", "new_state"),
    "custom_status": ("new_status", "ci_status", "conclusion", "result"),
    "error": ("error", "error_message", "last_error", "exception"),
    "reason": ("failure_reason", "reason"),
    "details": ("error_details", "traceback", "stack_trace", "stderr"),
    "seconds": (
        "duration",
        "duration_seconds",
        "execution_time",
        "execution_time_seconds",
        "elapsed",
        "elapsed_seconds",
    ),
    "milliseconds": ("duration_ms", "execution_time_ms", "elapsed_ms"),
    "tasks_done": ("tasks_completed",),
    "tasks_total": ("tasks_total", "task_count"),
    "tasks_failed": ("failed_tasks", "tasks_failed"),
    "retries": ("retry_count", "retries"),
    "source_branch": ("source_branch", "branch", "branch_name", "head_branch"),
    "target_branch": ("target_branch", "base_branch"),
    "commit": ("merge_commit_sha", "commit_sha", "commit"),
}
"""The metadata keys that mean the same, the best first (NecroCode's own names among them)."""

_MEANING = {key: (meaning, rank) for meaning, keys in _KEYS.items() for rank, key in enumerate(keys)}

_LINK_KEYS = {
    "pr_url": msg("Pull request"),
    "pull_request_url": msg("Pull request"),
    "log_url": msg("Log"),
    "logs_url": msg("Log"),
    "job_url": msg("Job"),
    "task_url": msg("Task"),
    "run_url": msg("Run"),
    "build_url": msg("Build"),
    "ci_url": msg("CI"),
    "artifact_url": msg("Artifacts"),
    "artifacts_url": msg("Artifacts"),
    "report_url": msg("Report"),
    "commit_url": msg("Commit"),
    "issue_url": msg("Issue"),
    "dashboard_url": msg("Dashboard"),
    "url": msg("Details"),
}

_QUIET = frozenset(
    {
        *(EventType.JOB_STARTED, EventType.JOB_COMPLETED, EventType.TASK_STARTED, EventType.TASK_COMPLETED),
        *(EventType.PR_CREATED, EventType.PR_MERGED),
    }
)
"""Here a `reason` explains why all is well, and is no error."""

_SHORT_COMMIT = 10
_LONGEST_DURATION = 1e9

LABELS = {
    "job": msg("Job"),
    "task": msg("Task"),
    "pull_request": msg("Pull request"),
    "component": msg("Component"),
    "status": msg("Status"),
    "duration": msg("Duration"),
    "tasks": msg("Tasks"),
    "failed_tasks": msg("Failed tasks"),
    "retries": msg("Retries"),
    "branch": msg("Branch"),
    "commit": msg("Commit"),
    "runner": msg("Runner"),
    "project": msg("Project"),
    "repository": msg("Repository"),
}
"""The facts that are shown as rows, in their usual order."""

_MORE_LABELS = {
    "error": msg("Error"),
    "reason": msg("Reason"),
    "severity": msg("Severity"),
    "source": msg("Source"),
    "event": msg("Event"),
}
_OTHERS = frozenset({"subject", "subject_label", "error", "links"})


class Facts(dict[str, Any]):
    """The facts of one event; one it does not have is absent, one that does not exist is an error."""

    __slots__ = ()

    def __missing__(self, key: str) -> Any:
        """Return what prints as a dash."""
        if key in LABELS or key in _OTHERS:
            return ABSENT
        raise KeyError(key)


def facts(event: Mapping[str, Any], found: Occasion, words: Catalog, dashboard_url: str) -> Facts:
    """Gather the facts of an event, which is given as plain data."""
    known = _known(event["metadata"])
    said = _said(known)
    gathered = {
        **_things(said),
        "failed_tasks": _failed_tasks(known.get("tasks_failed")),
        "status": _status(said, event, found, words),
        "duration": _duration(known, words),
        "error": _error(said, quiet=event["event_type"] in _QUIET)
        or _errors_of_tasks(known.get("tasks_failed")),
        "links": _links(event, words, dashboard_url),
        "labels": labels(words),
    }
    result = Facts({name: value for name, value in gathered.items() if value})
    about = next((name for name in found.about if name in result), None)
    if about:
        result["subject"], result["subject_label"] = result[about], result["labels"][about]
    return result


def rows(known: Facts, first: Sequence[str] = (), limit: int = 10) -> list[tuple[str, str, str]]:
    """Return the facts to show as name, label and value: those named first, then the others.

    A Slack section holds ten fields at most.
    """
    labels = known["labels"]
    return [(name, labels[name], known[name]) for name in dict.fromkeys((*first, *LABELS)) if name in known][
        :limit
    ]


@cache
def labels(words: Catalog) -> dict[str, str]:
    """Return what each fact is called in a language."""
    return {name: words(label) for name, label in (LABELS | _MORE_LABELS).items()}


def _known(metadata: Mapping[str, Json]) -> dict[str, Json]:
    """Return what the metadata says, by meaning; of several keys the best that holds something."""
    best: dict[str, tuple[int, Json]] = {}
    for key, value in metadata.items():
        meaning, rank = _MEANING.get(key, ("", 0))
        content = value.strip() if isinstance(value, str) else value
        says_something = content or (content == 0 and content is not False)
        if meaning and says_something and (meaning not in best or rank < best[meaning][0]):
            best[meaning] = rank, content
    return {meaning: content for meaning, (_, content) in best.items()}


def _told(value: Json) -> str:
    """Say what a value tells; errors are often mappings of a type and a message."""
    if isinstance(value, str):
        return value
    if isinstance(value, dict):
        message = value.get("message") or value.get("error")
        kind = value.get("type") or value.get("code")
        if message:
            return f"{text_of(kind)}: {text_of(message)}" if kind else text_of(message)
    if isinstance(value, list):
        return "\n".join(_told(item) for item in value)
    return text_of(value)


def _said(known: Mapping[str, Json]) -> defaultdict[str, str]:
    """Put what is known into words; nothing where nothing is known."""
    return defaultdict(str, {meaning: _told(content) for meaning, content in known.items()})


def _things(said: Mapping[str, str]) -> dict[str, str]:
    return {
        "job": _named(said["job"], said["job_name"]),
        "task": _named(said["task"], said["task_name"]),
        "pull_request": _pull_request(said["pr"], said["pr_title"]),
        "component": said["component"],
        "tasks": _share(said["tasks_done"], said["tasks_total"]),
        "retries": "" if said["retries"] == "0" else said["retries"],
        "branch": _joined(" → ", said["source_branch"], said["target_branch"]),
        "commit": said["commit"][:_SHORT_COMMIT],
        "runner": said["runner"],
        "project": said["project"],
        "repository": said["repository"],
    }


def _joined(separator: str, *parts: str) -> str:
    return separator.join(part for part in parts if part)


def _named(key: str, name: str) -> str:
    return f"{key} ({name})" if key and name and key != name else key or name


def _pull_request(number: str, title: str) -> str:
    return _joined(" ", f"#{number}" if number.isdigit() else number, title)


def _share(done: str, total: str) -> str:
    return f"{done}/{total}" if done and total else total or done


def _failed_tasks(failed: Json) -> str:
    if isinstance(failed, dict):
        return ", ".join(text_of(name) for name in failed)
    if isinstance(failed, list):
        return ", ".join(_task_of(item) if isinstance(item, dict) else text_of(item) for item in failed)
    return "" if not failed else text_of(failed)


def _task_of(item: dict[str, Json]) -> str:
    return _said(_known(item))["task"] or text_of(item.get("id"))


def _status(said: Mapping[str, str], event: Mapping[str, Any], found: Occasion, words: Catalog) -> str:
    told = said["status"]
    if not told and event["event_type"] not in OCCASIONS:
        told = said["custom_status"]
    if not told:
        is_draft = found.status == "open" and event["metadata"].get("draft") is True
        return words("draft" if is_draft else found.status)
    usual = status_word(told)
    # In English a status is shown as its component writes it.
    return words(usual) if usual and words(usual) != usual else told


def _error(said: Mapping[str, str], *, quiet: bool) -> str:
    message = said["error"] or ("" if quiet else said["reason"])
    return said["details"] if message in said["details"] else _joined("\n", message, said["details"])


def _errors_of_tasks(failed: Json) -> str:
    if isinstance(failed, dict):
        return "\n".join(f"{text_of(name)}: {_told(error)}" for name, error in failed.items())
    items = [item for item in failed if isinstance(item, dict)] if isinstance(failed, list) else []
    errors = [(_task_of(item), _error(_said(_known(item)), quiet=False)) for item in items]
    return "\n".join(f"{name}: {error}" for name, error in errors if error)


def _duration(known: Mapping[str, Json], words: Catalog) -> str:
    for meaning, scale in (("seconds", 1), ("milliseconds", 1000)):
        if meaning in known:
            seconds = _number(known[meaning])
            return _told(known[meaning]) if seconds is None else words.duration(seconds / scale)
    return ""


def _number(value: Json) -> float | None:
    """Return a count of seconds; flags of the command line are text, so digits count as a number."""
    if isinstance(value, str) and not value.replace(".", "", 1).isdecimal():
        return None
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        return None
    number = float(value)
    return number if 0 <= number < _LONGEST_DURATION else None


def _links(event: Mapping[str, Any], words: Catalog, dashboard_url: str) -> list[dict[str, str]]:
    """Collect the links, each address once: the event's own, then the metadata's, then the dashboard."""
    metadata = event["metadata"]
    candidates = [
        *((link["url"], link["text"] or words("Details")) for link in event["links"]),
        *((metadata[key], words(label)) for key, label in _LINK_KEYS.items() if key in metadata),
        (dashboard_url, words("Dashboard")),
    ]
    found: dict[str, str] = {}
    for url, text in candidates:
        if isinstance(url, str) and is_web_url(url.strip()):
            found.setdefault(url.strip(), text)
    return [{"url": url, "text": text} for url, text in found.items()]
