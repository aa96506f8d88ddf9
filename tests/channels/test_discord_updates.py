"""A job's message that shows its newest state, and a forum post per job."""

from collections.abc import Iterator
from typing import Any

import msgspec
import pytest

from knell.channels.discord import DiscordChannel
from knell.channels.memory import Scratch
from knell.errors import StoreError
from knell.events import NotificationEvent
from knell.lab import Drop, Message, Respond, cloudflare, too_many
from knell.messages import Attachment, Delivered, Outcome, Reason, Rejected, Retry
from tests.channels.discord_bench import Bench, message


@pytest.fixture
def bench() -> Iterator[Bench]:
    """Discord channels and the lab."""
    with Bench() as running:
        yield running


@pytest.fixture
def editing(bench: Bench) -> DiscordChannel:
    """A channel that edits."""
    return bench.channel(updates="edit")


def shown(bench: Bench) -> list[tuple[str, int]]:
    """What readers see: texts, and how often each was edited."""
    return [(posted.text, posted.edits) for posted in bench.lab.discord.messages]


def asked(bench: Bench) -> list[str]:
    """What was asked of Discord, oldest first."""
    return [request.method for request in bench.lab.discord.requests]


def error(status: int, code: int = 0) -> Respond:
    """What Discord says to a request it refuses."""
    return Respond(status, {"message": "no", "code": code})


def deliver(bench: Bench, channel: DiscordChannel, *texts: str, job: str = "j1", **more: Any) -> None:
    """Send messages about a job, each of which must arrive."""
    for text in texts:
        assert isinstance(bench.send(channel, message(text, job=job, **more)), Delivered)


def test_by_default_every_event_is_a_message(bench: Bench) -> None:
    """Nothing is edited unless the section says so."""
    deliver(bench, bench.channel(), "started", "step", "step 2")
    assert shown(bench) == [("started", 0), ("step", 0), ("step 2", 0)]


def test_progress_shows_in_the_first_message(bench: Bench, editing: DiscordChannel) -> None:
    """Later events of a job change its first message; other jobs and events of no job have their own."""
    deliver(bench, editing, "started", "step", "step 2")
    deliver(bench, editing, "other", job="j2")
    deliver(bench, editing, "none", "none 2", job="")
    assert shown(bench) == [("step 2", 2), ("other", 0), ("none", 0), ("none 2", 0)]


@pytest.mark.parametrize("event_type", ["job_completed", "job_failed", "job_cancelled", "job_canceled"])
def test_the_end_is_posted_and_shown(bench: Bench, editing: DiscordChannel, event_type: str) -> None:
    """An edit makes no sound: the end changes the first message and comes as a message of its own."""
    deliver(bench, editing, "started")
    deliver(bench, editing, "over", event_type=event_type)
    assert shown(bench) == [("over", 1), ("over", 0)]


@pytest.mark.parametrize("severity", ["error", "critical"])
def test_errors_are_posted_too(bench: Bench, editing: DiscordChannel, severity: str) -> None:
    """What somebody must notice is posted; progress after it still shows in the first message."""
    deliver(bench, editing, "started")
    deliver(bench, editing, "broken", severity=severity)
    deliver(bench, editing, "goes on", severity="warning")
    assert shown(bench) == [("goes on", 2), ("broken", 0)]


def test_after_the_end_it_begins_anew(bench: Bench, editing: DiscordChannel) -> None:
    """A second run of a job does not change what was said about the first."""
    deliver(bench, editing, "started")
    deliver(bench, editing, "over", event_type="job_completed")
    deliver(bench, editing, "started again", "step")
    assert shown(bench) == [("over", 1), ("over", 0), ("step", 1)]


def test_a_job_may_begin_with_its_end(bench: Bench, editing: DiscordChannel) -> None:
    """Where the channel gets nothing but the end there is one message."""
    deliver(bench, editing, "over", event_type="job_failed")
    assert shown(bench) == [("over", 0)]


def test_a_restart_goes_on_editing(bench: Bench) -> None:
    """The message is in the memory, not in the channel object."""
    memory = Scratch()
    deliver(bench, bench.channel(updates="edit", memory=memory), "started")
    deliver(bench, bench.channel(updates="edit", memory=memory), "step")
    assert shown(bench) == [("step", 1)]


def test_a_digest_of_one_job_is_its_state(bench: Bench, editing: DiscordChannel) -> None:
    """Several events of one job change its message; a digest of several jobs is a message of its own."""
    deliver(bench, editing, "started")
    one = message("digest", job="j1")
    two = message("mixed", job="j2")
    events = (*one.events, *message(job="j1").events)
    assert isinstance(bench.send(editing, _with(one, events)), Delivered)
    assert isinstance(bench.send(editing, _with(two, (*two.events, *events))), Delivered)
    assert shown(bench) == [("digest", 1), ("mixed", 0)]


def _with(sent: Any, events: tuple[NotificationEvent, ...]) -> Any:
    return msgspec.structs.replace(sent, events=events)


def test_nothing_of_the_old_state_stays(bench: Bench, editing: DiscordChannel) -> None:
    """Embeds, buttons and files of the state before are gone, and nobody is mentioned by an edit."""
    button = {"type": 1, "components": [{"type": 2, "style": 5, "label": "Log", "url": "https://x.io"}]}
    first = {"content": "a", "embeds": [{"title": "t"}], "components": [button], "username": "knell"}
    log = Attachment("a.txt", b"1")
    deliver(bench, editing, "", content=first, attachments=(log,))
    assert [file.name for file in bench.lab.discord.messages[0].files] == ["a.txt"]
    deliver(bench, editing, "", content={"content": "@everyone <@1>", "username": "knell"})
    (posted,) = bench.lab.discord.messages
    assert (posted.files, posted.mentions, posted.text) == ((), (), "@everyone <@1>")
    payload = posted.payload
    assert (payload["embeds"], payload["components"]) == ([], [])
    edit = bench.lab.discord.requests[-1]
    assert (edit.method, edit.json["allowed_mentions"]) == ("PATCH", {"parse": []})
    assert "username" not in edit.json


def test_an_edit_brings_its_own_files(bench: Bench, editing: DiscordChannel) -> None:
    """The new state's files take the place of the old ones."""
    deliver(bench, editing, "a", attachments=(Attachment("old.txt", b"1"),))
    deliver(bench, editing, "b @here", attachments=(Attachment("new.txt", b"2"),))
    (posted,) = bench.lab.discord.messages
    assert [(file.name, file.content) for file in posted.files] == [("new.txt", b"2")]
    assert posted.mentions == ()


def test_new_components_take_the_place_of_everything(bench: Bench, editing: DiscordChannel) -> None:
    """A message of components may hold neither text nor embeds, so an edit to one says nothing of them."""
    content = {"flags": 1 << 15, "components": [{"type": 10, "content": "x"}]}
    deliver(bench, editing, "", content=content)
    deliver(bench, editing, "", content=content)
    assert not {"content", "embeds"} & bench.lab.discord.requests[-1].json.keys()
    assert bench.lab.discord.messages[0].edits == 1


@pytest.mark.parametrize("fault", [error(404, 10008), error(429, 30046), error(403, 50005)])
def test_a_message_that_cannot_be_edited_is_replaced(
    bench: Bench, editing: DiscordChannel, fault: Respond
) -> None:
    """Deleted, edited too often, or another webhook's: a new one is posted, and edited from then on."""
    deliver(bench, editing, "started")
    bench.lab.discord.script(fault)
    deliver(bench, editing, "step")
    bench.clock.advance(5)
    deliver(bench, editing, "step 2")
    assert shown(bench) == [("started", 0), ("step 2", 1)]


def test_a_deleted_message_is_replaced_by_the_end_once(bench: Bench, editing: DiscordChannel) -> None:
    """The end that finds no message to change is posted once, not twice."""
    deliver(bench, editing, "started")
    bench.lab.discord.delete_message(bench.lab.discord.messages[0].id)
    deliver(bench, editing, "over", event_type="job_completed")
    assert asked(bench) == ["POST", "PATCH", "POST"]


@pytest.mark.parametrize(
    ("fault", "expected"),
    [
        (error(500), Retry(Reason.SERVER_ERROR, None, "Discord answered 500")),
        (too_many(3), Retry(Reason.RATE_LIMIT, 3.0, "Discord answered 429")),
        (cloudflare(), Retry(Reason.RATE_LIMIT, 60.0, "Discord answered 429, for every webhook")),
        (error(401), Rejected(Reason.AUTHENTICATION, "Discord answered 401")),
        (error(400), Rejected(Reason.INVALID_MESSAGE, "Discord answered 400")),
    ],
)
def test_an_edit_that_fails_is_a_failed_send(
    bench: Bench, editing: DiscordChannel, fault: Respond, expected: Outcome
) -> None:
    """Progress that cannot be shown is tried again, and never posted meanwhile."""
    deliver(bench, editing, "started")
    bench.lab.discord.script(fault)
    assert bench.send(editing, message("step", job="j1")) == expected
    assert asked(bench) == ["POST", "PATCH"]


def test_an_edit_without_an_answer_is_made_again(bench: Bench, editing: DiscordChannel) -> None:
    """The second edit changes nothing, so that nothing is unknown about it."""
    deliver(bench, editing, "started")
    bench.lab.discord.script(Drop(stored=True))
    outcome = bench.send(editing, message("step", job="j1"))
    assert isinstance(outcome, Retry)
    assert outcome.reason is Reason.CONNECTION_ERROR
    deliver(bench, editing, "step")
    assert shown(bench) == [("step", 2)]


def test_the_end_is_posted_although_the_edit_fails(bench: Bench, editing: DiscordChannel) -> None:
    """An edit that goes wrong holds the end up once; then people are told all the same."""
    deliver(bench, editing, "started")
    over = message("over", job="j1", event_type="job_failed")
    bench.lab.discord.script(error(500))
    assert isinstance(bench.send(editing, over), Retry)
    bench.lab.discord.script(error(500))
    again = message("over", job="j1", event_type="job_failed", attempt=2)
    assert isinstance(bench.send(editing, again), Delivered)
    assert shown(bench) == [("started", 0), ("over", 0)]


def test_a_limited_edit_holds_the_end_up(bench: Bench, editing: DiscordChannel) -> None:
    """A limit passes: then the first message shows the end as well."""
    deliver(bench, editing, "started")
    bench.lab.discord.script(too_many(2))
    over = message("over", job="j1", event_type="job_failed", attempt=2)
    assert isinstance(bench.send(editing, over), Retry)
    bench.clock.advance(2)
    assert isinstance(bench.send(editing, over), Delivered)
    assert shown(bench) == [("over", 1), ("over", 0)]


def test_an_edit_that_is_refused_does_not_cost_the_end(bench: Bench, editing: DiscordChannel) -> None:
    """What Discord refuses in the old place may be fine in a new message."""
    deliver(bench, editing, "started")
    bench.lab.discord.script(error(400, 50035))
    deliver(bench, editing, "over", event_type="job_completed")
    assert shown(bench) == [("started", 0), ("over", 0)]


def test_all_requests_of_a_send_share_its_time(bench: Bench, editing: DiscordChannel) -> None:
    """An edit that takes all the time leaves the new message to the next attempt."""
    deliver(bench, editing, "started")

    def late() -> float:
        # As if the edit's answer had come just at the deadline.
        return bench.clock() + (10 if len(bench.lab.discord.requests) > 1 else 0)

    patient = bench.channel(updates="edit", memory=editing.memory, clock=late)
    outcome = bench.send(patient, message("over", job="j1", event_type="job_completed"))
    assert isinstance(outcome, Retry)
    assert (outcome.reason, asked(bench)) == (Reason.TIMEOUT, ["POST", "PATCH"])


# Forums


def threads(posted: tuple[Message, ...]) -> list[str]:
    """The thread of each message."""
    return [each.thread for each in posted]


@pytest.fixture
def forum(bench: Bench) -> DiscordChannel:
    """A channel with a forum post per job."""
    return bench.channel(bench.lab.discord.forum_url, thread_name="{job}: {title}")


def test_a_job_is_a_forum_post(bench: Bench, forum: DiscordChannel) -> None:
    """Its first event opens the post and names it, the later ones go into it; another job has another."""
    deliver(bench, forum, "started", title="Build")
    deliver(bench, forum, "step", title="Step")
    deliver(bench, forum, "over", event_type="job_completed")
    deliver(bench, forum, "other", job="j2")
    posted = bench.lab.discord.messages
    first, *_, last = threads(posted)
    assert threads(posted) == [first, first, first, last]
    assert first != last
    names = [request.json.get("thread_name") for request in bench.lab.discord.requests]
    assert names == ["j1: Build", None, None, "j2: A title"]


def test_a_restart_finds_the_forum_post(bench: Bench) -> None:
    """The post is in the memory."""
    memory = Scratch()
    keys: dict[str, Any] = {"thread_name": "{job}", "memory": memory}
    for text in ("started", "step"):
        deliver(bench, bench.channel(bench.lab.discord.forum_url, **keys), text)
    assert len(set(threads(bench.lab.discord.messages))) == 1


def test_events_of_no_job_have_posts_of_their_own(bench: Bench, forum: DiscordChannel) -> None:
    """They are named by their title, which is cut to 100 characters on one line."""
    deliver(bench, forum, "a", "b", job="", title="x\ny " * 60)
    assert len(set(threads(bench.lab.discord.messages))) == 2
    name = bench.lab.discord.requests[0].json["thread_name"]
    assert len(name) <= 100
    assert name.startswith("x y x y")


@pytest.mark.parametrize("code", [10003, 50083, 160005])
def test_a_post_that_is_gone_is_opened_anew(bench: Bench, forum: DiscordChannel, code: int) -> None:
    """A deleted, archived or locked post is nobody's mistake: the job gets another one."""
    deliver(bench, forum, "started")
    bench.lab.discord.script(error(404, code))
    deliver(bench, forum, "step", "step 2")
    first, second, third = threads(bench.lab.discord.messages)
    assert first != second == third


def test_a_deleted_post_takes_the_message_along(bench: Bench) -> None:
    """Where a job's message was in a post that is gone, a new post shows the state from then on."""
    editing = bench.channel(bench.lab.discord.forum_url, thread_name="{job}", updates="edit")
    deliver(bench, editing, "started", "step")
    assert shown(bench) == [("step", 1)]
    bench.lab.discord.delete_thread(bench.lab.discord.messages[0].thread)
    deliver(bench, editing, "step 2", "step 3")
    assert shown(bench) == [("step", 1), ("step 3", 1)]
    assert len(set(threads(bench.lab.discord.messages))) == 2


def test_the_end_in_a_forum(bench: Bench) -> None:
    """The end is shown in the post's first message and posted into it; a second run stays in the post."""
    editing = bench.channel(bench.lab.discord.forum_url, thread_name="{job}", updates="edit")
    deliver(bench, editing, "started")
    deliver(bench, editing, "over", event_type="job_completed")
    deliver(bench, editing, "again")
    assert shown(bench) == [("over", 1), ("over", 0), ("again", 0)]
    assert len(set(threads(bench.lab.discord.messages))) == 1


def test_a_thread_of_the_section_is_the_operators(bench: Bench) -> None:
    """All messages go into it; when it is gone that is a mistake of the section, and nothing is opened."""
    thread = bench.lab.discord.add_thread()
    channel = bench.channel(thread_id=thread, updates="edit")
    deliver(bench, channel, "started", "step")
    assert (shown(bench), threads(bench.lab.discord.messages)) == ([("step", 1)], [thread])
    bench.lab.discord.delete_thread(thread)
    outcome = bench.send(channel, message("step 2", job="j1"))
    assert isinstance(outcome, Rejected)
    assert outcome.reason is Reason.CONFIGURATION
    assert "thread_id" in outcome.detail


def test_a_forum_needs_a_thread(bench: Bench) -> None:
    """Without one the answer says which key to set."""
    outcome = bench.send(bench.channel(bench.lab.discord.forum_url), message())
    assert isinstance(outcome, Rejected)
    assert (outcome.reason, "set thread_name" in outcome.detail) == (Reason.CONFIGURATION, True)


def test_a_text_channel_has_no_posts(bench: Bench) -> None:
    """A post's name there is a mistake of the section, and the answer says which key to remove."""
    outcome = bench.send(bench.channel(thread_name="{job}"), message())
    assert isinstance(outcome, Rejected)
    assert (outcome.reason, "remove thread_name" in outcome.detail) == (Reason.CONFIGURATION, True)


@pytest.mark.parametrize("updates", ["post", "edit"])
@pytest.mark.parametrize("beginning", ["gone", "job:"])
def test_a_memory_that_cannot_be_read(bench: Bench, beginning: str, updates: str) -> None:
    """The message waits, with what is known of it: nothing is shown twice, and the actor does not crash."""

    class Broken(Scratch):
        async def get(self, key: str) -> Any:
            if key.startswith(beginning):
                raise StoreError("no disk")
            return await super().get(key)

    channel = bench.channel(updates=updates, memory=Broken())
    outcome = bench.send(channel, message("text", job="j1", progress={"without_files": True}))
    assert isinstance(outcome, Retry)
    assert outcome.reason is Reason.SERVER_ERROR
    assert outcome.detail == "where the message belongs cannot be looked up: no disk"
    assert outcome.progress == {"without_files": True}
    assert bench.lab.discord.requests == ()
