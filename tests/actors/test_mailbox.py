import queue
import threading
from collections import Counter
from collections.abc import Callable
from typing import Any

import pytest

from knell.actors.behaviour import Signal
from knell.actors.mailbox import Mailbox
from knell.actors.seam import Envelope, StopRequest

Letters = list[tuple[Any, str]]


def _env(message: object) -> Envelope[Any]:
    return Envelope(message)


@pytest.fixture
def letters() -> Letters:
    """The messages that died, with the reason."""
    return []


@pytest.fixture
def make(letters: Letters) -> Callable[..., Mailbox]:
    """Return a maker of mailboxes."""

    def mailbox(maxsize: int | None = None) -> Mailbox:
        return Mailbox(maxsize, lambda envelope, reason: letters.append((envelope.message, reason)))

    return mailbox


Make = Callable[..., Mailbox]


def _take(mailbox: Mailbox) -> Any:
    envelope = mailbox.take(0)
    return None if envelope is None else envelope.message


def test_users_come_in_their_order(make: Make) -> None:
    """And nothing comes from an empty one."""
    mailbox = make()
    for number in range(3):
        mailbox.put(_env(number))
    assert [_take(mailbox) for _ in range(4)] == [0, 1, 2, None]


def test_the_system_comes_first(make: Make) -> None:
    """Verdicts, outcomes and stops overtake every user, in their own order."""
    mailbox = make()
    mailbox.put(_env("user"))
    mailbox.put_system(_env("first"))
    stop = StopRequest()
    mailbox.put(_env(stop))
    assert [_take(mailbox) for _ in range(4)] == ["first", stop, "user", None]


def test_one_wait_serves_both_lanes(make: Make) -> None:
    """An owner that waits for users is woken by the system."""
    mailbox, got = make(), queue.Queue[Any]()

    def own() -> None:
        envelope = mailbox.take(20)
        got.put(envelope.message if envelope else None)

    thread = threading.Thread(target=own)
    thread.start()
    mailbox.put_system(_env("signal"))
    assert got.get(timeout=20) == "signal"
    thread.join(20)


def test_the_system_alone_leaves_users_where_they_are(make: Make) -> None:
    """For one that is down or holds back."""
    mailbox = make()
    mailbox.put(_env("user"))
    assert mailbox.take_system(0.0) is None
    mailbox.put_system(_env("signal"))
    envelope = mailbox.take_system(0.0)
    assert envelope is not None
    assert envelope.message == "signal"
    assert _take(mailbox) == "user"


def test_more_users_are_taken_unless_something_is_urgent(make: Make) -> None:
    """A batch ends where the system lane or a message to be handed out again wants its turn."""
    mailbox = make()
    for number in range(4):
        mailbox.put(_env(number))
    assert [e.message for e in mailbox.take_more(2)] == [0, 1]
    mailbox.put_system(_env("signal"))
    assert mailbox.take_more(2) == []
    assert _take(mailbox) == "signal"
    mailbox.hand_back([_env("again")], 1)
    assert mailbox.take_more(2) == []
    assert [e.message for e in mailbox.take_waiting(9)] == ["again"]
    assert mailbox.tries == 1
    assert [e.message for e in mailbox.take_waiting(9)] == [2, 3]
    assert mailbox.tries == 0
    assert mailbox.take_waiting(9) == []


def test_what_is_handed_back_comes_first_and_in_order(make: Make) -> None:
    """With how often it was tried; parked signals come after it and before users."""
    mailbox = make()
    mailbox.put(_env("user"))
    mailbox.hand_back([_env("a"), _env("b")], 2)
    mailbox.park(_env("signal"))
    taken = [(_take(mailbox), mailbox.tries) for _ in range(4)]
    assert taken == [("a", 2), ("b", 2), ("signal", 0), ("user", 0)]


def test_a_blamed_message_shares_no_batch(make: Make) -> None:
    """Those beside it would share the blame; one that crashed in a batch of several is not blamed yet."""
    mailbox = make()
    mailbox.put(_env("user"))
    mailbox.hand_back([_env("blamed")], 1)
    assert (_take(mailbox), mailbox.take_more(2)) == ("blamed", [])
    mailbox.hand_back([_env("suspect")], 0)
    assert (_take(mailbox), [e.message for e in mailbox.take_more(2)]) == ("suspect", ["user"])


def test_a_system_message_is_not_blamed_for_what_came_before_it(make: Make) -> None:
    """`tries` is that of the message in hand."""
    mailbox = make()
    mailbox.hand_back([_env("blamed")], 2)
    assert (_take(mailbox), mailbox.tries) == ("blamed", 2)
    mailbox.put_system(_env("signal"))
    assert mailbox.take_system(0.0) is not None
    assert mailbox.tries == 0


# The bound


def test_the_bound_counts_what_waits(make: Make, letters: Letters) -> None:
    """Users only; one more is a dead letter, and room comes back with every take."""
    mailbox = make(2)
    mailbox.put_system(_env("signal"))
    for number in range(3):
        mailbox.put(_env(number))
    assert letters == [(2, "mailbox_full")]
    assert mailbox.depth == 2
    assert [_take(mailbox), _take(mailbox)] == ["signal", 0]
    mailbox.put(_env(3))
    assert len(letters) == 1
    assert [_take(mailbox), _take(mailbox), _take(mailbox)] == [1, 3, None]


def test_the_bound_may_change(make: Make, letters: Letters) -> None:
    """What waits stays and counts under the new bound, whatever the bound was when it came."""
    mailbox = make()
    for number in range(100):
        mailbox.put(_env(number))
    assert [_take(mailbox) for _ in range(95)] == list(range(95))
    mailbox.maxsize = 3
    mailbox.put(_env("refused"))
    assert [_take(mailbox) for _ in range(3)] == [95, 96, 97]
    for word in ("kept", "refused again"):
        mailbox.put(_env(word))
    assert letters == [("refused", "mailbox_full"), ("refused again", "mailbox_full")]
    assert mailbox.depth == 3
    mailbox.maxsize = 4
    for word in ("fourth", "fifth"):
        mailbox.put(_env(word))
    assert letters[2:] == [("fifth", "mailbox_full")]
    mailbox.maxsize = None
    for number in range(100):
        mailbox.put(_env(number))
    assert mailbox.depth == 104
    assert len(letters) == 3


def test_a_race_neither_makes_nor_loses_places(make: Make, letters: Letters) -> None:
    """After senders and the owner have raced, as many messages fit as before."""
    mailbox = make(100)
    taken = 0

    def send() -> None:
        for number in range(2_000):
            mailbox.put(_env(number))

    threads = [threading.Thread(target=send) for _ in range(4)]
    for thread in threads:
        thread.start()
    while any(thread.is_alive() for thread in threads) or mailbox.depth:
        assert mailbox.depth <= 100
        taken += mailbox.take(0.001) is not None
    assert taken + len(letters) == 8_000
    letters.clear()
    for number in range(101):
        mailbox.put(_env(number))
    assert letters == [(100, "mailbox_full")]


def test_depth_without_a_bound_is_known_too(make: Make) -> None:
    """For the metrics."""
    mailbox = make()
    mailbox.put(_env(1))
    mailbox.hand_back([_env(2)], 0)
    assert mailbox.depth == 2


# Closing


def test_a_closed_mailbox_buries_everything(make: Make, letters: Letters) -> None:
    """What waits in any lane, and what comes later: nothing hides in it."""
    mailbox = make(10)
    mailbox.put(_env("user"))
    mailbox.put_system(_env("signal"))
    mailbox.hand_back([_env("again")], 1)
    mailbox.close("stopped")
    mailbox.put(_env("late"))
    mailbox.put_system(_env("late signal"))
    assert letters == [(m, "stopped") for m in ("again", "signal", "user", "late", "late signal")]
    assert mailbox.depth == 0


def test_a_reopened_mailbox_has_its_whole_bound(make: Make, letters: Letters) -> None:
    """What was buried takes up no room."""
    mailbox = make(2)
    mailbox.put(_env(1))
    mailbox.put(_env(2))
    mailbox.refusing = "stopped"
    mailbox.close("stopped")
    mailbox.reopen()
    letters.clear()
    for number in range(3):
        mailbox.put(_env(number))
    assert letters == [(2, "mailbox_full")]
    assert [_take(mailbox), _take(mailbox)] == [0, 1]


def test_who_drains_leaves_what_comes_after_a_reopening(letters: Letters) -> None:
    """A late sender may still drain when the next life has begun: what comes then is not its to bury."""

    def dead(envelope: Envelope[Any], reason: str) -> None:
        letters.append((envelope.message, reason))
        mailbox.reopen()
        mailbox.put_system(_env("order"))

    mailbox = Mailbox(None, dead)
    for message in ("first", "second"):
        mailbox.put(_env(message))
    mailbox.close("stopped")
    assert letters == [("first", "stopped")]
    assert [_take(mailbox), _take(mailbox)] == ["order", "second"]


def test_one_that_refuses_still_takes_signals(make: Make, letters: Letters) -> None:
    """While its owner handles the last users."""
    mailbox = make()
    mailbox.put(_env("waits"))
    mailbox.refusing = "stopped"
    mailbox.put(_env("late"))
    mailbox.put_system(_env("signal"))
    assert letters == [("late", "stopped")]
    assert [_take(mailbox), _take(mailbox)] == ["signal", "waits"]


def test_nothing_is_lost_or_doubled_around_a_close(make: Make, letters: Letters) -> None:
    """Senders race with an owner and with the close: taken or dead, each exactly once."""
    mailbox = make()
    taken: list[Any] = []
    done = threading.Event()

    def send(sender: int) -> None:
        for number in range(500):
            (mailbox.put if number % 7 else mailbox.put_system)(_env((sender, number)))

    def own() -> None:
        while len(taken) < 700:
            envelope = mailbox.take(20)
            assert envelope is not None
            taken.append(envelope.message)
        mailbox.close("stopped")
        done.set()

    threads = [threading.Thread(target=send, args=[sender]) for sender in range(3)]
    threads.append(threading.Thread(target=own))
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(20)
    assert done.is_set()
    mailbox.drain("stopped")
    ends = Counter([*taken, *(message for message, _ in letters)])
    assert ends == {(sender, number): 1 for sender in range(3) for number in range(500)}


# Ownership


def test_a_fence_hits_the_turn_it_means(make: Make) -> None:
    """By the identity of the hand: a turn that is over cannot be fenced, nor can an owner that waits."""
    mailbox = make()
    epoch = mailbox.next_epoch()
    first: list[Envelope[Any]] = [_env("first")]
    mailbox.begin(first, 1.0)
    assert mailbox.since == 1.0
    assert mailbox.end(epoch)
    assert not mailbox.fence(None)
    assert not mailbox.fence(first)
    second: list[Envelope[Any]] = [_env("first")]
    mailbox.begin(second, 2.0)
    assert not mailbox.fence(first)
    assert mailbox.fence(second)
    assert mailbox.epoch == epoch + 1
    assert not mailbox.end(epoch), "the fenced owner finds out when its turn ends"
    assert not mailbox.fence(second)


def test_a_signal_is_no_user(make: Make) -> None:
    """The two lanes are told apart by how a message is put, not by what it is."""
    mailbox = make(1)
    mailbox.put(_env("fills it"))
    mailbox.put_system(_env(Signal()))
    assert isinstance(_take(mailbox), Signal)
