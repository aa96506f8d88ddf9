"""What can go wrong, as exceptions a host may catch.

A delivery that fails is never one of these: it is a value (`knell.messages.DeliveryResult`).
"""


class KnellError(Exception):
    """Anything knell raises on purpose."""


class ConfigError(KnellError):
    """The configuration is wrong; `problems` holds every finding, each with its place in the file."""

    def __init__(self, message: str, problems: tuple[object, ...] = ()) -> None:
        super().__init__(message)
        self.problems = problems


class EventError(KnellError, ValueError):
    """An event is malformed: the message names the field and what is wrong with it."""


class TemplateError(KnellError):
    """A template cannot be parsed or rendered."""


class ChannelError(KnellError):
    """A channel cannot be found, built or used."""


class DeliveryError(KnellError):
    """A delivery cannot be looked up or changed."""


class StoreError(KnellError):
    """The outbox cannot read or write its store."""


class StoreFull(StoreError):  # noqa: N818 - the state it reports
    """There is no room for more: the disk, or a limit of it."""


class StoreLocked(StoreError):  # noqa: N818 - the state it reports, as the message says
    """Another process owns this store."""


class WebhookVerificationError(KnellError):
    """A webhook is not to be believed, for the reason the message gives (`knell.webhooks.verify`)."""


class SystemStopped(KnellError):  # noqa: N818
    """The system was stopped, or this process is a fork of the one that runs it."""


NotificationError = KnellError
"""The name the NecroCode specification uses for `KnellError`."""
