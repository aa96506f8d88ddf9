"""The section of a Discord channel."""

from string import Formatter
from typing import Literal, Self

from pydantic import Field, SecretStr, field_validator, model_validator
from yarl import URL

from ..config.schema import ChannelConfig, RateLimit
from .http import SecretUrl, WebUrl

MAX_THREAD_NAME = 100
"""Characters of a forum post's name (discord-api-docs, channel resource)."""

_FORBIDDEN = ("clyde", "discord")
_FOREIGN_FORMS = ("slack", "github")
_IN_NAMES = {"job", "title", "type", "source"}


class DiscordConfig(ChannelConfig):
    """The section of a Discord channel."""

    webhook_url: SecretUrl = Field(description="the address of a webhook; it is a secret")
    username: str | None = Field(None, description="1 to 80 characters, without clyde and discord")
    avatar_url: WebUrl | None = Field(None, description="picture beside the messages")
    thread_id: str | None = Field(
        None, pattern=r"^[0-9]{1,20}$", description="thread all messages go into; absent: the channel itself"
    )
    thread_name: str | None = Field(
        None,
        min_length=1,
        max_length=MAX_THREAD_NAME,
        description="for a forum: name of the post each job gets, of {job}, {title}, {type}, {source}",
    )
    updates: Literal["post", "edit"] = Field(
        "post",
        description="post: a message per event; edit: a job's first message shows its newest state, and only "
        "its end and errors are posted as well",
    )
    concurrency: int = Field(
        # What is left of a bucket is known when an answer is here: more requests on the wire than are left
        # would be refused, and refused requests add up to a ban.
        1,
        ge=1,
        le=1000,
        description="most requests on the wire at once; more than 1 may overrun Discord's limits",
    )
    rate_limit: RateLimit | None = Field(
        RateLimit(max_requests=5, window_seconds=2),
        description="a first guess (birdie0's guide to Discord webhooks); what Discord's answers say counts",
    )

    @field_validator("username")
    @classmethod
    def _is_allowed_name(cls, name: str | None) -> str | None:
        """Apply the rules of discord-api-docs, webhook resource, "Create Webhook"."""
        if name is None:
            return None
        if not 0 < len(name.strip()) <= 80:  # noqa: PLR2004 - the limit is named in the message
            raise ValueError("expected 1 to 80 characters")
        if word := next((word for word in _FORBIDDEN if word in name.lower()), None):
            raise ValueError(f"Discord refuses names that contain {word!r}")
        return name

    @field_validator("webhook_url")
    @classmethod
    def _speaks_discord(cls, url: SecretStr) -> SecretStr:
        if (form := URL(url.get_secret_value()).name) in _FOREIGN_FORMS:
            raise ValueError(f"remove /{form} from its end: that takes messages in the form of {form}")
        return url

    @field_validator("thread_name")
    @classmethod
    def _can_be_filled(cls, name: str | None) -> str | None:
        try:
            parts = list(Formatter().parse(name or ""))
        except ValueError as error:
            raise ValueError(f"not a name with placeholders: {error}") from None
        for _, field, form, conversion in parts:
            if field is not None and (field not in _IN_NAMES or form or conversion):
                raise ValueError(f"{{{field}}} is not one of {', '.join(sorted(_IN_NAMES))}")
        return name

    @model_validator(mode="after")
    def _has_one_thread(self) -> Self:
        url = URL(self.webhook_url.get_secret_value())
        if self.thread_name and (self.thread_id or "thread_id" in url.query):
            raise ValueError("thread_name (a post per job) and thread_id (one thread) exclude each other")
        return self
