"""Twilio's callbacks: who signed them, in which order they count, and what errors after acceptance mean."""

import asyncio
from itertools import permutations
from random import Random
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from knell.channels.budget import spent_on
from knell.channels.memory import Scratch
from knell.channels.optouts import Consent, OptOuts
from knell.channels.twilio_callback import Callbacks, News, Sent, sent_key
from knell.channels.twilio_signature import genuine, sign
from knell.channels.twilio_status import FINAL, Loss, advance, loss
from knell.messages import Scope

A = "+819012345671"
URL = "https://mycompany.com/myapp.php?foo=1&bar=2"
FORM = [
    ("CallSid", "CA1234567890ABCDE"),
    ("Caller", "+14158675309"),
    ("Digits", "1234"),
    ("From", "+14158675309"),
    ("To", "+18005551212"),
]
"""The example of Twilio's page "Validating requests"."""


def test_the_signature_of_twilios_own_example() -> None:
    """Token, URL and fields of their page, in any order."""
    assert sign("12345", URL, FORM) == "RSOYDt4T1cUTdK1PDd93/VVr8B8="
    assert sign("12345", URL, FORM[::-1]) == "RSOYDt4T1cUTdK1PDd93/VVr8B8="


@pytest.mark.parametrize(
    "change",
    [
        {"token": "12346"},
        {"url": URL + "1"},
        {"url": URL.replace("https", "http")},
        {"form": FORM[1:]},
        {"form": [*FORM, ("x", "")]},
        {"form": [*FORM, ("To", "+1")]},
        {"signature": ""},
        {"signature": "RSOYDt4T1cUTdK1PDd93/VVr8B8"},
        {"signature": "\udcffé"},
    ],
)
def test_what_is_not_signed(change: dict[str, Any]) -> None:
    """Another token, address or field, or half a signature."""
    right: dict[str, Any] = {
        "token": "12345",
        "url": URL,
        "form": FORM,
        "signature": "RSOYDt4T1cUTdK1PDd93/VVr8B8=",
    }
    assert genuine(**right)
    assert not genuine(**(right | change))


@pytest.mark.parametrize(
    ("ours", "theirs"),
    [
        ("https://a.example.com/x?y=1", "https://a.example.com:443/x?y=1"),
        ("https://a.example.com:443/x", "https://a.example.com/x"),
        ("http://a.example.com/x", "http://a.example.com:80/x"),
        ("https://a.example.com:8443/x", "https://a.example.com/x"),
    ],
)
def test_a_port_may_be_written_or_not(ours: str, theirs: str) -> None:
    """Twilio signs some addresses with the port and some without."""
    assert genuine("t", ours, FORM, sign("t", theirs, FORM))


STORIES = [
    ["queued", "sending", "sent", "delivered"],
    ["accepted", "queued", "sent", "delivered", "read"],
    ["scheduled", "canceled"],
    ["queued", "sending", "sent", "undelivered"],
    ["queued", "failed"],
    ["queued", "sending", "sent", "partially_delivered"],
]


@pytest.mark.parametrize("story", STORIES, ids="-".join)
def test_any_order_leads_to_the_same_end(story: list[str]) -> None:
    """Every order, and every one twice: the state only moves up, and ends where the story does."""
    for order in permutations(story):
        state = ""
        for status in order * 2:
            if advance(state, status):
                state = status
        assert state == story[-1]


@given(st.lists(st.sampled_from(["queued", "sent", "delivered", "failed", "read", "", "new"]), max_size=20))
def test_a_state_never_moves_down(statuses: list[str]) -> None:
    """Equal and lower ranks, doubles and unknown words change nothing."""
    state, ranks = "", {"": 0, "queued": 1, "sent": 2, "delivered": 3, "failed": 3, "read": 4}
    for status in statuses:
        if advance(state, status):
            assert ranks[status] > ranks[state]
            state = status


def test_what_failed_was_not_read() -> None:
    """`read` may overtake `delivered`, but never follows a loss."""
    assert advance("sent", "read")
    assert not advance("failed", "read")
    assert not advance("undelivered", "read")


@pytest.mark.parametrize(
    ("code", "scope"),
    [
        (21610, Scope.MESSAGE),
        (30001, Scope.TRANSIENT),
        (30002, Scope.CHANNEL),
        (30003, Scope.TRANSIENT),
        (30004, Scope.MESSAGE),
        (30005, Scope.MESSAGE),
        (30006, Scope.MESSAGE),
        (30007, Scope.MESSAGE),
        (30008, Scope.TRANSIENT),
        (30022, Scope.LIMITED),
        (30023, Scope.LIMITED),
        (30034, Scope.CHANNEL),
        (30999, Scope.MESSAGE),
    ],
)
def test_codes_after_acceptance(code: int, scope: Scope) -> None:
    """Each has its class and says what to do; of others Twilio's page does."""
    found = loss(str(code))
    assert (found.code, found.scope) == (code, scope)
    assert len(found.why) > 20


@pytest.mark.parametrize("code", ["", "none", "-1", "9" * 5000, "\uff13\uff10\uff10\uff10\uff13"])
def test_a_code_that_is_none(code: str) -> None:
    """Whatever the field holds."""
    assert loss(code) == Loss(0, Scope.MESSAGE, "Twilio gave no reason")


def report(status: str, code: int | None = None, sid: str = "SM1") -> dict[str, str]:
    """Return a status callback."""
    form = {"MessageSid": sid, "MessageStatus": status, "To": A, "NewIn2027": "x"}
    return form if code is None else form | {"ErrorCode": str(code)}


def taken(*forms: dict[str, str], memory: Scratch | None = None) -> list[News | None]:
    """Take callbacks, each by a new object, as after restarts."""

    async def run() -> list[News | None]:
        kept = memory or Scratch()
        return [await Callbacks(kept).report(form, 1.0) for form in forms]

    return asyncio.run(run())


def test_a_callback_is_news_once() -> None:
    """Shuffled and doubled: what comes late or again is nothing new."""
    forms = [report(status) for status in ("sent", "queued", "delivered", "sent", "delivered", "sending")]
    news = taken(*forms)
    assert [one and one.status for one in news] == ["sent", None, "delivered", None, None, None]
    assert [one.final for one in news if one] == [False, True]


@pytest.mark.parametrize("seed", range(5))
def test_a_loss_is_told_once(seed: int) -> None:
    """In any order, it is counted and told one time, with its number and its code."""
    forms = [report(status, 30005) for status in ("queued", "sent", "undelivered")] * 2
    Random(seed).shuffle(forms)  # noqa: S311 - no secret
    losses = [one for one in taken(*forms) if one and one.loss]
    assert [(one.number, one.loss.code, one.alarming) for one in losses if one.loss] == [(A, 30005, True)]


def test_people_hear_of_each_kind_once_an_hour() -> None:
    """Every loss is news, not every one an alarm; a filter alarms from the second message on."""
    codes = [30005, 30005, 30006, 30007, 30007, 30007]
    news = taken(*(report("failed", code, f"SM{n}") for n, code in enumerate(codes)))
    assert [one and one.alarming for one in news] == [True, False, True, False, True, False]


def test_an_opt_out_among_the_losses_is_kept() -> None:
    """A messaging service says 21610 after it has taken the message."""
    memory = Scratch()
    taken(report("failed", 21610), memory=memory)
    assert asyncio.run(OptOuts(memory).hold(A, 2.0))


@pytest.mark.parametrize(
    "form",
    [{}, report("delivered", sid=""), report("delivered", sid="../x"), report("delivered", sid="SM" * 50)],
)
def test_a_callback_about_nothing(form: dict[str, str]) -> None:
    """Without a message's id there is nothing to keep."""
    assert taken(form) == [None]


def test_answers_change_what_may_be_sent() -> None:
    """STOP and START do, other words and other people's do not."""

    async def run() -> list[bool]:
        memory = Scratch()
        callbacks, optouts = Callbacks(memory), OptOuts(memory)
        held: list[bool] = []
        for body in ("hello", "STOP", "thanks", "START"):
            await callbacks.answer({"From": A, "Body": body, "MessageSid": f"SM{body}"}, 1.0)
            held.append(await optouts.hold(A, 2.0))
        return held

    assert asyncio.run(run()) == [False, True, True, False]


def test_an_answer_counts_once() -> None:
    """A START that comes twice, the second time after a STOP, does not end that."""

    async def run() -> list[bool]:
        memory = Scratch()
        optouts, held = OptOuts(memory), list[bool]()
        for body in ("START", "STOP", "START"):
            await Callbacks(memory).answer({"From": A, "Body": body, "MessageSid": f"SM{body}"}, 1.0)
            held.append(await optouts.hold(A, 2.0))
        return held

    assert asyncio.run(run()) == [False, True, True]


def test_of_an_uncertain_address_only_a_stop_is_taken() -> None:
    """One message too few is better than one too many."""

    async def said(form: dict[str, str], *, only_stop: bool = True) -> Consent | None:
        return await Callbacks(Scratch()).answer(form, 1.0, only_stop=only_stop)

    assert asyncio.run(said({"From": A, "Body": "STOP"})) is Consent.STOP
    assert asyncio.run(said({"From": A, "Body": "START"})) is None
    assert asyncio.run(said({"Body": "STOP"}, only_stop=False)) is None


def test_a_price_replaces_the_estimate_once() -> None:
    """On the day of the message; a second price, and that of a stranger's message, change nothing."""

    async def run() -> tuple[list[bool], float]:
        memory = Scratch()
        memory.put(sent_key("SM1"), Sent(A, "2027-01-16", 0.02).note)
        memory.put("spent 2027-01-16", 0.02)
        callbacks = Callbacks(memory)
        new = [await callbacks.priced(sid, 0.05) for sid in ("SM1", "SM1", "SM2")]
        return new, await spent_on(memory, "2027-01-16")

    assert asyncio.run(run()) == ([True, False, False], 0.05)


@pytest.mark.parametrize("note", [7, {"to": A}, {"to": A, "day": "2027-01-16", "cost": "much"}])
def test_a_note_that_cannot_be_read_is_no_price(note: object) -> None:
    """Nothing is put right by guesses."""

    async def run() -> bool:
        memory = Scratch()
        memory.put(sent_key("SM1"), note)
        return await Callbacks(memory).priced("SM1", 0.05)

    assert not asyncio.run(run())


def test_messages_without_a_price_wait_in_line() -> None:
    """The oldest first, each once, a hundred at most; strangers' never."""

    async def run() -> list[list[str]]:
        memory = Scratch()
        callbacks = Callbacks(memory)
        for n in range(102):
            memory.put(sent_key(f"SM{n}"), Sent(A, "2027-01-16", 0.02).note)
        for n in (*range(102), 101, 999):
            await callbacks.set_unpriced(f"SM{n}", waiting=True)
        first = await callbacks.unpriced()
        for sid in first[1:]:
            await callbacks.set_unpriced(sid, waiting=False)
        last = await callbacks.unpriced()
        await callbacks.set_unpriced(last[0], waiting=False)
        return [first, last, await callbacks.unpriced()]

    first, last, none = asyncio.run(run())
    assert first == [f"SM{n}" for n in range(2, 102)]
    assert (last, none) == (["SM2"], [])


def test_final_states_are_the_last_ones() -> None:
    """After which a price is looked for."""
    assert {"delivered", "undelivered", "failed", "canceled", "partially_delivered", "read"} == FINAL
