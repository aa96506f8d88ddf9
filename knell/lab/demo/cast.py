"""The events of the demo: what might happen on a day of coding jobs, and which channels each must reach."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import count, cycle
from typing import Any

from knell.events import EventType, Link, NotificationEvent, Severity
from knell.lab.demo.fragile import BUG
from knell.templates.wording import Catalog

LOGS = "https://ci.example.com/runs/"
"""Where the link of every event leads: the number behind it is how an event is known at its receiver."""

ALL = ("slack", "email", "discord", "webhook", "sms")
"""The channels, in the order in which they are shown."""

HOSTILE = 'Fix "quotes"\n<!channel> @everyone <script>alert(1)</script> {{7*7}}'
"""A title that would call everybody, run in a page and compute in a template, if anything let it."""

ROUTING: list[dict[str, Any]] = [
    {
        "name": "Critical failures",
        "event_types": ["job_failed"],
        "channels": ["slack", "email", "discord", "sms"],
        "filters": {"severity": "critical"},
        "priority": 100,
    },
    {
        "name": "Jobs",
        "event_types": ["job_started", "job_completed", "task_completed"],
        "channels": ["slack", "discord"],
        "priority": 50,
    },
    {"name": "Good news", "event_types": ["job_completed", "pr_merged"], "channels": ["email"]},
    {"name": "Reviews", "event_types": ["pr_created", "pr_merged"], "channels": ["discord"]},
    {
        "name": "Attention",
        "event_types": ["agent_error", "task_failed", "system_alert"],
        "channels": ["slack"],
    },
    {
        "name": "Audit log",
        "event_types": ["*"],
        "channels": ["webhook"],
        "filters": {"not": {"event_type": "task_completed"}},
    },
]
"""The rules of the demo's configuration, as an operator would write them."""

_MODULES = (
    *("accounts", "audit", "billing", "cache", "carts", "catalog", "checkout", "coupons"),
    *("currency", "export", "feeds", "images", "invoices", "ledger", "mailer", "orders"),
    *("payments", "pricing", "refunds", "reports", "search", "sessions", "stock", "webhooks"),
)


@dataclass(frozen=True, slots=True)
class Tell:
    """An event with its number, and the channels it must reach, each exactly once."""

    number: int
    event: NotificationEvent
    to: tuple[str, ...]


class Cast:
    """Makes events, each with a number of its own.

    Args:
        words: the language of their titles.
    """

    def __init__(self, words: Catalog) -> None:
        self._words = words
        self._numbers = count(40311)
        self._jobs = count(2041)
        self._job = self._new_job()
        self._reviews = count(318)
        self._modules = cycle(_MODULES)

    def job_started(self) -> Tell:
        """A job begins; `job_completed` ends the same one."""
        self._job = self._new_job()
        facts = {"job_id": self._job, "project": "shop-api", "task_count": 5, "branch": "feature/oauth"}
        title = self._words("Add OAuth login")
        return self._tell(EventType.JOB_STARTED, title, ("slack", "discord", "webhook"), facts)

    def job_completed(self) -> Tell:
        """The job that began last ends well."""
        return self._tell(
            EventType.JOB_COMPLETED,
            self._words("Add OAuth login"),
            ("slack", "email", "discord", "webhook"),
            {"job_id": self._job, "duration_seconds": 742, "tasks_completed": 5, "tasks_total": 5},
            description=self._words("All tasks are done, and the tests are green."),
        )

    def job_failed(self) -> Tell:
        """A job fails, and everybody has to know."""
        facts = {
            "job_id": self._new_job(),
            "duration_seconds": 312,
            "tasks_completed": 3,
            "tasks_total": 5,
            "error": "AssertionError: total 1099, expected 1100 (test_rounding.py:88)",
        }
        title = self._words("Nightly build of payments")
        return self._tell(EventType.JOB_FAILED, title, ALL, facts, severity=Severity.CRITICAL)

    def hostile(self) -> Tell:
        """A job whose title is an attack on everything that shows it."""
        facts = {"job_id": self._new_job(), "duration_seconds": 4}
        return self._tell(EventType.JOB_FAILED, HOSTILE, ALL, facts, severity=Severity.CRITICAL)

    def review(self) -> Tell:
        """A pull request is opened."""
        facts = {"pr_number": next(self._reviews), "branch": "feature/retry", "base_branch": "main"}
        title = self._words("Retry uploads that time out")
        return self._tell(EventType.PR_CREATED, title, ("discord", "webhook"), {**facts, "repo": "shop-api"})

    def merged(self) -> Tell:
        """A pull request is merged."""
        facts = {"pr_number": next(self._reviews), "commit": "9f1c2e7ab04d", "base_branch": "main"}
        title = self._words("Cache the product catalog")
        to = ("email", "discord", "webhook")
        return self._tell(EventType.PR_MERGED, title, to, {**facts, "repo": "shop-api"})

    def agent_error(self, *, bug: bool = False) -> Tell:
        """An agent is in trouble; with `bug` the Slack channel stumbles over it once."""
        facts: dict[str, Any] = {"runner_id": "runner-7", "error": "sandbox did not answer for 30 s"}
        return self._tell(
            EventType.AGENT_ERROR,
            self._words("The agent lost its sandbox"),
            ("slack", "webhook"),
            {**facts, BUG: True} if bug else facts,
            severity=Severity.ERROR,
        )

    def task_failed(self) -> Tell:
        """A task of a job fails."""
        number = next(self._numbers)
        facts = {"task_id": f"task-{number % 1000}", "retry_count": 2, "error": "timeout after 600 s"}
        return self._tell(
            EventType.TASK_FAILED,
            self._words("Generate the API client"),
            ("slack", "webhook"),
            facts,
            severity=Severity.ERROR,
            number=number,
        )

    def tasks(self, number: int) -> list[Tell]:
        """Many tasks end at the same moment."""
        return [self._task() for _ in range(number)]

    def calm(self) -> Iterator[Tell]:
        """What happens on a calm day, for ever."""
        for scene in cycle(self._calm_scenes()):
            yield scene()

    def _calm_scenes(self) -> tuple[Callable[[], Tell], ...]:
        return (
            self.review,
            self.job_started,
            self._task,
            self.job_completed,
            self.merged,
            self.task_failed,
        )

    def _task(self) -> Tell:
        number, module = next(self._numbers), next(self._modules)
        return self._tell(
            EventType.TASK_COMPLETED,
            self._words.fill("Port %(module)s to the new client", module=module),
            ("slack", "discord"),
            {"task_id": f"task-{number % 1000}", "duration_seconds": 20 + number % 97},
            number=number,
        )

    def _new_job(self) -> str:
        return f"job-{next(self._jobs)}"

    def _tell(
        self,
        event_type: EventType,
        title: str,
        to: tuple[str, ...],
        metadata: dict[str, Any],
        number: int | None = None,
        **more: Any,
    ) -> Tell:
        number = next(self._numbers) if number is None else number
        link = Link(url=f"{LOGS}{number}", text=self._words("Log"))
        event = NotificationEvent(
            event_type=event_type,
            source=_SOURCES.get(event_type, "dispatcher"),
            title=title,
            metadata=metadata,
            links=[link],
            **more,
        )
        return Tell(number, event, to)


_SOURCES = {
    EventType.TASK_COMPLETED: "task_registry",
    EventType.TASK_FAILED: "task_registry",
    EventType.PR_CREATED: "pr_service",
    EventType.PR_MERGED: "pr_service",
    EventType.AGENT_ERROR: "agent_runner",
}
