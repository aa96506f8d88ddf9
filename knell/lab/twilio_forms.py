"""What Twilio posts to those who use it: the forms of its two webhooks, and their signature."""

import base64
import hmac
import secrets
from collections.abc import Mapping
from typing import Any

FINAL = {"delivered", "undelivered", "failed", "canceled", "partially_delivered"}
"""States after which nothing but `read` comes."""


def status_form(resource: Mapping[str, Any], status: str, error_code: int | None) -> dict[str, str]:
    """Return a status callback, with fields that nobody asked for: Twilio may add some any day."""
    form = {
        "MessageSid": str(resource["sid"]),
        "MessageStatus": status,
        "SmsStatus": status,
        "AccountSid": str(resource["account_sid"]),
        "To": str(resource["to"]),
        "From": str(resource["from"] or ""),
        "ApiVersion": "2010-04-01",
        "RawDlrDoneDate": "2601311200",
    }
    if error_code is not None and status in FINAL:
        form["ErrorCode"] = str(error_code)
    return form


def answer_form(account_sid: str, number: str, text: str, to: str, kind: str) -> dict[str, str]:
    """Return what the messaging webhook gets when somebody answers; `kind` is Advanced Opt-Out's word."""
    form = {
        "MessageSid": f"SM{secrets.token_hex(16)}",
        "AccountSid": account_sid,
        "SmsStatus": "received",
        "From": number,
        "To": to,
        "Body": text,
        "ApiVersion": "2010-04-01",
    }
    return form | {"OptOutType": kind} if kind else form


def signature(auth_token: str, url: str, form: Mapping[str, str]) -> str:
    """Return `X-Twilio-Signature` (twilio.com/docs/usage/security)."""
    text = url + "".join(f"{key}{form[key]}" for key in sorted(form))
    return base64.b64encode(hmac.digest(auth_token.encode(), text.encode(), "sha1")).decode()
