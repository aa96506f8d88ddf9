"""Who has got a message that goes to several recipients, over all its attempts."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, cast


@dataclass(slots=True)
class Tally:
    """The recipients of one message, each in one place.

    Attributes:
        left: not tried yet in this attempt, in order.
        accepted: recipient -> the provider's reference. Never sent to again.
        refused: recipient -> why; no automatic attempt tries them again.
        deferred: recipient -> why; tried in this attempt, to be tried in the next.
        in_doubt: the provider may have the message for some of those left: it was sent and not answered.
    """

    left: list[str]
    accepted: dict[str, str] = field(default_factory=dict[str, str])
    refused: dict[str, str] = field(default_factory=dict[str, str])
    deferred: dict[str, str] = field(default_factory=dict[str, str])
    in_doubt: bool = False

    @classmethod
    def resume(cls, everyone: Iterable[str], progress: Mapping[str, Any]) -> "Tally":
        """Go on where the progress of earlier attempts ends.

        Those refused for good are left out, unless nobody else is left: then an operator has replayed the
        dead letter, and they are the ones it is for.
        """
        accepted = _texts(progress.get("accepted"))
        refused = _texts(progress.get("refused"))
        waiting = [recipient for recipient in dict.fromkeys(everyone) if recipient not in accepted]
        left = [recipient for recipient in waiting if recipient not in refused]
        return cls(left, accepted, refused) if left else cls(waiting, accepted)

    def accept(self, recipient: str, reference: str) -> None:
        """Settle one: the provider has the message for it."""
        self.left.remove(recipient)
        self.accepted[recipient] = reference

    def refuse(self, recipient: str, why: str) -> None:
        """Settle one: it can never get the message."""
        self.left.remove(recipient)
        self.refused[recipient] = why

    def defer(self, recipient: str, why: str) -> None:
        """Leave one to the next attempt."""
        self.left.remove(recipient)
        self.deferred[recipient] = why

    @property
    def progress(self) -> dict[str, Any]:
        """What the next attempt has to know: empty while nobody is settled."""
        settled = {"accepted": dict(self.accepted), "refused": dict(self.refused)}
        return settled if self.accepted or self.refused else {}


def listed(reasons: Mapping[str, str]) -> str:
    """Name recipients and what was said of each."""
    return "; ".join(f"{recipient}: {why}" for recipient, why in reasons.items())


def _texts(found: Any) -> dict[str, str]:
    if isinstance(found, dict):
        return {str(recipient): str(said) for recipient, said in cast("dict[str, Any]", found).items()}
    if isinstance(found, list):
        return {str(recipient): "" for recipient in cast("list[str]", found)}
    return {}
