"""The section of a Slack channel."""

from typing import Annotated, Literal, Self

from pydantic import AfterValidator, Field, SecretStr, model_validator

from ..config.schema import ChannelConfig, Flag, RateLimit, Strict
from .http import SecretUrl, WebUrl

_Emoji = Annotated[
    str, Field(pattern=r"^(:?[^:\s]+(::skin-tone-[2-6])?:?)?$"), AfterValidator(lambda name: name.strip(":"))
]
"""A reaction's name, kept without the colons that `reactions.add` refuses."""


class Reactions(Strict):
    """Emoji on the first message of a job, one at a time; an empty name for none."""

    started: _Emoji = Field(default="hourglass_flowing_sand", description="while the job runs")
    succeeded: _Emoji = Field(default="white_check_mark", description="when it is completed")
    failed: _Emoji = Field(default="x", description="when it has failed")
    cancelled: _Emoji = Field(default="no_entry_sign", description="when it was cancelled")


class SlackConfig(ChannelConfig):
    """The section of a Slack channel: `webhook_url`, or `bot_token` and `channel`.

    App webhooks ignore `channel`, `username` and `icon_emoji`; the old integrations' webhooks honour them.
    What threads, edits, reacts and uploads needs `bot_token`.
    """

    webhook_url: SecretUrl | None = Field(None, description="the address of an incoming webhook")
    bot_token: SecretStr | None = Field(None, description="xoxb-..., for the Web API; needs `channel`")
    channel: str = Field("", description="#name or ID")
    username: str = Field("", description="with a bot token this needs the scope chat:write.customize")
    icon_emoji: str = Field("", pattern=r"^(:[^:\s]+:)?$", description=":name:; scope as for username")
    threads: Flag = Field(
        default=True, description="a thread for each job (metadata.job_id); needs bot_token"
    )
    edit_parent: Flag = Field(
        default=True, description="a thread's first message shows how the job ended; needs bot_token"
    )
    reactions: Reactions | Literal[False] = Field(
        Reactions(), description="emoji for the job's state on its thread, or false; scope reactions:write"
    )
    broadcast_failures: Flag = Field(
        default=True, description="a failed job, and what is critical, is shown outside of its thread too"
    )
    upload_files: Flag = Field(default=True, description="upload attachments; needs the scope files:write")
    api_base_url: WebUrl = Field("https://slack.com/api", description="where the Web API is")
    rate_limit: RateLimit | None = Field(
        RateLimit(max_requests=1, window_seconds=1, burst_size=3),
        description='1/s for a channel or webhook, short bursts tolerated (docs.slack.dev, "Rate limits")',
    )

    @model_validator(mode="after")
    def _has_one_transport(self) -> Self:
        if (self.webhook_url is None) == (self.bot_token is None):
            raise ValueError("set either webhook_url or bot_token")
        if self.bot_token is not None and not (self.channel and self.bot_token.get_secret_value()):
            raise ValueError("bot_token must not be empty, and needs channel")
        return self

    def emoji(self, state: str) -> str:
        """Return the reaction for a job's state, empty for none."""
        return str(getattr(self.reactions, state)) if self.reactions else ""

    def scopes(self) -> dict[str, str]:
        """Return the scopes the bot token needs, each with what for."""
        wanted = {
            "chat:write": "messages",
            "chat:write.customize": "username and icon_emoji" if self.username or self.icon_emoji else "",
            "reactions:write": "reactions" if self.threads and self.reactions else "",
            "files:write": "files" if self.upload_files else "",
        }
        return {scope: purpose for scope, purpose in wanted.items() if purpose}

    def doubts(self) -> list[str]:
        """Return what is configured and cannot work, in plain words."""
        given = [name for name in _BOT_ONLY if name in self.model_fields_set and getattr(self, name)]
        if self.bot_token is None:
            return [f"{name}: an incoming webhook cannot do that, use bot_token" for name in given]
        doubts = [
            f"{name}: does nothing without threads"
            for name in given
            if not self.threads and name not in {"threads", "upload_files"}
        ]
        if not self.bot_token.get_secret_value().startswith("xox"):
            doubts.append("bot_token: a Bot User OAuth Token begins with xoxb-")
        return doubts


_BOT_ONLY = ("threads", "edit_parent", "reactions", "broadcast_failures", "upload_files")
