"""The limit of a mail: its subject. A body may be as long as it wants, its lines are folded."""

import msgspec

from knell.messages import FormattedMessage

from .fit import shortened
from .mail import MAX_SUBJECT
from .mail_headers import one_line


def fit_mail(message: FormattedMessage) -> FormattedMessage:
    """Return a message whose subject is within its limit, and report in its `cuts` what is missing of it."""
    content = message.content
    given = content.get("subject") if isinstance(content, dict) else None
    subject = one_line(str(given or message.metadata.get("subject") or _title(message)))
    if len(subject) <= MAX_SUBJECT:
        return message
    cuts = list(message.cuts)
    subject = shortened(subject, MAX_SUBJECT, "subject", cuts)
    if isinstance(content, dict):
        content = {**content, "subject": subject}
    metadata = {**message.metadata, "subject": subject}
    return msgspec.structs.replace(message, content=content, metadata=metadata, cuts=tuple(cuts))


def _title(message: FormattedMessage) -> str:
    return message.events[0].title if message.events else ""
