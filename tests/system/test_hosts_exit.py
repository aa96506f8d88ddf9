"""Programs that end without `stop`: the process ends, and nothing that was accepted is lost."""

from typing import Any

import pytest

ENDINGS = {
    "end": ("pass", 0),
    "exit": ("sys.exit(3)", 3),
    "error": ('raise ValueError("the host has a bug")', 1),
    "at once": ("os._exit(0)", 0),
    "signal": ("os.kill(os.getpid(), signal.SIGTERM); signal.pause()", -15),
}

SENDS = """
manager = knell.start(CONFIG)
receipts = [manager.notify(event(title)) for title in TITLES]
assert all(receipt.accepted(20) for receipt in receipts)
"""


@pytest.mark.parametrize("ending", ENDINGS)
def test_what_was_accepted_is_delivered_or_waits(programs: Any, ending: str) -> None:
    """However the program ends, the next start delivers what is left."""
    titles = [f"event {number}" for number in range(50)]
    last_line, code = ENDINGS[ending]
    assert programs.run(f"TITLES = {titles!r}\n{SENDS}{last_line}\n").returncode == code
    assert set(programs.finish()) == {*titles, "last"}


@pytest.mark.parametrize("ending", ENDINGS)
def test_a_delivery_that_never_ends_holds_nobody_up(programs: Any, ending: str) -> None:
    """The provider is silent, the program ends all the same, and the next start tries again."""
    last_line, code = ENDINGS[ending]
    assert programs.run(f"TITLES = ['stuck']\n{SENDS}{last_line}\n").returncode == code
    assert programs.titles() == []
    assert programs.finish() == ["stuck", "last"]


def test_what_was_told_in_the_last_line_is_accepted_yet(programs: Any) -> None:
    """The whole program is a start and a tell; the interpreter waits a moment for the rest."""
    programs.said('knell.start(CONFIG).ref.tell(event("one"))')
    assert programs.finish() == ["one", "last"]


def test_a_daemon_thread_that_goes_on_sending(programs: Any) -> None:
    """It is cut off in the middle; what was accepted by then is delivered."""
    said = programs.said("""
manager = knell.start(CONFIG)
enough = threading.Event()

def send():
    for number in range(100_000):
        if manager.notify(event(str(number))).accepted(20):
            say(last=number)
        if number == 30:
            enough.set()

threading.Thread(target=send, daemon=True).start()
assert enough.wait(20)
""")
    assert said["last"] >= 30
    assert set(programs.finish()) >= {str(number) for number in range(said["last"] + 1)}


def test_a_start_in_a_daemon_thread(programs: Any) -> None:
    """Nobody but that thread ever held the manager."""
    programs.said("""
def work():
    manager = knell.start(CONFIG)
    assert manager.notify(event("one")).accepted(20)
    done.set()

done = threading.Event()
threading.Thread(target=work, daemon=True).start()
assert done.wait(20)
""")
    assert programs.finish() == ["one", "last"]


def test_a_thread_of_the_host_that_waits_without_end(programs: Any) -> None:
    """It is no daemon and waits for a delivery that never ends: stopping lets it go."""
    said = programs.said("""
manager = knell.start(CONFIG)
receipt = manager.notify(event("stuck"))
assert receipt.accepted(20)
waiter = threading.Thread(target=lambda: say(error=receipt.results()[0].error))
waiter.start()
manager.stop(0.2)
""")
    assert said == {"error": "pending"}
    assert programs.finish() == ["stuck", "last"]
