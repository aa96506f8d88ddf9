"""What goes into a channel's core and what comes out of it: the rules, the state, inputs and effects."""

import math
from dataclasses import dataclass, field

from knell.deliveries import Attempt, Delivery, Settlement
from knell.messages import Outcome

from .batcher import BatchPolicy
from .breaker import Breaker, BreakerPolicy, Phase
from .limiter import TokenBucket
from .retry import RetryPolicy

LEAST_WINDOW = 16
"""Deliveries to hold at least, so that a commit of the outbox fetches several."""


CRASH_LIMIT = 3
"""Crashes over one delivery before it is quarantined (contract, section 7)."""


@dataclass(frozen=True, slots=True)
class ChannelPolicy:
    """The rules of one channel.

    Attributes:
        rate: seconds per token and tokens of a full bucket; None for no limit.
        concurrency: most attempts under way at once.
        divert_after: seconds of an open breaker after which the fallback channels get the deliveries too.
        crash_limit: crashes over one delivery before it is quarantined.
    """

    retry: RetryPolicy = field(default_factory=RetryPolicy)
    breaker: BreakerPolicy = field(default_factory=BreakerPolicy)
    batch: BatchPolicy = field(default_factory=BatchPolicy)
    rate: tuple[float, int] | None = None
    concurrency: int = 32
    divert_after: float | None = None
    crash_limit: int = CRASH_LIMIT

    @property
    def window(self) -> int:
        """How many deliveries wait in memory at most; the others wait in the outbox."""
        return max(2 * self.batch.max_size, self.concurrency, LEAST_WINDOW)


@dataclass(slots=True)
class ChannelState:
    """What outlives a crash: a provider that said "wait" must not be asked again at once.

    Attributes:
        paused_until: end of a pause that the provider asked for, by a 429 or before it had to.
        limits: answers of 429 in a row.
        diverted: whether the fallback channels are getting the deliveries too.
    """

    breaker: Breaker
    bucket: TokenBucket | None = None
    paused_until: float = -math.inf
    limits: int = 0
    diverted: bool = False

    @classmethod
    def fresh(cls, policy: ChannelPolicy) -> "ChannelState":
        """Return the state of a channel that has done nothing yet."""
        return cls(Breaker(policy.breaker), TokenBucket(*policy.rate) if policy.rate else None)

    def under(self, policy: ChannelPolicy) -> "ChannelState":
        """Return this state under changed rules: a reload forgives no debt and closes no breaker."""
        self.breaker.policy = policy.breaker
        self.bucket = (self.bucket or TokenBucket(0, 1)).configured(*policy.rate) if policy.rate else None
        return self


@dataclass(frozen=True, slots=True)
class Deliver:
    """The outbox hands over deliveries that may go, in order; the answer to `Fetch`.

    `held`: what the request left out; None: nobody asked.
    """

    deliveries: tuple[Delivery, ...]
    held: frozenset[int] | None = None


@dataclass(frozen=True, slots=True)
class Attempted:
    """An attempt ended with an outcome of the channel. `elapsed` in seconds."""

    attempt: Attempt
    outcome: Outcome
    elapsed: float = 0.0


@dataclass(frozen=True, slots=True)
class Broke:
    """An attempt ended with an exception that escaped the channel: it is about to crash its actor."""

    attempt: Attempt
    detail: str
    elapsed: float = 0.0


@dataclass(frozen=True, slots=True)
class Withdrawn:
    """An attempt was never begun: a row of it was cancelled or taken meanwhile."""

    attempt: Attempt


@dataclass(frozen=True, slots=True)
class Tick:
    """Time has passed: a moment named by `WakeAt`, or the start of an incarnation."""


@dataclass(frozen=True, slots=True)
class Drain:
    """Begin nothing more; what is under way may end."""


@dataclass(frozen=True, slots=True)
class Reset:
    """An operator says the provider works again: close the breaker, end every pause."""


Input = Deliver | Attempted | Broke | Withdrawn | Tick | Drain | Reset


@dataclass(frozen=True, slots=True)
class Fetch:
    """Ask the outbox for up to `limit` deliveries besides `held`, with up to `chain` of one order key."""

    limit: int
    chain: int
    held: frozenset[int]


@dataclass(frozen=True, slots=True)
class Send:
    """Commit this attempt as begun, then send it."""

    attempt: Attempt


@dataclass(frozen=True, slots=True)
class Settle:
    """Write down how an attempt ended, for each of its deliveries."""

    settlements: tuple[Settlement, ...]


@dataclass(frozen=True, slots=True)
class WakeAt:
    """Hand in a `Tick` at this time; replaces the one asked for before."""

    at: float


@dataclass(frozen=True, slots=True)
class Changed:
    """The breaker went from one phase to another; `why` is for people."""

    before: Phase
    after: Phase
    why: str


@dataclass(frozen=True, slots=True)
class Limited:
    """A message waited this many seconds for the rate limit or for the provider's Retry-After."""

    seconds: float


@dataclass(frozen=True, slots=True)
class Divert:
    """Start or stop giving this channel's deliveries to its fallback channels as well."""

    on: bool


Effect = Fetch | Send | Settle | WakeAt | Changed | Limited | Divert
