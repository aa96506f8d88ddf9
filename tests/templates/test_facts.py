"""The five facts, from whatever keys a component used."""

from typing import Any

import pytest

from knell.events import Severity
from knell.templates.facts import Facts, facts, rows
from knell.templates.occasions import occasion
from knell.templates.wording import catalog


def _facts(
    event_type: str = "job_failed", locale: str = "en", dashboard: str = "", links: Any = (), **metadata: Any
) -> Facts:
    event = {"event_type": event_type, "metadata": metadata, "links": list(links)}
    return facts(event, occasion(event_type, Severity.WARNING), catalog(locale), dashboard)


@pytest.mark.parametrize(
    ("event_type", "metadata", "label", "subject"),
    [
        ("job_failed", {"job_id": "job-1", "task_id": "1.1"}, "Job", "job-1"),
        ("job_failed", {"job_id": "job-1", "job_name": "nightly"}, "Job", "job-1 (nightly)"),
        ("job_failed", {"job_name": "nightly"}, "Job", "nightly"),
        ("job_failed", {"spec_name": "shop-1a2b"}, "Job", "shop-1a2b"),
        ("job_failed", {"task_id": "1.1"}, "Task", "1.1"),
        (
            "task_failed",
            {"job_id": "job-1", "task_id": "1.1", "task_title": "Log in"},
            "Task",
            "1.1 (Log in)",
        ),
        ("pr_merged", {"pr_number": 42, "pr_title": "Log in"}, "Pull request", "#42 Log in"),
        ("pr_merged", {"pr_id": "abc"}, "Pull request", "abc"),
        ("agent_error", {"runner_id": "r-1", "task_id": "1.1"}, "Task", "1.1"),
        ("agent_error", {"runner_id": "r-1"}, "Runner", "r-1"),
        ("system_alert", {"component": "queue"}, "Component", "queue"),
        ("ci_failure", {"task_id": "1.1", "pr_number": 2}, "Task", "1.1"),
    ],
)
def test_the_subject_is_what_the_event_is_about(
    event_type: str, metadata: dict[str, Any], label: str, subject: str
) -> None:
    """Job, task, pull request, runner or component, by event type and by what is known."""
    found = _facts(event_type, **metadata)
    assert (found["subject_label"], found["subject"]) == (label, subject)


def test_without_metadata_only_the_status_is_known() -> None:
    """What is not known prints a dash and is false; a name that does not exist is an error."""
    found = _facts()
    assert found["status"] == "failed"
    assert str(found["error"]) == "\N{EN DASH}"
    assert not found["subject"]
    assert rows(found) == [("status", "Status", "failed")]
    with pytest.raises(KeyError):
        found["eror"]


@pytest.mark.parametrize(
    ("event_type", "metadata", "english", "japanese"),
    [
        ("job_started", {}, "running", "実行中"),
        ("pr_created", {}, "open", "オープン"),
        ("pr_created", {"draft": True}, "draft", "ドラフト"),
        ("pr_merged", {"ci_status": "failure"}, "merged", "マージ済み"),
        ("ci_failure", {"ci_status": "failure"}, "failure", "失敗"),
        ("ci_failure", {}, "warning", "警告"),
        ("task_completed", {"old_state": "running", "new_state": "done"}, "done", "完了"),
        ("job_failed", {"status": "TIMED_OUT"}, "TIMED_OUT", "タイムアウト"),
        ("job_failed", {"status": " out of memory "}, "out of memory", "out of memory"),
        ("system_alert", {}, "active", "発生中"),
    ],
)
def test_the_status_is_told_or_derived(
    event_type: str, metadata: dict[str, Any], english: str, japanese: str
) -> None:
    """What the component says wins; the usual words are translated, its own are not."""
    assert _facts(event_type, **metadata)["status"] == english
    assert _facts(event_type, "ja", **metadata)["status"] == japanese


@pytest.mark.parametrize(
    ("event_type", "metadata", "error"),
    [
        ("job_failed", {"error": "boom"}, "boom"),
        ("job_failed", {"error_message": "boom", "reason": "other"}, "boom"),
        ("job_failed", {"failure_reason": "timeout"}, "timeout"),
        ("job_failed", {"error": "", "reason": "timeout"}, "timeout"),
        ("job_failed", {"error": "  ", "last_error": "boom"}, "boom"),
        ("job_failed", {"error": {"type": "OSError", "message": "disk full"}}, "OSError: disk full"),
        ("job_failed", {"error": {"code": 5}}, '{"code":5}'),
        ("job_failed", {"error": ["a", {"message": "b"}]}, "a\nb"),
        ("job_failed", {"error": "boom", "error_details": "at x.py:3"}, "boom\nat x.py:3"),
        ("job_failed", {"error": "boom", "traceback": "Traceback\nboom"}, "Traceback\nboom"),
        ("job_failed", {"error": 0}, "0"),
        ("pr_closed", {"reason": "superseded"}, "superseded"),
        ("job_failed", {"failed_tasks": {"1.1": "boom", "1.2": {"message": "bang"}}}, "1.1: boom\n1.2: bang"),
        ("job_failed", {"failed_tasks": [{"task_id": "1.1", "error": "boom"}, "1.2"]}, "1.1: boom"),
    ],
)
def test_the_error_is_found_under_any_name(event_type: str, metadata: dict[str, Any], error: str) -> None:
    """The best key that holds something, with its details below it."""
    assert _facts(event_type, **metadata)["error"] == error


@pytest.mark.parametrize(
    "metadata", [{"reason": "all tests pass"}, {"error": None}, {"error": False}, {"error": []}]
)
def test_a_reason_for_success_is_no_error(metadata: dict[str, Any]) -> None:
    """Good news have no error, whatever their reason."""
    assert not _facts("job_completed", **metadata)["error"]


@pytest.mark.parametrize(
    ("metadata", "english", "japanese"),
    [
        ({"duration": 192}, "3 min 12 s", "3分12秒"),
        ({"duration": "3m12s"}, "3m12s", "3m12s"),
        ({"duration": "192"}, "3 min 12 s", "3分12秒"),
        ({"execution_time_seconds": 0.42}, "0.4 s", "0.4秒"),
        ({"execution_time": 9.96}, "10 s", "10秒"),
        ({"elapsed": 41.6}, "42 s", "42秒"),
        ({"elapsed": 59.6}, "1 min 0 s", "1分0秒"),
        ({"duration_ms": 1500}, "1.5 s", "1.5秒"),
        ({"duration_seconds": 3600}, "1 h 0 min", "1時間0分"),
        ({"duration": 90061}, "1 d 1 h", "1日1時間"),
        ({"duration": 0}, "0 s", "0秒"),
        ({"duration": -5}, "-5", "-5"),
        ({"duration": 1e300}, "1e+300", "1e+300"),
        ({"duration": True, "elapsed": 4}, "true", "true"),
    ],
)
def test_the_execution_time_reads_like_a_time(metadata: dict[str, Any], english: str, japanese: str) -> None:
    """Numbers are seconds in the two largest units; a text is shown as it is."""
    assert _facts(**metadata)["duration"] == english
    assert _facts(locale="ja", **metadata)["duration"] == japanese


def test_links_are_gathered_once_each() -> None:
    """The event's own first, then the metadata's, then the dashboard; what is no web address is left out."""
    found = _facts(
        dashboard="https://dash.example.com",
        links=[
            {"url": "https://ci.example.com/1", "text": "CI"},
            {"url": "https://x.example.com", "text": ""},
            {"url": "javascript:alert(1)", "text": "x"},
        ],
        pr_url="https://git.example.com/42",
        log_url="https://ci.example.com/1",
        build_url=None,
        job_url="/relative",
        report_url="https://user:password@x.example.com/",
    )
    assert found["links"] == [
        {"url": "https://ci.example.com/1", "text": "CI"},
        {"url": "https://x.example.com", "text": "Details"},
        {"url": "https://git.example.com/42", "text": "Pull request"},
        {"url": "https://dash.example.com", "text": "Dashboard"},
    ]


def test_rows_come_in_the_order_asked_for() -> None:
    """Named ones first, each once, the others after them, unknown ones nowhere, ten at most."""
    found = _facts(
        job_id="j", task_id="t", tasks_completed=3, tasks_total=4, retry_count=0, commit="0123456789abcd"
    )
    assert [name for name, _, _ in rows(found, ["tasks", "branch", "task"])] == [
        *("tasks", "task", "job", "status", "commit")
    ]
    assert ("tasks", "Tasks", "3/4") in rows(found)
    assert ("commit", "Commit", "0123456789") in rows(found)
    assert len(rows(found, limit=2)) == 2
