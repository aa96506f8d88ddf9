"""The schema of the configuration, in the specification's own shape (contract, section 4).

Every key of every channel type is checked, but a channel type keeps its own keys beside its code: a
subclass of `ChannelConfig` in `channels/<type>.py`. Defaults stand here with the source of each number.
"""

from collections.abc import Iterator
from ipaddress import IPv4Network, IPv6Network
from typing import Annotated, Any, Literal, Self

from pydantic import (
    AliasChoices,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    SecretStr,
    field_validator,
    model_validator,
)

from knell.filters import Filter, parse

CHANNEL_NAME = r"^[A-Za-z0-9][A-Za-z0-9_\-]{0,63}$"

Locale = Literal["en", "ja"]


def _flag(value: object) -> object:
    """Take true and false only: `yes` and `on` are text here, and text is no switch."""
    if isinstance(value, str) and value.lower() not in {"true", "false"}:
        raise ValueError("expected true or false")
    return value


def _listed(value: object) -> object:
    return [value] if isinstance(value, str) else value


def _filters(value: object) -> object:
    return value if isinstance(value, Filter) else parse(value)


Flag = Annotated[bool, BeforeValidator(_flag)]
Seconds = Annotated[float, Field(ge=0, le=366 * 86400)]
Names = Annotated[list[str], BeforeValidator(_listed)]
FilterExpression = Annotated[
    Any,
    BeforeValidator(_filters),
    Field(json_schema_extra={"anyOf": [{"type": "object"}, {"type": "array"}]}),
]


class Strict(BaseModel):
    """A section that knows all its keys, never changes, and never echoes a value in an error."""

    model_config = ConfigDict(
        extra="forbid", frozen=True, hide_input_in_errors=True, populate_by_name=True, validate_default=True
    )


class RetryPolicy(Strict):
    """How often and how long a failed delivery is tried again (specification, "Retry Strategy")."""

    max_retries: int = Field(3, ge=0, le=10_000, description="attempts after the first")
    initial_delay_ms: int = Field(1000, ge=0, description="upper bound of the first wait")
    max_delay_ms: int = Field(30_000, ge=0, description="upper bound of every wait")
    backoff_multiplier: float = Field(2.0, ge=1, description="growth of the bound per attempt")
    retry_on_errors: list[Literal["timeout", "connection_error", "rate_limit", "server_error"]] = Field(
        ["timeout", "connection_error", "rate_limit", "server_error"],
        description="reasons worth another attempt",
    )


class RateLimit(Strict):
    """A token bucket: a limit delays, it never drops."""

    max_requests: int = Field(ge=1, description="requests per window")
    window_seconds: float = Field(1.0, gt=0, description="length of the window")
    burst_size: int | None = Field(None, ge=1, description="most at once; max_requests when absent")

    @property
    def burst(self) -> int:
        """The bucket's size."""
        return self.burst_size or self.max_requests


class BatchConfig(Strict):
    """Several events in one message; critical ones never wait for company."""

    enabled: Flag = False
    max_batch_size: int = Field(10, ge=1, le=100)
    max_wait_seconds: Seconds = 30
    batch_by: Literal["event_type", "channel"] = "event_type"


class CircuitBreakerConfig(Strict):
    """When to stop calling a provider that fails, and when to try it again."""

    failure_threshold: int = Field(5, ge=1, description="failures in a row that open it")
    timeout_seconds: Seconds = Field(60, description="wait before a probe")
    success_threshold: int = Field(2, ge=1, description="probes in a row that close it")


class ChannelConfig(Strict):
    """What every channel's section may hold. `name` is the section's name, set by the loader."""

    name: str = Field("", pattern=rf"{CHANNEL_NAME}|^$", description="set from the section's name")
    type: str = Field("", description="channel type, or package.module:ClassName; the section's name when absent")
    enabled: Flag = True
    events: Names | None = Field(None, description="event types it gets, '*' for all; absent: the defaults")
    filters: FilterExpression = None
    template_overrides: dict[str, str] = Field({}, description="event type -> template name")
    retry_config: RetryPolicy | None = Field(None, validation_alias=AliasChoices("retry_config", "retry"))
    rate_limit: RateLimit | None = None
    batch: BatchConfig = BatchConfig()
    circuit_breaker: CircuitBreakerConfig = CircuitBreakerConfig()
    fallback: Names = Field([], description="channels tried when this one cannot deliver")
    fallback_after_seconds: Seconds = Field(60, description="how long the breaker may be open before that")
    expire_after_seconds: Seconds | None = Field(None, description="age at which a delivery is worthless")
    concurrency: int = Field(32, ge=1, le=1000, description="most requests on the wire at once")
    timeout_seconds: float = Field(15.0, gt=0, le=600, description="deadline of one attempt")
    locale: Locale | None = None

    @field_validator("filters", mode="before")
    @classmethod
    def _no_filters(cls, value: object) -> object:
        return [] if value is None else value

    def __getitem__(self, key: str) -> Any:
        """Read a key as from a mapping; secrets come as text."""
        value = self.model_extra[key] if self.model_extra and key in self.model_extra else getattr(self, key)
        return value.get_secret_value() if isinstance(value, SecretStr) else value

    def get(self, key: str, default: Any = None) -> Any:
        """Read a key as from a mapping."""
        return self[key] if key in self else default

    def __contains__(self, key: object) -> bool:
        """Whether the section may hold this key, or holds it."""
        return key in type(self).model_fields or key in (self.model_extra or {})


class OpenChannelConfig(ChannelConfig):
    """The section of a third-party channel that declares no schema: its own keys are kept as they are."""

    model_config = ConfigDict(extra="allow")


class RoutingRule(Strict):
    """Which events go to which channels."""

    name: str
    event_types: Names = Field(["*"], description="event types, '*' for all")
    channels: Names
    filters: FilterExpression = Field([], validate_default=True)
    priority: int = Field(0, description="higher is taken first")
    stop: Flag = Field(False, description="no further rule is looked at after this one matched")


class Backoff(Strict):
    """How long a crashed actor stays down before its next start."""

    min_seconds: Seconds = 0.1
    max_seconds: Seconds = 30
    jitter: float = Field(0.2, ge=0, le=1, description="share of random extra wait")


class ChildConfig(Strict):
    """Supervision of one actor, by its name; what is absent comes from `supervision`."""

    max_restarts: int | None = Field(None, ge=0)
    within_seconds: Seconds | None = None
    backoff: Backoff | None = None
    shutdown_seconds: Seconds | None = None
    hang_after_seconds: Seconds | None = None
    mailbox: int | None = Field(None, ge=1)
    attempts: int | None = Field(None, ge=1)


class Supervision(Strict):
    """The supervision tree (contract, section 4): its topology is configuration."""

    strategy: Literal["one_for_one", "one_for_all", "rest_for_one"] = "one_for_one"
    max_restarts: int = Field(5, ge=0)
    within_seconds: Seconds = 60
    backoff: Backoff = Backoff()
    cooldown_seconds: Seconds = Field(60, description="a degraded channel is tried again after this")
    max_zombies: int = Field(16, ge=0, description="hung threads before the process ends")
    children: dict[str, ChildConfig] = {}


class Store(Strict):
    """Where accepted events live."""

    url: str = Field("sqlite:///.knell/knell.db", pattern=r"^(sqlite|postgresql)://")
    retention_days: float = Field(30, gt=0)
    dedup_days: float = Field(7, gt=0)


class Http(Strict):
    """The service's own HTTP server."""

    enabled: Flag = False
    listen: str = Field("127.0.0.1:8321", pattern=r"^[^:\s]+:\d{1,5}$|^\[[0-9a-fA-F:]+\]:\d{1,5}$")
    tokens: list[SecretStr] = []

    @property
    def address(self) -> tuple[str, int]:
        """Host and port."""
        host, _, port = self.listen.rpartition(":")
        return host.strip("[]"), int(port)


class Security(Strict):
    """What outgoing connections may do."""

    require_tls: Flag = True
    allowed_networks: list[IPv4Network | IPv6Network] = []
    redact: list[Literal["email", "phone", "token"]] = []


class Dedup(Strict):
    """Events that mean the same within a window count once."""

    key: list[str] = Field(min_length=1)
    window_seconds: Seconds = 60


class Templates(Strict):
    """Folders with templates of the operator, looked at before the built-in ones."""

    directories: Names = []


class NotificationConfig(Strict):
    """The whole configuration. Channel sections are already of their own type."""

    channels: dict[Annotated[str, Field(pattern=CHANNEL_NAME)], ChannelConfig] = {}
    event_routing: list[RoutingRule] = []
    global_filters: FilterExpression = Field([], validate_default=True)
    retry_policy: RetryPolicy = RetryPolicy()
    rate_limits: dict[str, RateLimit] = {}
    supervision: Supervision = Supervision()
    store: Store = Store()
    http: Http = Http()
    sources: list[dict[str, Any]] = []
    dedup: Dedup | None = None
    templates: Templates = Templates()
    security: Security = Security()
    dashboard_url: str = ""
    locale: Locale = "en"

    @model_validator(mode="after")
    def _rules_are_distinct(self) -> Self:
        seen: set[str] = set()
        for rule in self.event_routing:
            if rule.name in seen:
                raise ValueError(f"event_routing: two rules are named {rule.name!r}")
            seen.add(rule.name)
        return self

    def enabled_channels(self) -> Iterator[tuple[str, ChannelConfig]]:
        """Return the channels that have an actor, in the order of the file."""
        return ((name, section) for name, section in self.channels.items() if section.enabled)
