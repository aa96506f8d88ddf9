import pytest

from knell.actors.letters import DeadLetter, DeadLetters


def test_a_hand_back_that_fails_harms_nobody(caplog: pytest.LogCaptureFixture) -> None:
    """It runs in whoever buries, a sender or a supervisor: the letter counts, the failure is logged."""

    def fail(_letter: DeadLetter) -> None:
        raise ZeroDivisionError

    letters = DeadLetters(lambda: 0.0)
    letters.hand_back = fail
    letters.take(DeadLetter("a", "message", "stopped"))
    assert letters.counts() == {("a", "stopped"): 1}
    assert "actor.hand_back_failed" in [record.message for record in caplog.records]


def test_letters_can_be_counted_without_anybody_to_hand_them_to() -> None:
    """By actor and reason."""
    letters = DeadLetters(lambda: 0.0)
    for actor, reason in (("a", "stopped"), ("b", "stopped"), ("a", "stopped"), ("a", "hung")):
        letters.take(DeadLetter(actor, "message", reason))
    assert letters.counts() == {("a", "stopped"): 2, ("b", "stopped"): 1, ("a", "hung"): 1}
    assert letters.total == 4
