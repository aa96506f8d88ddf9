"""What Twilio refuses, and with which code (twilio.com/docs/api/errors)."""

import re
from collections.abc import Collection, Mapping
from http import HTTPStatus
from urllib.parse import urlsplit

BODY = 1_600
VALIDITY_MOST = 36_000

SENDER = "+15005550006"
"""The number that may always send; with the next ones from Twilio's "Test credentials" page."""

RECIPIENTS: dict[str, tuple[int, str, int]] = {
    "+15005550001": (21211, "Invalid 'To' Phone Number", HTTPStatus.BAD_REQUEST),
    "+15005550002": (21612, "The 'To' number is not reachable from this 'From'", HTTPStatus.BAD_REQUEST),
    "+15005550003": (21408, "Permission to send to this region is not enabled", HTTPStatus.BAD_REQUEST),
    "+15005550004": (21610, "Attempt to send to unsubscribed recipient", HTTPStatus.BAD_REQUEST),
    "+15005550009": (21614, "'To' number is not a valid mobile number", HTTPStatus.BAD_REQUEST),
    # Ours, from here on.
    "+15005550010": (21608, "The number is unverified: trial accounts", HTTPStatus.BAD_REQUEST),
    "+15005550011": (21611, "This 'From' number has a full queue", HTTPStatus.TOO_MANY_REQUESTS),
    "+15005550012": (20429, "Too Many Requests", HTTPStatus.TOO_MANY_REQUESTS),
}

_E164 = re.compile(r"\+[1-9]\d{1,14}")


class TwilioError(Exception):
    """An error of Twilio: its code and its HTTP status."""

    def __init__(self, code: int, text: str, status: int = HTTPStatus.BAD_REQUEST) -> None:
        super().__init__(text)
        self.code = code
        self.status = status


def check(form: Mapping[str, str], numbers: Collection[str], service_sid: str) -> None:
    """Check the parameters of a new message.

    Raises:
        TwilioError: Twilio would refuse it.
    """
    _check_recipient(form.get("To", ""))
    _check_sender(form, numbers, service_sid)
    _check_body(form.get("Body", ""))
    _check_options(form)


def _check_recipient(number: str) -> None:
    if not number:
        raise TwilioError(21604, "A 'To' phone number is required")
    if not _E164.fullmatch(number):
        raise TwilioError(21211, f"Invalid 'To' Phone Number: {number}")
    if number in RECIPIENTS:
        raise TwilioError(*RECIPIENTS[number])


def _check_sender(form: Mapping[str, str], numbers: Collection[str], service_sid: str) -> None:
    sender, service = form.get("From", ""), form.get("MessagingServiceSid", "")
    if not sender and not service:
        raise TwilioError(21603, "A 'From' phone number is required")
    if service and service != service_sid:
        raise TwilioError(20404, f"The messaging service {service} was not found", HTTPStatus.NOT_FOUND)
    if sender and not _E164.fullmatch(sender):
        raise TwilioError(21212, f"Invalid 'From' Phone Number: {sender}")
    if sender and sender not in numbers:
        raise TwilioError(21606, f"The 'From' number {sender} is not one of this account's")


def _check_body(body: str) -> None:
    if not body:
        raise TwilioError(21602, "Message body is required")
    if len(body) > BODY:
        raise TwilioError(21617, f"The message body exceeds the {BODY} character limit")


def _check_options(form: Mapping[str, str]) -> None:
    validity = form.get("ValidityPeriod", "1")
    if not validity.isdecimal() or not 1 <= int(validity) <= VALIDITY_MOST:
        raise TwilioError(21601, f"ValidityPeriod must be 1 to {VALIDITY_MOST} seconds")
    callback = form.get("StatusCallback", "")
    host = urlsplit(callback).hostname
    if callback and (not host or "_" in host):
        raise TwilioError(21609, "The 'StatusCallback' URL is not valid")
    if form.get("SendAt") and not (form.get("MessagingServiceSid") and form.get("ScheduleType") == "fixed"):
        raise TwilioError(35118, "SendAt needs MessagingServiceSid and ScheduleType")
