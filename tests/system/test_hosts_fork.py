"""After fork: the child has the objects of the system, and none of its threads."""

from pathlib import Path
from typing import Any

import pytest

CALLS = {
    "tell": 'manager.ref.tell(event("x"))',
    "ask": "manager.ref.ask(None)",
    "future": "manager.ref.ask(None, block=False).get()",
    "notify": 'manager.notify(event("x"))',
    "notify_and_wait": 'manager.notify_and_wait(event("x"))',
    "accepted": "receipt.accepted()",
    "results": "open_receipt.results()",
    "await": "asyncio.run(awaited(open_receipt))",
    "wait": "asyncio.run(open_receipt.wait())",
    "status": "manager.get_delivery_status(receipt.id)",
    "reload": "manager.reload_config()",
    "update": "manager.update_config(CONFIG)",
    "rules": "manager.update_routing_rules([])",
    "enable": 'manager.enable_channel("file")',
    "disable": 'manager.disable_channel("file")',
    "start": "manager.start()",
}

ALL_CALLS = """
async def awaited(receipt):
    return await receipt

with knell.start(CONFIG) as manager:
    receipt, open_receipt = manager.notify(event("before")), manager.notify(event("stuck"))
    assert receipt.results(20)[0].success and open_receipt.accepted(20)
    if (child := os.fork()) == 0:
        found = {}
        for name, call in CALLS.items():
            try:
                found[name] = repr(eval(call))
            except knell.KnellError as error:
                found[name] = f"{type(error).__name__}: {error}"
        health = manager.health()
        say(calls=found, healthy=health.healthy, stopped=manager.ref.stop(), nothing=manager.stop())
        sys.exit(0)  # through __exit__
    say(child=os.waitpid(child, 0)[1])
    assert manager.notify_and_wait(event("after"))[0].success
    manager.stop(0.5)
"""

FORKED = "ForkedError: this process was forked from the one that runs knell: start a system of its own here"


def test_the_child_gets_a_clear_error_and_the_parent_notices_nothing(programs: Any) -> None:
    """What would wait for an actor says why it does not; stopping is the parent's, and does nothing."""
    said = programs.said(f"CALLS = {CALLS!r}\n{ALL_CALLS}")
    assert said["calls"] == dict.fromkeys(CALLS, FORKED)
    assert (said["healthy"], said["stopped"], said["nothing"], said["child"]) == (False, False, None, 0)
    assert programs.titles() == ["before", "after"]


UNDER_LOAD = """
def send(name):
    while not forked.is_set():
        receipts.append(manager.notify(event(f"{name}{len(receipts)}")))
        receipts[-1].accepted(20)  # the next commit begins at once: most forks fall into one

receipts, children, forked = [], [], threading.Event()
with knell.start(CONFIG) as manager:
    senders = [threading.Thread(target=send, args=(name,)) for name in "ab"]
    for sender in senders:
        sender.start()
    while len(children) < 12:
        receipts[-1:] and receipts[-1].accepted(20)
        if (child := os.fork()) == 0:
            sys.exit(0)
        children.append(child)
    forked.set()
    codes = [os.waitpid(child, 0)[1] for child in children]
    for sender in senders:
        sender.join()
    assert all(receipt.results(20)[0].success for receipt in receipts)
    say(codes=codes, sent=len(receipts))
"""


def test_forks_in_the_middle_of_everything(programs: Any) -> None:
    """Whatever lock another thread holds at that moment, no child hangs; each event is delivered once."""
    said = programs.said(UNDER_LOAD)
    assert said["codes"] == [0] * 12
    assert len(programs.titles()) == said["sent"]


NOT_CLOSED = """
from pathlib import Path
manager = knell.start(CONFIG)
manager.notify_and_wait(event("one"))
if (child := os.fork()) == 0:
    gc.collect()
    names = [os.path.realpath(path) for path in Path("/proc/self/fd").iterdir()]
    say(open=sum(name.endswith("/knell.db") for name in names))
    say(locks=sum(name.endswith(".lock") for name in names))
    sys.exit(0)
say(code=os.waitpid(child, 0)[1])
manager.stop()
"""


@pytest.mark.skipif(not Path("/proc/self/fd").exists(), reason="needs /proc")
def test_the_child_lets_go_of_the_store_without_closing_it(programs: Any) -> None:
    """SQLite forbids even that; the lock beside it is given back."""
    assert programs.said(NOT_CLOSED) == {"open": 1, "locks": 0, "code": 0}


IN_A_POOL = """
import multiprocessing

def work(manager):
    try:
        manager.notify(event("from the child"))
    except knell.KnellError as error:
        print(json.dumps({"said": type(error).__name__}), flush=True)

with knell.start(CONFIG) as manager:
    child = multiprocessing.get_context("fork").Process(target=work, args=(manager,))
    child.start()
    child.join()
    say(code=child.exitcode)
"""


def test_a_process_of_multiprocessing(programs: Any) -> None:
    """It ends by itself; its error names the fork."""
    assert programs.said(IN_A_POOL) == {"said": "ForkedError", "code": 0}


OF_ITS_OWN = """
manager = knell.start(CONFIG)
if (child := os.fork()) == 0:
    try:
        knell.start(CONFIG)
    except knell.StoreError as error:
        say(same=str(error))
    CONFIG["store"]["url"] = "sqlite:///another.db"
    with knell.start(CONFIG) as own:
        say(child=own.notify_and_wait(event("child"))[0].success)
    sys.exit(0)
say(code=os.waitpid(child, 0)[1], parent=manager.notify_and_wait(event("parent"))[0].success)
manager.stop()
"""


def test_the_child_may_run_a_system_of_its_own(programs: Any) -> None:
    """With a store of its own: the parent's is taken."""
    said = programs.said(OF_ITS_OWN)
    assert "is using it" in said.pop("same")
    assert said == {"child": True, "code": 0, "parent": True}


@pytest.mark.parametrize("order", ["child first", "parent first"])
def test_a_store_is_free_once_its_owner_has_stopped(programs: Any, order: str) -> None:
    """A child that lives on holds nothing."""
    said = programs.said(f"""
read, write = os.pipe()
manager = knell.start(CONFIG)
if (child := os.fork()) == 0:
    os.close(write)
    os.read(read, 1)
    sys.exit(0)
os.close(read)
if {order == "child first"}:
    os.close(write)
    os.waitpid(child, 0)
manager.stop()
with knell.start(CONFIG) as again:
    say(again=again.notify_and_wait(event("again"))[0].success)
""")
    assert said == {"again": True}
