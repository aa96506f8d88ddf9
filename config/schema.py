"""The schema of the configuration, in the specification's own shape (contract, section 4).

Every key of every channel type is checked, but a channel type keeps its own keys beside its code: a
subclass of `ChannelConfig` in `channels/<type>.py`. Defaults stand here with the source of each number.
The descriptions are what an editor shows, and what the reference page is made of.
"""

from collections.abc import Iterator
from typing import Annotated, Any, Literal, Self, get_args

from pydantic import (
    AfterValidator,
    AliasChoices,
    BaseModel,
    ConfigDict,
    Field,
    SecretStr,
    ValidationInfo,
    field_validator,
    model_validator,
)

from knell.filters import EVERYTHING

from .values import (
    EventTypes,
    FilterExpression,
    Flag,
    Locale,
    Names,
    Network,
    Seconds,
    event_field,
    host_and_port,
    store_url,
    true_or_false,
)

__all__ = [
    "CHANNEL_NAME",
    "Backoff",
    "BatchConfig",
    "ChannelConfig",
    "ChildConfig",
    "CircuitBreakerConfig",
    "Dedup",
    "EventTypes",
    "FilterExpression",
    "Flag",
    "Http",
    "Locale",
    "Names",
    "Network",
    "NotificationConfig",
    "OpenChannelConfig",
    "RateLimit",
    "RetryPolicy",
    "RoutingRule",
    "Seconds",
    "Security",
    "Store",
    "Strict",
    "Supervision",
    "Templates",
]

CHANNEL_NAME = r"^[A-Za-z0-9][A-Za-z0-9_\-]{0,63}$"


class Strict(BaseModel):
    """A section that knows all its keys, never changes, and never echoes a value in an error."""

    model_config = ConfigDict(
        extra="forbid",
        frozen=True,
        hide_input_in_errors=True,
        populate_by_name=True,
        validate_default=True,
        allow_inf_nan=False,
    )

    @field_validator("*", mode="before")
    @classmethod
    def _no_switch_is_a_number(cls, value: object, info: ValidationInfo) -> object:
        """Keep pydantic from taking `yes`, `on` and 1 for true, and true for 1; third parties' fields too."""
        annotation = cls.model_fields[info.field_name or ""].annotation
        kinds = {annotation, *get_args(annotation)}
        if bool in kinds and value is not None:
            return true_or_false(value)
        if isinstance(value, bool) and kinds & {int, float}:
            raise ValueError("expected a number, got true or false")
        return value


class RetryPolicy(Strict):
    """How often and how long a failed delivery is tried again (specification, "Retry Strategy")."""

    max_retries: int = Field(default=3, ge=0, le=10_000, description="attempts after the first")
    initial_delay_ms: int = Field(default=1000, ge=0, description="upper bound of the first wait")
    max_delay_ms: int = Field(default=30_000, ge=0, description="upper bound of every wait")
    backoff_multiplier: float = Field(default=2.0, ge=1, description="growth of the bound per attempt")
    retry_on_errors: list[Literal["timeout", "connection_error", "rate_limit", "server_error"]] = Field(
        default=["timeout", "connection_error", "rate_limit", "server_error"],
        description="reasons worth another attempt",
    )


class RateLimit(Strict):
    """A token bucket: a limit delays, it never drops."""

    max_requests: int = Field(ge=1, description="requests per window")
    window_seconds: float = Field(default=1.0, gt=0, description="length of the window")
    burst_size: int | None = Field(default=None, ge=1, description="most at once; max_requests when absent")

    @property
    def burst(self) -> int:
        """The bucket's size."""
        return self.burst_size or self.max_requests


class BatchConfig(Strict):
    """Several events in one message; critical ones never wait for company."""

    enabled: Flag = Field(default=False, description="whether events are collected at all")
    max_batch_size: int = Field(default=10, ge=1, le=100, description="events that fill a message")
    max_wait_seconds: Seconds = Field(default=30, description="how long the first event waits for others")
    batch_by: Literal["event_type", "channel"] = Field(
        default="event_type", description="what may share a message"
    )


class CircuitBreakerConfig(Strict):
    """When to stop calling a provider that fails, and when to try it again."""

    failure_threshold: int = Field(default=5, ge=1, description="failures in a row that open it")
    timeout_seconds: Seconds = Field(default=60, description="wait before a probe")
    success_threshold: int = Field(default=2, ge=1, description="probes in a row that close it")


class ChannelConfig(Strict):
    """What every channel's section may hold. `name` is the section's name, set by the loader."""

    name: str = Field(default="", pattern=rf"{CHANNEL_NAME}|^$", description="set from the section's name")
    type: str = Field(
        default="", description="channel type, or package.module:ClassName; the section's name when absent"
    )
    enabled: Flag = Field(
        default=True, description="a disabled channel gets nothing and needs no credentials"
    )
    events: EventTypes | None = Field(
        default=None, description="event types it gets, '*' for all; absent: the defaults"
    )
    filters: FilterExpression = Field(default=EVERYTHING, description="what an event must be to pass")
    template_overrides: dict[str, str] = Field(default={}, description="event type -> template name")
    retry_config: RetryPolicy | None = Field(
        default=None,
        validation_alias=AliasChoices("retry_config", "retry"),
        description="how failed deliveries are tried again; retry_policy when absent",
    )
    rate_limit: RateLimit | None = Field(
        default=None, description="most requests in a time; a limit delays, never drops"
    )
    batch: BatchConfig = Field(default=BatchConfig(), description="several events in one message")
    circuit_breaker: CircuitBreakerConfig = Field(
        default=CircuitBreakerConfig(), description="when to stop calling a provider that fails"
    )
    fallback: Names = Field(default=[], description="channels tried when this one cannot deliver")
    fallback_after_seconds: Seconds = Field(
        default=60, description="how long the breaker may be open before that"
    )
    expire_after_seconds: Seconds | None = Field(
        default=None, description="age at which a delivery is worthless"
    )
    concurrency: int = Field(default=32, ge=1, le=1000, description="most requests on the wire at once")
    timeout_seconds: float = Field(default=15.0, gt=0, le=600, description="deadline of one attempt")
    locale: Locale | None = Field(
        default=None, description="language of its messages; the global one when absent"
    )

    def __getitem__(self, key: str) -> Any:
        """Read a key as from a mapping; secrets come as text."""
        value = self.model_extra[key] if self.model_extra and key in self.model_extra else getattr(self, key)
        return value.get_secret_value() if isinstance(value, SecretStr) else value

    def get(self, key: str, default: Any = None) -> Any:
        """Read a key as from a mapping."""
        return self[key] if key in self else default  # noqa: SIM401 - this is the `get` the rule would call

    def __contains__(self, key: object) -> bool:
        """Whether the section may hold this key, or holds it."""
        return key in type(self).model_fields or key in (self.model_extra or {})


class OpenChannelConfig(ChannelConfig):
    """The section of a third-party channel that declares no schema: its own keys are kept as they are."""

    model_config = ConfigDict(extra="allow")


class RoutingRule(Strict):
    """Which events go to which channels."""

    name: str = Field(min_length=1, description="what explanations and traces call it")
    event_types: EventTypes = Field(default=["*"], description="event types, '*' for all")
    channels: Names = Field(description="names of channels; a disabled one gets nothing")
    filters: FilterExpression = Field(
        default=EVERYTHING, description="what an event must be for the rule to match"
    )
    priority: int = Field(default=0, description="higher is taken first")
    stop: Flag = Field(default=False, description="no further rule is looked at after this one matched")


class Backoff(Strict):
    """How long a crashed actor stays down before its next start."""

    min_seconds: Seconds = Field(default=0.1, description="wait after the first crash")
    max_seconds: Seconds = Field(default=30, description="upper bound of every wait")
    jitter: float = Field(default=0.2, ge=0, le=1, description="share of random extra wait")


class ChildConfig(Strict):
    """Supervision of one actor, by its name; what is absent comes from `supervision`."""

    max_restarts: int | None = Field(
        default=None,
        ge=0,
        description="restarts within the window before a channel is degraded, or the system fails",
    )
    within_seconds: Seconds | None = Field(default=None, description="length of the window")
    backoff: Backoff | None = Field(default=None, description="wait before a restart")
    shutdown_seconds: Seconds | None = Field(default=None, description="time to finish when it is stopped")
    hang_after_seconds: Seconds | None = Field(
        default=None, description="silence after which it counts as hung"
    )
    mailbox: int | None = Field(default=None, ge=1, description="most messages that wait for it")
    attempts: int | None = Field(
        default=None, ge=1, description="crashes on one delivery before that is quarantined"
    )


class Supervision(Strict):
    """The supervision tree: its topology is configuration."""

    strategy: Literal["one_for_one", "one_for_all", "rest_for_one"] = Field(
        default="one_for_one",
        description="which actors restart when one crashes: it, all, or it and those after it",
    )
    max_restarts: int = Field(
        default=5, ge=0, description="restarts within the window before an actor is degraded"
    )
    within_seconds: Seconds = Field(default=60, description="length of the window")
    backoff: Backoff = Field(default=Backoff(), description="wait before a restart")
    cooldown_seconds: Seconds = Field(default=60, description="a degraded channel is tried again after this")
    max_zombies: int = Field(default=16, ge=0, description="hung threads before the process ends")
    children: dict[str, ChildConfig] = Field(
        default={}, description="per actor: router, outbox, or a channel's name"
    )


class Store(Strict):
    """Where accepted events live."""

    url: Annotated[str, AfterValidator(store_url)] = Field(
        default="sqlite:///.knell/knell.db", description="sqlite:///path or postgresql://user@host/database"
    )
    retention_days: float = Field(default=30, gt=0, description="how long finished deliveries are kept")
    dead_retention_days: float = Field(default=90, gt=0, description="how long dead letters are kept")
    dedup_days: float = Field(default=7, gt=0, description="how long an event id counts as seen")
    min_free_mb: int = Field(
        default=128, ge=0, description="free disk space in MiB below which no event is taken; 0: never"
    )


class Http(Strict):
    """The service's own HTTP server."""

    enabled: Flag = Field(default=False, description="whether there is one; `knell run` has one by default")
    listen: Annotated[str, AfterValidator(host_and_port)] = Field(
        default="127.0.0.1:8321", description="host:port"
    )
    tokens: list[SecretStr] = Field(
        default=[], description="bearer tokens; without any it binds to loopback only"
    )

    @property
    def address(self) -> tuple[str, int]:
        """Host and port."""
        host, _, port = self.listen.rpartition(":")
        return host.strip("[]"), int(port)


class Security(Strict):
    """What outgoing connections may do."""

    require_tls: Flag = Field(default=True, description="refuse plain HTTP, and SMTP logins without TLS")
    allowed_networks: list[Network] = Field(default=[], description="private networks that may be called")
    redact: list[Literal["email", "phone", "token"]] = Field(
        default=[], description="what is masked in messages"
    )


class Dedup(Strict):
    """Events that mean the same within a window count once."""

    key: list[Annotated[str, AfterValidator(event_field)]] = Field(
        min_length=1, description="fields that must be equal, such as metadata.job_id"
    )
    window_seconds: Seconds = Field(default=60, description="length of the window")


class Templates(Strict):
    """Folders with templates of the operator, looked at before the built-in ones."""

    directories: Names = Field(default=[], description="folders, the first one wins")


class NotificationConfig(Strict):
    """The whole configuration. Channel sections are already of their own type."""

    channels: dict[Annotated[str, Field(pattern=CHANNEL_NAME)], ChannelConfig] = Field(
        default={}, description="one section per channel; its name is the channel's name"
    )
    event_routing: list[RoutingRule] = Field(
        default=[], description="which events go where, by descending priority"
    )
    global_filters: FilterExpression = Field(
        default=EVERYTHING, description="what every event must be to be sent at all"
    )
    retry_policy: RetryPolicy = Field(
        default=RetryPolicy(), description="for channels without a retry_config"
    )
    rate_limits: dict[str, RateLimit] = Field(
        default={}, description="per channel, the same as its rate_limit"
    )
    supervision: Supervision = Field(default=Supervision(), description="how crashed actors are restarted")
    store: Store = Field(default=Store(), description="where accepted events live")
    http: Http = Field(default=Http(), description="the service's own HTTP server")
    sources: list[dict[str, Any]] = Field(default=[], description="where events come from besides the API")
    dedup: Dedup | None = Field(default=None, description="which events count once")
    templates: Templates = Field(default=Templates(), description="where templates are looked for")
    security: Security = Field(default=Security(), description="what outgoing connections may do")
    dashboard_url: str = Field(
        default="http://localhost:8080",
        description="where the button of a message leads; no button when empty",
    )
    locale: Locale = Field(default="en", description="language of messages")

    @model_validator(mode="after")
    def _limits_reach_their_channels(self) -> Self:
        """Put `rate_limits` where the channels look, for a configuration that no file was read for."""
        for name, limit in self.rate_limits.items():
            section = self.channels.get(name)
            if section is not None and "rate_limit" not in section.model_fields_set:
                self.channels[name] = section.model_copy(update={"rate_limit": limit})
        return self

    def enabled_channels(self) -> Iterator[tuple[str, ChannelConfig]]:
        """Return the channels that have an actor, in the order of the file."""
        return ((name, section) for name, section in self.channels.items() if section.enabled)
