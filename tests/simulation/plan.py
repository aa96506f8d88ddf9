"""What a seed stands for: a configuration, events, and what goes wrong until the faults stop."""

from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import cache
from random import Random
from typing import Any

from knell.config.schema import NotificationConfig, OpenChannelConfig, Store
from knell.events import NotificationEvent, Sealed, Severity, seal

TYPES = ("build", "deploy", "alarm")
JOBS = ("", "", "job-1", "job-2", "job-3")
MOMENT = datetime.fromtimestamp(0, UTC)
SCALES = (1.0, 1.0, 1.0, 10.0, 60.0)
"""How slow a history is: with the last one, outages take up to half a day."""

CONFIGURATIONS = 64

OFTEN = 0.45
"""Share of the histories in which a kind of fault happens at all."""

NEVER = 3e7
"""Seconds: a history in which nothing hangs is not looked at for what hangs."""

SEVERITIES = (Severity.INFO, Severity.INFO, Severity.ERROR, Severity.CRITICAL)


@dataclass
class Told:
    """An event that somebody tells.

    Attributes:
        at: when, virtual seconds.
        poison: whether the templates choke on it.
    """

    at: float
    sealed: Sealed
    key: str = ""
    poison: bool = False


@dataclass
class Faults:
    """How often what goes wrong; shares of the occasions. Seconds where it says so.

    Attributes:
        end: when the faults stop, virtual seconds.
        longest: how long an actor hangs at most, seconds.
    """

    end: float
    longest: float = 0.0
    lag: float = 0.0
    crash_after_ack: float = 0.0
    crash_in_commit: float = 0.0
    crashes: list[float] = field(default_factory=list[float])
    stops: list[float] = field(default_factory=list[float])
    actor: float = 0.0
    hang: float = 0.0
    commit_fails: float = 0.0
    store_fails: float = 0.0
    slow: float = 0.0
    network: dict[str, float] = field(default_factory=dict[str, float])
    outages: dict[str, list[tuple[float, float, str]]] = field(
        default_factory=dict[str, list[tuple[float, float, str]]]
    )


UNKNOWN = ("lost", "unanswered", "reset")
"""What a network does to a request without an answer: before the provider, and after it."""

NETWORK = (*UNKNOWN, "limited", "server error", "refused", "rejected", "escaped", "escaped after")
"""What becomes of a request now and then."""

OUTAGES = ("lost", "unanswered", "limited", "server error", "refused", "unauthorized", "gone")
"""What becomes of every request for a while."""


@dataclass
class Plan:
    """Everything a seed decides in advance."""

    config: NotificationConfig
    events: list[Told]
    faults: Faults


def draw(dice: Random) -> Plan:
    """Draw a plan."""
    scale, hang, config = _surroundings(dice.randrange(CONFIGURATIONS))
    end = scale * dice.uniform(30, 200)
    faults = _faults(dice, config, end, hang=100.0 * scale if hang else 0.0)
    return Plan(config, _events(dice, end), faults)


@cache
def _surroundings(number: int) -> tuple[float, bool, NotificationConfig]:
    """Draw how slow a history is, whether actors hang, and a configuration.

    Checking a configuration takes as long as half a history, so there are not too many.
    """
    dice = Random(number)  # noqa: S311 - not for secrets
    scale, hang = dice.choice(SCALES), dice.random() < OFTEN
    names = ["a", "b", "c", "d"][: dice.choice([2, 2, 2, 3, 4])]
    config = NotificationConfig(
        channels={name: _section(dice, name, names, scale) for name in names},
        supervision=_supervision(dice, names, 30.0 * scale if hang else NEVER),
        store=Store(min_free_mb=0),
    )
    return scale, hang, config


def _section(dice: Random, name: str, names: list[str], scale: float) -> OpenChannelConfig:
    given: dict[str, Any] = {
        "events": ["*"] if dice.random() < 0.6 else dice.sample(TYPES, 2),
        "concurrency": dice.choice([1, 1, 2, 3]),
        "retry_config": {
            "max_retries": dice.choice([2, 5, 150]),
            "initial_delay_ms": 1000,
            "max_delay_ms": int(dice.choice([5, 60]) * scale * 1000),
        },
        "circuit_breaker": {
            "failure_threshold": dice.choice([1, 2, 3]),
            "timeout_seconds": dice.choice([5.0, 30.0]) * scale,
            "success_threshold": dice.choice([1, 2]),
        },
    }
    if dice.random() < 0.4:
        given["rate_limit"] = {
            "max_requests": dice.choice([1, 2, 5]),
            "window_seconds": dice.choice([1, 5, 20]),
            "burst_size": dice.choice([1, 2, 3]),
        }
    if dice.random() < 0.4:
        given["batch"] = {
            "enabled": True,
            "max_batch_size": dice.choice([2, 3, 5]),
            "max_wait_seconds": dice.choice([1, 5, 30]),
            "batch_by": dice.choice(["event_type", "channel"]),
        }
    if dice.random() < 0.3:
        given["fallback"] = [dice.choice([other for other in names if other != name])]
        given["fallback_after_seconds"] = dice.choice([1, 60])
    return OpenChannelConfig(name=name, type="simulated", **given)


def _supervision(dice: Random, names: list[str], hang_after: float) -> Any:
    children: dict[str, dict[str, Any]] = {name: {"hang_after_seconds": hang_after} for name in names}
    children["router"] = {"hang_after_seconds": hang_after, "mailbox": dice.choice([4, 50, 50_000])}
    return {
        "strategy": dice.choice(["one_for_one", "one_for_one", "one_for_all", "rest_for_one"]),
        "children": children,
    }


def _events(dice: Random, end: float) -> list[Told]:
    events: list[Told] = []
    poisoned = dice.random() < 0.15
    times = sorted(dice.uniform(0, end * 0.7) for _ in range(dice.randint(1, 3)))
    for burst, at in enumerate(times):
        for number in range(dice.choice([1, 1, 2, 3])):
            id_ = f"e{burst}.{number}"
            event = _event(dice, id_)
            poison = poisoned and dice.random() < 0.1
            key = f"key-{id_}" if dice.random() < 0.1 else ""
            events.append(Told(at, seal(event), key, poison))
            if dice.random() < 0.1:
                later = at + dice.choice([0.0, 1.0, 60.0])
                events.append(Told(later, seal(event), key, poison))
    return events


def _event(dice: Random, id_: str, title: str = "t") -> NotificationEvent:
    job = dice.choice(JOBS)
    return NotificationEvent(
        event_id=id_,
        event_type=dice.choice(TYPES),
        source="s",
        title=title,
        severity=dice.choice(SEVERITIES),
        metadata={"job_id": job} if job else {},
        timestamp=MOMENT,
    )


def _faults(dice: Random, config: NotificationConfig, end: float, hang: float) -> Faults:
    faults = Faults(end, hang, lag=dice.choice([0.0, 0.01, 0.5]))
    for name, most in (
        ("crash_after_ack", 0.3),
        ("crash_in_commit", 0.03),
        ("actor", 0.05),
        ("commit_fails", 0.25),
        ("store_fails", 0.03),
        ("slow", 0.2),
    ):
        if dice.random() < OFTEN:
            setattr(faults, name, most * dice.random())
    if hang:
        faults.hang = 0.005 * dice.random()
    if dice.random() < 0.5:
        faults.crashes = [dice.uniform(0, end) for _ in range(dice.randint(1, 2))]
    if dice.random() < 0.3:
        faults.stops = [dice.uniform(0, end) for _ in range(dice.randint(1, 2))]
    for what in NETWORK:
        if dice.random() < 0.4:
            faults.network[what] = 0.2 * dice.random()
    for name, section in config.channels.items():
        timeout = float(section.circuit_breaker.timeout_seconds)
        faults.outages[name] = [_outage(dice, end, timeout) for _ in range(dice.choice([0, 0, 1, 1]))]
    return faults


def _outage(dice: Random, end: float, timeout: float) -> tuple[float, float, str]:
    """Draw an outage: of up to 24 breaker timeouts, which is a day at the longest."""
    since = dice.uniform(0, end)
    return since, since + timeout * 24 * dice.random() ** 4, dice.choice(OUTAGES)
