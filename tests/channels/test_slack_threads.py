"""A job's thread in Slack, as people see it and as Slack wants it."""

from collections.abc import Iterator
from typing import Any

import pytest

from knell.channels.slack_touches import Touches
from knell.errors import StoreError
from knell.events import Link, NotificationEvent
from knell.lab import Respond
from knell.messages import Delivered, MessageFormat, Reason, Rejected, Retry, Unknown
from tests.channels.slack_room import JOB, Room, event, file

STARTED = event("job_started", project="knell", branch="main")
TASK = event("task_completed", "tests pass", task_id="t1")
DONE = event("job_completed", duration_seconds=72)
FAILED = event("job_failed", error="exit status 1")
SAND, TICK, CROSS, NO_ENTRY = "hourglass_flowing_sand", "white_check_mark", "x", "no_entry_sign"


@pytest.fixture
def room() -> Iterator[Room]:
    """A channel with a bot token."""
    with Room() as found:
        yield found


def test_a_job_from_start_to_end(room: Room) -> None:
    """One message in the channel, which shows the end; the rest in its thread, on the parent's ts."""
    outcomes = [room.send(found) for found in (STARTED, TASK, TASK, DONE)]
    assert all(isinstance(outcome, Delivered) and not outcome.detail for outcome in outcomes)
    parent, *replies = room.messages
    assert (parent.thread, {reply.thread for reply in replies}) == ("", {parent.id})
    assert parent.title == "✅ Job completed: nightly build"
    assert parent.reactions == (TICK,)
    assert [reply.title.partition(":")[0] for reply in replies] == [
        *("☑️ Task completed", "☑️ Task completed"),
        "✅ Job completed",
    ]
    assert not any("reply_broadcast" in reply.payload for reply in replies)
    last = outcomes[-1]
    assert isinstance(last, Delivered)
    assert last.receipt == {"ts": replies[-1].id, "channel": "C0LAB000001", "thread_ts": parent.id}


def test_the_parent_keeps_the_facts_of_the_start(room: Room) -> None:
    """What the end does not tell again stays readable; what it tells anew is not told twice."""
    room.send(STARTED)
    room.send(DONE)
    fields = next(block["fields"] for block in room.parents[0].payload["blocks"] if "fields" in block)
    facts = dict(field["text"].split("\n") for field in fields)
    assert facts == {
        "*Job*": JOB,
        "*Duration*": "1 min 12 s",
        "*Status*": "completed",
        "*Project*": "knell",
        "*Branch*": "main",
    }


@pytest.mark.parametrize(
    ("end", "title", "emoji", "is_loud"),
    [
        (DONE, "✅ Job completed: nightly build", TICK, False),
        (FAILED, "❌ Job failed: nightly build", CROSS, True),
        (event("job_failed", status="cancelled"), "❌ Job failed: nightly build", NO_ENTRY, False),
        (event("job_cancelled"), "🚫 Job cancelled: nightly build", NO_ENTRY, False),
    ],
    ids=["completed", "failed", "cancelled by status", "cancelled"],
)
def test_each_end(room: Room, end: NotificationEvent, title: str, emoji: str, *, is_loud: bool) -> None:
    """The parent shows it, one reaction replaces the other, and a failure is seen in the channel."""
    room.send(STARTED)
    assert room.parents[0].reactions == (SAND,)
    room.send(end)
    parent, reply = room.messages
    assert (parent.title, parent.reactions, parent.edits) == (title, (emoji,), 1)
    assert reply.payload.get("reply_broadcast", False) is is_loud


def test_what_is_critical_is_seen_in_the_channel(room: Room) -> None:
    """Whatever its type."""
    room.send(STARTED)
    critical = NotificationEvent(
        event_type="agent_error", source="t", title="x", severity="critical", metadata={"job_id": JOB}
    )
    room.send(critical)
    assert room.messages[1].payload["reply_broadcast"] is True


def test_a_job_that_began_unseen(room: Room) -> None:
    """The first event of a job is the parent, whatever it is; its words stay when the end is shown."""
    room.send(event("task_failed", "a *task* <!here>", error="boom"))
    assert room.parents[0].reactions == ()
    room.send(FAILED)
    (parent,) = room.parents
    assert parent.title == "❌ Job failed: nightly build"
    assert "❗ Task failed: a *task* <!here> (failed)" in parent.text
    assert (parent.reactions, parent.mentions) == ((CROSS,), ())


def test_a_job_whose_first_event_is_its_last(room: Room) -> None:
    """There is nothing to edit, and later events reply to it."""
    room.send(DONE)
    room.send(event("pr_created", "the change", pr_number=7))
    parent, reply = room.messages
    assert (parent.edits, parent.reactions, reply.thread) == (0, (TICK,), parent.id)


def test_a_job_that_runs_again(room: Room) -> None:
    """It stays in its thread, and the parent shows that it runs again."""
    for found in (STARTED, FAILED, STARTED):
        room.send(found)
    assert room.parents[0].title == "🚀 Job started: nightly build"
    assert room.parents[0].reactions == (SAND,)
    room.send(DONE)
    (parent,) = room.parents
    assert (parent.title, parent.reactions) == ("✅ Job completed: nightly build", (TICK,))


def test_jobs_do_not_mix(room: Room) -> None:
    """Each job has its thread, also across a restart, and one without a job has none."""
    room.send(event("job_started", "one", "1"))
    room.send(event("job_started", "two", "2"))
    room.open()
    room.send(event("job_completed", "one", "1"))
    room.send(event("system_alert", "disk", None))
    room.send(event("job_failed", "two", "2"))
    assert [message.title.partition(": ")[2] for message in room.parents] == ["one", "two", "disk"]
    assert [message.reactions for message in room.parents] == [(TICK,), (CROSS,), ()]


def test_a_number_is_a_job_too_and_a_long_one_as_well(room: Room) -> None:
    """Job ids are text or numbers of any length."""
    for job in (7, "7", "x" * 5000):
        room.send(
            NotificationEvent(event_type="job_started", source="t", title="a", metadata={"job_id": job})
        )
    room.send(event("job_completed", job="x" * 5000))
    first, second, long, last = room.messages
    assert (first.thread, second.thread, long.thread, last.thread) == ("", first.id, "", long.id)


def test_another_channel_has_other_threads(room: Room) -> None:
    """After `channel` was changed, a job begins anew there."""
    room.lab.slack.channels["ops"] = "C0LAB000009"
    room.send(STARTED)
    room.open(channel="#ops")
    room.send(DONE)
    assert [message.thread for message in room.messages] == ["", ""]


@pytest.mark.parametrize("word", ["cant_update_message", "edit_window_closed", "message_not_found"])
def test_a_parent_that_cannot_be_edited(room: Room, word: str) -> None:
    """The end is posted as a message of the channel, which is the thread from then on."""
    room.send(STARTED)
    room.lab.slack.script(Respond(200, {"ok": False, "error": word}, at="chat.update"))
    outcome = room.send(DONE)
    assert isinstance(outcome, Delivered)
    assert outcome.detail == f"first message not edited: Slack answered 200 {word}"
    room.send(event("pr_created", "the change"))
    first, second, reply = room.messages
    assert (second.thread, reply.thread) == ("", second.id)
    assert (first.reactions, second.reactions) == ((SAND,), (TICK,))


def test_the_lab_closes_the_edit_window(room: Room) -> None:
    """The same as Slack does it."""
    room.lab.slack.edit_window = 60
    room.send(STARTED)
    room.clock.advance(100)
    room.send(DONE)
    assert [message.title.partition(":")[0] for message in room.parents] == [
        "🚀 Job started",
        "✅ Job completed",
    ]


def test_a_deleted_parent_without_replies(room: Room) -> None:
    """Slack makes a message of the channel out of the reply: that is the thread from then on."""
    room.send(STARTED)
    room.lab.slack.delete("C0LAB000001", room.messages[0].id)
    room.send(TASK)
    room.send(TASK)
    _, second, third = room.messages
    assert (second.thread, third.thread) == ("", second.id)


def test_a_deleted_parent_with_replies(room: Room) -> None:
    """What is left of it takes no replies: the next message is posted anew."""
    for found in (STARTED, TASK):
        room.send(found)
    room.lab.slack.delete("C0LAB000001", room.messages[0].id)
    assert isinstance(room.send(TASK), Delivered)
    room.send(DONE)
    *_, third, fourth = room.messages
    assert (third.thread, fourth.thread) == ("", third.id)
    assert third.title == "✅ Job completed: nightly build"


@pytest.mark.parametrize("word", ["restricted_action_thread_locked", "thread_not_found", "invalid_thread_ts"])
def test_a_thread_that_takes_no_replies(room: Room, word: str) -> None:
    """What only the thread refuses is posted in the channel."""
    room.send(STARTED)
    room.lab.slack.script(Respond(200, {"ok": False, "error": word}, at="chat.postMessage"))
    assert isinstance(room.send(TASK), Delivered)
    assert [message.thread for message in room.messages] == ["", ""]


@pytest.mark.parametrize(
    ("method", "said"),
    [
        ("chat.update", "first message not edited: "),
        ("reactions.add", f"no reaction {TICK}: "),
        ("reactions.remove", ""),
    ],
)
@pytest.mark.parametrize(
    "body", [{"ok": False, "error": "fatal_error"}, "<html>", {"ok": False, "error": "odd"}]
)
def test_what_is_only_nice_fails_nothing(room: Room, method: str, said: str, body: Any) -> None:
    """The message counts as delivered, is not posted again, and the detail says what is missing."""
    room.send(STARTED)
    room.lab.slack.script(Respond(200, body, at=method))
    outcome = room.send(DONE)
    assert isinstance(outcome, Delivered)
    assert outcome.detail.startswith(said)
    assert bool(outcome.detail) is bool(said)
    assert len(room.messages) == 2


def test_a_limit_of_what_is_nice_is_kept_and_made_up_for(room: Room) -> None:
    """After a 429 the method rests until its time is over; then the newest state is shown."""
    room.send(STARTED)
    limit = Respond(429, {"ok": False, "error": "ratelimited"}, {"Retry-After": "30"}, at="chat.update")
    room.lab.slack.script(limit)
    assert isinstance(room.send(FAILED), Delivered)
    room.send(STARTED)
    room.send(DONE)
    assert (len(room.calls("chat.update")), room.parents[0].edits) == (1, 0)
    room.clock.advance(30)
    room.send(TASK)
    assert len(room.calls("chat.update")) == 2
    assert (room.parents[0].title, room.parents[0].reactions) == ("✅ Job completed: nightly build", (TICK,))
    room.send(TASK)
    assert len(room.calls("chat.update")) == 2


def test_many_jobs_at_once_stay_below_the_tier(room: Room) -> None:
    """At a message a second nothing is refused, and in the end every parent shows what it should."""
    jobs = [str(number) for number in range(60)]
    for kind in ("job_started", "job_completed"):
        for job in jobs:
            assert isinstance(room.send(event(kind, job, job)), Delivered)
    assert any(parent.edits == 0 for parent in room.parents), "the tier was never reached"
    for job in jobs:
        room.clock.advance(10)
        room.send(event("task_completed", job, job))
    assert all(found.answer and found.answer.status == 200 for found in room.lab.slack.requests)
    assert {(parent.edits, parent.reactions) for parent in room.parents} == {(1, (TICK,))}


def test_a_scope_that_is_missing_is_named_and_not_asked_for_again(room: Room) -> None:
    """Until an hour has passed, when somebody may have given it."""
    room.lab.slack.scopes = room.lab.slack.scopes - {"reactions:write"}
    outcome = room.send(STARTED)
    assert isinstance(outcome, Delivered)
    assert outcome.detail == f"no reaction {SAND}: Slack answered missing_scope: give the app reactions:write"
    room.send(DONE)
    assert (len(room.calls("reactions.add")), room.parents[0].title[:1]) == (1, "✅")
    room.lab.slack.scopes = room.lab.slack.scopes | {"reactions:write"}
    room.clock.advance(3600)
    room.send(FAILED)
    assert room.parents[0].reactions == (CROSS,)


def test_reactions_that_are_there_or_gone_already(room: Room) -> None:
    """Both are as it should be."""
    room.lab.slack.script(Respond(200, {"ok": False, "error": "already_reacted"}, at="reactions.add"))
    assert room.send(STARTED) == Delivered({"ts": room.messages[0].id, "channel": "C0LAB000001"})
    outcome = room.send(DONE)  # the first reaction is not there: no_reaction
    assert isinstance(outcome, Delivered)
    assert (outcome.detail, room.parents[0].reactions) == ("", (TICK,))


def test_a_message_whose_attempt_did_not_end_is_not_posted_again(room: Room) -> None:
    """The process died between the post and the outcome: the next attempt does only what is missing."""

    class Died(BaseException):
        pass

    def die(*_: object) -> None:
        raise Died

    room.send(STARTED)
    message = room.message(DONE, attachments=(file(),))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Touches, "react", die)
        with pytest.raises(Died):
            room.hand_over(message)
    room.open()
    again = room.message(DONE, attachments=(file(),), id=message.id, attempt=2)
    outcome = room.hand_over(again)
    assert isinstance(outcome, Delivered)
    assert outcome.receipt["thread_ts"] == room.parents[0].id
    assert [message.title[:1] for message in room.messages] == ["✅", "✅"]
    assert (room.parents[0].reactions, len(room.lab.slack.files)) == ((TICK,), 1)
    room.hand_over(room.message(DONE, id=message.id, attempt=3))
    assert len(room.messages) == 3, "an operator's replay posts again"


def test_files_are_shared_once(room: Room) -> None:
    """The process died after that: the next attempt does not share them again."""

    class Died(BaseException):
        pass

    def die(*_: object) -> None:
        raise Died

    message = room.message(TASK, attachments=(file(),))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Touches, "make_up", die)
        with pytest.raises(Died):
            room.hand_over(message)
    room.open()
    again = room.message(TASK, attachments=(file(),), id=message.id, attempt=2)
    assert isinstance(room.hand_over(again), Delivered)
    assert (len(room.messages), len(room.lab.slack.files)) == (1, 1)


def test_what_does_not_work_just_now_is_left_alone(room: Room) -> None:
    """For half a minute, so that not every message waits for it; then it is made up for."""
    room.lab.slack.script(Respond(503, "", at="reactions.add"))
    room.send(STARTED)
    room.send(TASK)
    assert (len(room.calls("reactions.add")), room.parents[0].reactions) == (1, ())
    room.clock.advance(30)
    room.send(TASK)
    assert room.parents[0].reactions == (SAND,)


def test_after_an_answer_nobody_understood_nothing_nice_is_done(room: Room) -> None:
    """The next attempt posts again, and only that one reacts."""
    room.lab.slack.script(Respond(200, "<html>", at="chat.postMessage", stored=True))
    message = room.message(STARTED, attachments=(file(),))
    assert isinstance(room.hand_over(message), Unknown)
    assert (room.calls("reactions.add"), room.lab.slack.files) == ([], ())
    assert isinstance(room.hand_over(room.message(STARTED, id=message.id, attempt=2)), Delivered)
    assert [found.reactions for found in room.messages] == [(), (SAND,)]


def test_several_events_of_one_job_are_one_reply(room: Room) -> None:
    """The parent shows in a line what the digest says of the job."""
    room.send(STARTED)
    room.send(TASK, event("job_failed", "it <broke>"))
    parent, reply = room.messages
    assert (reply.thread, parent.text, parent.reactions) == (parent.id, ":x: it <broke>", (CROSS,))
    room.send(event("task_failed", "after all", "2"), event("job_completed", "fine", "2"))
    assert room.parents[1].reactions == (TICK,)


def test_several_jobs_are_told_of_outside_of_threads(room: Room) -> None:
    """And their parents show where they stand."""
    for job in ("1", "2", "3"):
        room.send(event("job_started", f"job {job}", job))
    ends = [
        event("job_completed", "one", "1"),
        event("job_failed", "two", "2"),
        event("task_completed", "x", "3"),
        event("job_completed", "unseen", "4"),
        event("system_alert", "disk", None),
    ]
    room.send(*ends)
    one, two, three, digest = room.messages
    assert digest.thread == ""
    assert [parent.text for parent in (one, two)] == [":white_check_mark: one", ":x: two"]
    assert [parent.reactions for parent in (one, two, three)] == [(TICK,), (CROSS,), (SAND,)]
    room.send(event("job_completed", "unseen", "4"))
    assert room.messages[4].thread == ""


def test_a_lost_parent_of_a_digest_is_forgotten(room: Room) -> None:
    """The job's next message begins a thread."""
    room.send(STARTED)
    room.lab.slack.delete("C0LAB000001", room.messages[0].id)
    room.send(DONE, event("job_started", "other", "2"))
    room.send(TASK)
    room.send(TASK)
    *_, third, fourth = room.messages
    assert (third.thread, fourth.thread) == ("", third.id)


@pytest.mark.parametrize(
    ("keys", "threads", "edits", "reactions"),
    [
        ({"threads": False}, {""}, 0, ()),
        ({"edit_parent": False}, {"", "parent"}, 0, (TICK,)),
        ({"reactions": False}, {"", "parent"}, 1, ()),
        ({"reactions": {"started": ":eyes:", "succeeded": ""}}, {"", "parent"}, 1, ()),
    ],
)
def test_everything_can_be_switched_off(
    room: Room, keys: dict[str, Any], threads: set[str], edits: int, reactions: tuple[str, ...]
) -> None:
    """Each by its key."""
    room.open(**keys)
    room.send(STARTED)
    eyes = isinstance(keys.get("reactions"), dict)
    assert (room.parents[0].reactions == ("eyes",)) is eyes
    room.send(DONE)
    first = room.messages[0]
    assert {"parent" if message.thread == first.id else "" for message in room.messages} == threads
    assert (first.edits, first.reactions) == (edits, reactions)


def test_failures_may_stay_in_their_thread(room: Room) -> None:
    """With broadcast_failures off."""
    room.open(broadcast_failures=False)
    room.send(STARTED)
    room.send(FAILED)
    assert "reply_broadcast" not in room.messages[1].payload


def test_a_template_that_has_its_own_thread_or_channel(room: Room) -> None:
    """It wins: the message goes where the template says, and a bad channel is the message's fault."""
    room.send(STARTED)
    parent = room.messages[0].id
    own = room.message(event("job_started", job="2"), content={"text": "x", "thread_ts": parent})
    room.hand_over(own)
    assert room.messages[1].thread == parent
    elsewhere = room.message(STARTED, content={"text": "x", "channel": "#nowhere"})
    outcome = room.hand_over(elsewhere)
    assert isinstance(outcome, Rejected)
    assert outcome.reason is Reason.RECIPIENT


def test_plain_text_has_threads_too(room: Room) -> None:
    """A message without blocks takes the parent's blocks away."""
    room.send(STARTED)
    room.hand_over(room.message(DONE, format=MessageFormat.TEXT, content="a < b"))
    parent, reply = room.messages
    assert (parent.text, reply.text, reply.thread) == ("a < b", "a < b", parent.id)


def test_refused_blocks_stay_in_the_thread(room: Room) -> None:
    """The plain text goes where the blocks would have gone."""
    room.send(STARTED)
    room.lab.slack.script(Respond(200, {"ok": False, "error": "invalid_blocks"}, at="chat.postMessage"))
    outcome = room.send(TASK)
    assert isinstance(outcome, Delivered)
    assert outcome.detail == "Slack answered 200 invalid_blocks; sent as plain text"
    assert room.messages[1].thread == room.messages[0].id


def test_a_memory_that_cannot_be_read(room: Room) -> None:
    """A reply that would end up outside of its thread waits; a digest that was posted is delivered."""

    class Broken:
        async def get(self, key: str) -> Any:
            raise StoreError(f"{key}: no disk")

        def put(self, key: str, value: Any, seconds: float = 0.0) -> None:
            del key, value, seconds

    room.memory = Broken()
    room.open()
    outcome = room.send(STARTED)
    assert isinstance(outcome, Retry)
    assert outcome.reason is Reason.SERVER_ERROR
    assert outcome.detail.startswith("the job's thread cannot be looked up: ")
    assert room.messages == ()
    assert isinstance(room.send(DONE, event("job_completed", job="2")), Delivered)


def test_a_note_nobody_can_read_is_none(room: Room) -> None:
    """Then the job begins a thread."""
    room.memory.put(f"thread #necrocode {JOB}", {"channel": 1})
    assert isinstance(room.send(DONE), Delivered)
    assert room.messages[0].thread == ""


def test_the_largest_messages_keep_within_the_limits(room: Room) -> None:
    """Also the parent that shows two of them: the lab refuses what Slack refuses."""
    links = [Link(url=f"https://ci.example.com/{number}", text="x" * 100) for number in range(30)]
    more = dict.fromkeys(("project", "branch", "repo", "runner_id", "commit", "retries"), "y" * 2000)
    for kind in ("task_failed", "job_started", "job_failed"):
        large = NotificationEvent(
            event_type=kind,
            source="s" * 500,
            title="t" * 2000,
            description="d" * 9000,
            metadata={"job_id": JOB, "error": "<&>" * 5000, "task_id": "t", **more},
            links=links,
        )
        outcome = room.send(large)
        assert isinstance(outcome, Delivered)
        assert outcome.detail == ""
    parent = room.parents[0]
    assert (parent.edits, parent.reactions) == (2, (CROSS,))
    (buttons,) = [block["elements"] for block in parent.payload["blocks"] if block["type"] == "actions"]
    assert len(buttons) == 5
    assert all(button["url"].startswith("https://ci.example.com/") for button in buttons)


def test_only_web_links_become_buttons(room: Room) -> None:
    """What could run something or show a password is left out."""
    urls = (
        "https://a.example",
        "http://b.example",
        "javascript:alert(1)",
        "ftp://c.example",
        "https://u:p@d.example",
    )
    links = [Link(url=url, text="go") for url in urls]
    room.send(NotificationEvent(event_type="job_started", source="t", title="x", links=links))
    (buttons,) = [
        block["elements"] for block in room.messages[0].payload["blocks"] if block["type"] == "actions"
    ]
    assert [button["url"] for button in buttons] == ["https://a.example", "http://b.example"]
