"""The circuit breaker: stop calling a provider that fails, and find out when it works again.

    closed    ── `failure_threshold` failures in a row, or one trip ──► open
    open      ── after `timeout` seconds, with the next call ─────────► half-open: one probe at a time
    half-open ── `success_threshold` successes in a row ──────────────► closed
    half-open ── a failure, or a trip ────────────────────────────────► open
    any       ── the endpoint is gone ────────────────────────────────► disabled
    disabled  ── an operator ─────────────────────────────────────────► closed

Calls that were under way when it opened say nothing new when they end: then only the probe counts.
"""

import math
from collections.abc import Hashable
from dataclasses import dataclass
from enum import StrEnum


class Phase(StrEnum):
    """The states of a breaker, and the label of its metrics."""

    CLOSED = "closed"
    OPEN = "open"
    HALF_OPEN = "half_open"
    DISABLED = "disabled"


@dataclass(frozen=True, slots=True)
class BreakerPolicy:
    """When to open and when to close. `timeout` in seconds."""

    failure_threshold: int = 5
    timeout: float = 60.0
    success_threshold: int = 2


@dataclass(slots=True)
class Breaker:
    """One breaker. A plain value: it survives its actor's restart.

    Attributes:
        failures: failures in a row while closed.
        successes: successful probes in a row while half-open.
        probe: the name of the probe under way.
        opened_at: when the outage began; failed probes do not change it.
        retry_at: when an open breaker admits a probe.
    """

    policy: BreakerPolicy
    phase: Phase = Phase.CLOSED
    failures: int = 0
    successes: int = 0
    probe: Hashable = None
    opened_at: float = 0.0
    retry_at: float = 0.0

    def wait(self, now: float) -> float:
        """Return the seconds until a call may be made: 0 = now, infinity = not before something happens."""
        match self.phase:
            case Phase.CLOSED:
                return 0.0
            case Phase.OPEN:
                return max(0.0, self.retry_at - now)
            case Phase.HALF_OPEN if self.probe is None:
                return 0.0
            case _:
                return math.inf

    def admit(self, call: Hashable, now: float) -> None:
        """Note that a call starts.

        Raises:
            ValueError: none may start now; nothing changes.
        """
        if self.wait(now):
            raise ValueError(f"the breaker is {self.phase}")
        if self.phase is not Phase.CLOSED:
            self.phase, self.probe = Phase.HALF_OPEN, call

    def success(self, call: Hashable) -> None:
        """Note that the provider answered a call as it should."""
        if self.phase is Phase.CLOSED:
            self.failures = 0
        elif self._ends_probe(call):
            self.successes += 1
            if self.successes >= self.policy.success_threshold:
                self.reset()

    def failure(self, call: Hashable, now: float) -> None:
        """Note that the provider failed a call."""
        if self.phase is Phase.CLOSED:
            self.failures += 1
            if self.failures >= self.policy.failure_threshold:
                self._open(now)
        elif self._ends_probe(call):
            self._open(now)

    def neutral(self, call: Hashable) -> None:
        """Note that a call ended and says nothing about the provider's health: a 429, a bad message."""
        self._ends_probe(call)

    def trip(self, call: Hashable, now: float) -> None:
        """Note that the channel as a whole cannot work: open at once."""
        if self.phase is Phase.CLOSED or self._ends_probe(call):
            self._open(now)

    def disable(self, now: float) -> None:
        """Call no more until an operator resets it: the endpoint is gone."""
        self._open(now)
        self.phase = Phase.DISABLED

    def reset(self) -> None:
        """Close it, as after enough successes or by an operator."""
        self.phase, self.probe = Phase.CLOSED, None
        self.failures = self.successes = 0

    def _ends_probe(self, call: Hashable) -> bool:
        if self.phase is not Phase.HALF_OPEN or call != self.probe:
            return False
        self.probe = None
        return True

    def _open(self, now: float) -> None:
        if self.phase is Phase.CLOSED:
            self.opened_at = now
        self.phase, self.probe, self.successes = Phase.OPEN, None, 0
        self.retry_at = now + self.policy.timeout
