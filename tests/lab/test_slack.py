"""The stand-in for Slack: its incoming webhook and its Web API, row by row."""

from collections.abc import Callable
from typing import Any

import pytest

from knell.lab import Answer, Lab, ManualClock, Respond
from knell.lab.slack import SCOPES

Call = Callable[..., Answer]
Api = Callable[..., dict[str, Any]]

TEXT = {"type": "mrkdwn", "text": "words"}
MANY_TEXTS = [{"type": "section", "text": {"type": "mrkdwn", "text": "x" * 2_700}}] * 5


@pytest.fixture
def api(lab: Lab, call: Call) -> Api:
    """Call a method of the Web API with the bot's token, and return the answer's JSON."""

    def method(name: str, /, **arguments: object) -> dict[str, Any]:
        head = {"Authorization": f"Bearer {lab.slack.bot_token}"}
        answer = call("POST", f"{lab.slack.api_base_url}/{name}", json=arguments, headers=head)
        result: dict[str, Any] = answer.json
        return {**result, "status": answer.status}

    return method


def test_a_webhook_takes_a_message(lab: Lab, call: Call) -> None:
    """Success is the text ok, no JSON; channel, username and icon are ignored."""
    payload = {"text": "Deploy &amp; done", "channel": "#elsewhere", "username": "x", "icon_emoji": ":x:"}
    answer = call("POST", lab.slack.url, json=payload)
    assert (answer.status, answer.body) == (200, b"ok")
    assert lab.slack.requests[0].json == payload
    (message,) = lab.slack.messages
    assert (message.text, message.to, message.provider) == ("Deploy & done", ("C0LAB000001",), "slack")
    assert message.payload == payload


def test_a_webhook_takes_a_form(lab: Lab, call: Call) -> None:
    """The payload may come as a form field, as curl users send it."""
    assert call("POST", lab.slack.url, form={"payload": '{"text": "hello"}'}).body == b"ok"
    assert lab.slack.messages[0].text == "hello"


@pytest.mark.parametrize(
    ("body", "word"),
    [
        (b"{", b"invalid_payload"),
        (b"[]", b"invalid_payload"),
        (b"[" * 100_000, b"invalid_payload"),
        (b"{}", b"missing_text_or_fallback_or_attachments"),
        (b'{"text": ""}', b"missing_text_or_fallback_or_attachments"),
        (b'{"text": 1}', b"missing_text_or_fallback_or_attachments"),
        (b'{"blocks": [{"type": "tune"}]}', b"invalid_blocks"),
        (b'{"attachments": [' + b",".join([b"{}"] * 101) + b"]}", b"too_many_attachments"),
        (b'{"attachments": {"a": 1}}', b"invalid_blocks"),
        (b'{"attachments": [1]}', b"invalid_blocks"),
        (b'{"attachments": [{"blocks": [{"type": "tune"}]}]}', b"invalid_blocks"),
        (b'{"attachments": [{"footer": "' + b"x" * 301 + b'"}]}', b"invalid_blocks"),
    ],
)
def test_a_webhook_refuses(lab: Lab, call: Call, body: bytes, word: bytes) -> None:
    """What Slack cannot read or show is a 400 with its word, and nothing is stored."""
    answer = call("POST", lab.slack.url, body=body, headers={"Content-Type": "application/json"})
    assert (answer.status, answer.body) == (400, word)
    assert lab.slack.messages == ()


def test_too_much_block_text(lab: Lab, call: Call, api: Api) -> None:
    """The sum of all block texts has a limit of its own, which each transport words differently."""
    answer = call("POST", lab.slack.url, json={"blocks": MANY_TEXTS})
    assert (answer.status, answer.body) == (400, b"invalid_blocks")
    assert api("chat.postMessage", channel="#necrocode", blocks=MANY_TEXTS)["error"] == "msg_blocks_too_long"


@pytest.mark.parametrize("how", ["unknown", "revoked"])
def test_a_webhook_that_is_gone(lab: Lab, call: Call, how: str) -> None:
    """An unknown address says no_service; coming back to it is a violation."""
    url = f"{lab.slack.base_url}/services/T0/B0/nothing" if how == "unknown" else lab.slack.url
    lab.slack.revoke()
    answer = call("POST", url, json={"text": "x"})
    assert (answer.status, answer.body) == (404, b"no_service")
    assert lab.slack.violations == ()
    call("POST", url, json={"text": "x"})
    assert len(lab.slack.violations) == 1
    assert lab.slack.violations[0].endswith("sent to an endpoint that had said it is gone")


def test_a_webhook_of_an_archived_channel(lab: Lab, call: Call) -> None:
    """An archived channel is a 410 that may end: trying again is no violation."""
    url = lab.slack.add_webhook("old")
    for _ in range(2):
        answer = call("POST", url, json={"text": "x"})
        assert (answer.status, answer.body) == (410, b"channel_is_archived")
    assert lab.slack.violations == ()


def test_webhooks_have_channels_of_their_own(lab: Lab, call: Call) -> None:
    """A second webhook posts to its own channel."""
    call("POST", lab.slack.add_webhook("ops"), json={"text": "x"})
    assert lab.slack.messages[0].to == (lab.slack.channels["ops"],)


def test_overlong_text_is_cut_and_a_violation(lab: Lab, call: Call) -> None:
    """Text beyond 40,000 characters is accepted, cut, and held against the client."""
    assert call("POST", lab.slack.url, json={"text": "x" * 40_001}).status == 200
    assert len(lab.slack.messages[0].text) == 40_000
    assert lab.slack.violations == ("text of 40001 characters was cut to 40000",)


def test_the_same_message_twice_is_a_duplicate(lab: Lab, call: Call) -> None:
    """Slack shows what is posted twice twice; the record says that it was a duplicate."""
    for text in ("one", "one", "two"):
        call("POST", lab.slack.url, json={"text": text})
    assert [message.text for message in lab.slack.messages] == ["one", "one", "two"]
    assert [message.text for message in lab.slack.duplicates] == ["one"]


def test_the_rate_of_a_webhook(lab: Lab, call: Call, clock: ManualClock) -> None:
    """Three at once, then one a second; beyond it 429 with whole seconds, per webhook."""
    other = lab.slack.add_webhook("ops")
    statuses = [call("POST", lab.slack.url, json={"text": str(n)}).status for n in range(4)]
    assert statuses == [200, 200, 200, 429]
    assert call("POST", other, json={"text": "x"}).status == 200
    clock.advance(0.5)
    early = call("POST", lab.slack.url, json={"text": "3"})
    assert (early.status, early.headers["Retry-After"]) == (429, "1")
    assert len(lab.slack.violations) == 1
    clock.advance(1)
    assert call("POST", lab.slack.url, json={"text": "3"}).status == 200
    assert len(lab.slack.violations) == 1


def test_the_rate_of_a_channel(lab: Lab, api: Api, clock: ManualClock) -> None:
    """The Web API says ratelimited with status 429, per channel; going on is a violation there only."""
    lab.slack.channels["ops"] = "C0LAB000009"
    for number in range(3):
        assert api("chat.postMessage", channel="#necrocode", text=str(number))["ok"]
    refused = api("chat.postMessage", channel="#necrocode", text="3")
    assert (refused["status"], refused["error"]) == (429, "ratelimited")
    assert api("chat.postMessage", channel="#ops", text="x")["ok"]
    assert lab.slack.violations == ()
    clock.advance(0.5)
    assert api("chat.postMessage", channel="#ops", text="y")["ok"]
    api("chat.postMessage", channel="#necrocode", text="3")
    assert len(lab.slack.violations) == 1


def test_the_rate_of_reactions(api: Api, clock: ManualClock) -> None:
    """Fifty reactions a minute, then ratelimited until one comes free."""
    posted = api("chat.postMessage", channel="#necrocode", text="x")
    place = {"channel": posted["channel"], "timestamp": posted["ts"]}
    assert all(api("reactions.add", **place, name=f"r{number}")["ok"] for number in range(50))
    refused = api("reactions.add", **place, name="tada")
    assert (refused["status"], refused["error"]) == (429, "ratelimited")
    clock.advance(refused["retry_after"])
    assert api("reactions.add", **place, name="tada")["ok"]


@pytest.mark.parametrize(
    ("head", "error"),
    [({}, "not_authed"), ({"Authorization": "Bearer xoxb-wrong"}, "invalid_auth")],
)
def test_the_api_without_a_good_token(lab: Lab, call: Call, head: dict[str, str], error: str) -> None:
    """A bad token is status 200 with ok false, never 401."""
    answer = call("POST", f"{lab.slack.api_base_url}/chat.postMessage", json={"text": "x"}, headers=head)
    assert (answer.status, answer.json) == (200, {"ok": False, "error": error})


def test_the_api_takes_a_message(lab: Lab, api: Api) -> None:
    """The answer names the channel's id, the ts and the message; a name and an icon are shown."""
    answer = api("chat.postMessage", channel="#necrocode", text="hello", username="N", icon_emoji=":x:")
    assert (answer["ok"], answer["channel"]) == (True, "C0LAB000001")
    assert answer["message"]["ts"] == answer["ts"] == lab.slack.messages[0].id
    assert answer["message"]["text"] == "hello"
    assert answer["ts"].startswith("1700000000.")


@pytest.mark.parametrize(
    ("channel", "error"),
    [
        ("#nowhere", "channel_not_found"),
        ("", "channel_not_found"),
        ("#private", "not_in_channel"),
        ("old", "is_archived"),
        ("C0LAB000003", "is_archived"),
    ],
)
def test_channels_that_cannot_be_posted_to(api: Api, channel: str, error: str) -> None:
    """Unknown, foreign and archived channels each have their word."""
    answer = api("chat.postMessage", channel=channel, text="x")
    assert (answer["status"], answer["ok"], answer["error"]) == (200, False, error)


@pytest.mark.parametrize(
    ("arguments", "error"),
    [
        ({}, "no_text"),
        ({"blocks": [{"type": "tune"}]}, "invalid_blocks"),
        ({"attachments": [{"text": "x"}] * 101}, "too_many_attachments"),
    ],
)
def test_the_api_refuses(lab: Lab, api: Api, arguments: dict[str, Any], error: str) -> None:
    """What cannot be shown is ok false with its code, and nothing is stored."""
    answer = api("chat.postMessage", channel="#necrocode", **arguments)
    assert (answer["ok"], answer["error"]) == (False, error)
    assert lab.slack.messages == ()


def test_invalid_blocks_are_explained(api: Api) -> None:
    """The Web API points at what is wrong."""
    answer = api("chat.postMessage", channel="#necrocode", blocks=[{"type": "header", "text": TEXT}])
    assert answer["response_metadata"]["messages"] == ["[ERROR] /blocks/0/text/type: must be plain_text"]


@pytest.mark.parametrize(
    ("method", "arguments", "needed"),
    [
        ("chat.postMessage", {"channel": "#necrocode", "text": "x"}, "chat:write"),
        (
            "chat.postMessage",
            {"channel": "#necrocode", "text": "x", "username": "N"},
            "chat:write.customize",
        ),
        ("files.getUploadURLExternal", {"filename": "a", "length": 1}, "files:write"),
        ("reactions.add", {}, "reactions:write"),
    ],
)
def test_missing_scopes_are_named(
    lab: Lab, call: Call, method: str, arguments: dict[str, str], needed: str
) -> None:
    """A token that may not do it is told what it needs."""
    lab.slack.scopes = SCOPES - {needed}
    head = {"Authorization": f"Bearer {lab.slack.bot_token}"}
    answer = call("POST", f"{lab.slack.api_base_url}/{method}", form=arguments, headers=head).json
    assert (answer["error"], answer["needed"]) == ("missing_scope", needed)


def test_a_thread(lab: Lab, api: Api) -> None:
    """A reply names its parent; replying to a reply or to nothing is a violation."""
    parent = api("chat.postMessage", channel="#necrocode", text="job")["ts"]
    reply = api("chat.postMessage", channel="#necrocode", text="done", thread_ts=parent)["ts"]
    assert lab.slack.messages[1].thread == parent
    assert not lab.slack.violations
    api("chat.postMessage", channel="#necrocode", text="?", thread_ts=reply)
    lab.slack.rate_limited = False
    api("chat.postMessage", channel="#necrocode", text="?", thread_ts="1.000001")
    assert lab.slack.violations == (
        f"thread_ts {reply} is no message that began a thread in C0LAB000001",
        "thread_ts 1.000001 is no message that began a thread in C0LAB000001",
    )


def test_a_reply_to_a_deleted_message(lab: Lab, api: Api) -> None:
    """Where nothing is left it becomes a message of the channel; where replies are, it is refused."""
    alone, parent = (api("chat.postMessage", channel="#necrocode", text=text)["ts"] for text in ("a", "b"))
    lab.slack.rate_limited = False
    api("chat.postMessage", channel="#necrocode", text="reply", thread_ts=parent)
    channel = lab.slack.channels["necrocode"]
    for ts in (alone, parent):
        lab.slack.delete(channel, ts)
    answer = api("chat.postMessage", channel="#necrocode", text="late", thread_ts=alone)
    assert (answer["ok"], "thread_ts" in answer["message"]) == (True, False)
    assert lab.slack.messages[-1].thread == ""
    refused = api("chat.postMessage", channel="#necrocode", text="late", thread_ts=parent)
    assert refused["error"] == "cannot_reply_to_message"
    assert api("chat.update", channel=channel, ts=alone, text="x")["error"] == "message_not_found"
    assert lab.slack.violations == ()


def test_an_update_changes_the_message_in_its_place(lab: Lab, api: Api) -> None:
    """After chat.update readers see the new text where the old one was; other parts stay."""
    blocks = [{"type": "section", "text": TEXT}]
    posted = api("chat.postMessage", channel="#necrocode", text="running", blocks=blocks)
    answer = api("chat.update", channel=posted["channel"], ts=posted["ts"], text="done")
    assert (answer["ok"], answer["text"]) == (True, "done")
    (message,) = lab.slack.messages
    assert (message.edits, message.payload["text"], message.text) == (1, "done", "words")


def test_updates_that_cannot_be(lab: Lab, api: Api, clock: ManualClock) -> None:
    """Unknown, too old, or a channel by name: each has its word; a bad text changes nothing."""
    posted = api("chat.postMessage", channel="#necrocode", text="running")
    place = {"channel": posted["channel"], "ts": posted["ts"]}
    unknown = api("chat.update", channel=posted["channel"], ts="1.000001", text="x")
    assert unknown["error"] == "message_not_found"
    assert api("chat.update", channel="#necrocode", ts=posted["ts"], text="x")["error"] == "channel_not_found"
    assert api("chat.update", **place, text="")["error"] == "no_text"
    lab.slack.edit_window = 60
    clock.advance(61)
    assert api("chat.update", **place, text="x")["error"] == "edit_window_closed"
    assert lab.slack.messages[0].text == "running"


def test_reactions(lab: Lab, api: Api) -> None:
    """A reaction once; twice, with colons, or to nothing has its word."""
    posted = api("chat.postMessage", channel="#necrocode", text="x")
    place = {"channel": posted["channel"], "timestamp": posted["ts"]}
    assert api("reactions.add", **place, name="tada")["ok"]
    assert api("reactions.add", **place, name="tada")["error"] == "already_reacted"
    assert api("reactions.add", **place, name=":tada:")["error"] == "invalid_name"
    lost = api("reactions.add", channel=posted["channel"], timestamp="1.000001", name="tada")
    assert lost["error"] == "message_not_found"
    assert lab.slack.messages[0].reactions == ("tada",)


def test_reactions_are_taken_back(lab: Lab, api: Api) -> None:
    """Once; what is not there has its word."""
    posted = api("chat.postMessage", channel="#necrocode", text="x")
    place = {"channel": posted["channel"], "timestamp": posted["ts"]}
    for name in ("tada", "eyes"):
        api("reactions.add", **place, name=name)
    assert api("reactions.remove", **place, name="tada")["ok"]
    assert lab.slack.messages[0].reactions == ("eyes",)
    assert api("reactions.remove", **place, name="tada")["error"] == "no_reaction"
    assert (
        api("reactions.remove", **{**place, "timestamp": "1.000001"}, name="x")["error"]
        == "message_not_found"
    )
    lab.slack.clear()
    assert api("reactions.remove", **place, name="eyes")["ok"]


@pytest.mark.parametrize(
    ("channel", "member", "archived"),
    [("C0LAB000001", True, False), ("C0LAB000002", False, False), ("C0LAB000003", True, True)],
)
def test_what_is_known_of_a_channel(api: Api, channel: str, *, member: bool, archived: bool) -> None:
    """Whether the app is in it, and whether it is archived; only by its id."""
    found = api("conversations.info", channel=channel)["channel"]
    assert (found["id"], found["is_member"], found["is_archived"]) == (channel, member, archived)
    assert api("conversations.info", channel="#necrocode")["error"] == "channel_not_found"


def test_other_methods(lab: Lab, call: Call, api: Api) -> None:
    """auth.test tells who and what scopes; files.upload has ended; unknown ones are unknown."""
    answer = call(
        "POST",
        f"{lab.slack.api_base_url}/auth.test",
        form={},
        headers={"Authorization": f"Bearer {lab.slack.bot_token}"},
    )
    assert answer.json["bot_id"] == "B0LAB00001"
    assert answer.headers["X-OAuth-Scopes"] == ",".join(sorted(SCOPES))
    assert api("files.upload")["error"] == "method_deprecated"
    assert api("chat.sing")["error"] == "unknown_method"


def test_arguments_may_come_as_a_form(lab: Lab, call: Call) -> None:
    """The token and the blocks may be fields of a form of either kind, the blocks as JSON text."""
    form = {
        "token": lab.slack.bot_token,
        "channel": "necrocode",
        "blocks": '[{"type": "section", "text": {"type": "mrkdwn", "text": "by form"}}]',
    }
    assert call("POST", f"{lab.slack.api_base_url}/chat.postMessage", form=form).json["ok"]
    assert lab.slack.messages[0].text == "by form"
    part = f'Content-Disposition: form-data; name="token"\r\n\r\n{lab.slack.bot_token}'
    answer = call(
        "POST",
        f"{lab.slack.api_base_url}/chat.postMessage?channel=necrocode&text=by+parts",
        body=f"--b\r\n{part}\r\n--b--".encode(),
        headers={"Content-Type": "multipart/form-data; boundary=b"},
    )
    assert answer.json["ok"]
    assert lab.slack.messages[1].text == "by parts"
    broken = {**form, "blocks": "["}
    answer = call("POST", f"{lab.slack.api_base_url}/chat.postMessage", form=broken)
    assert answer.json["error"] == "invalid_form_data"
    answer = call(
        "POST",
        f"{lab.slack.api_base_url}/chat.postMessage",
        body=b"[",
        headers={"Content-Type": "application/json"},
    )
    assert answer.json["error"] == "invalid_json"


def test_sections(lab: Lab) -> None:
    """The stand-in hands out a section for each of its transports."""
    assert lab.slack.api_section() == {
        "type": "slack",
        "bot_token": lab.slack.bot_token,
        "channel": "#necrocode",
        "api_base_url": f"{lab.slack.base_url}/api",
    }


def test_an_event_with_markup_calls_nobody(lab: Lab, call: Call) -> None:
    """The render test: escaped event data has no live mention and reads as it was; unescaped data has."""
    call("POST", lab.slack.url, json={"text": "&lt;!channel&gt; a &lt; b &amp;&amp; c"})
    call("POST", lab.slack.url, json={"text": "<!channel> <@U0123>"})
    safe, live = lab.slack.messages
    assert (safe.mentions, safe.text) == ((), "<!channel> a < b && c")
    assert live.mentions == ("@channel", "@U0123")


def test_a_scripted_word(lab: Lab, api: Api) -> None:
    """Any answer of the Web API can be scripted for one method."""
    lab.slack.script(Respond(200, {"ok": False, "error": "fatal_error"}, at="chat.update"))
    posted = api("chat.postMessage", channel="#necrocode", text="x")
    assert posted["ok"]
    update = api("chat.update", channel=posted["channel"], ts=posted["ts"], text="y")
    assert update["error"] == "fatal_error"
