"""What is measured about one subject, each in a process of its own: `trials.py NAME SUBJECT SETTINGS`."""

import gc
import json
import os
import sys
import threading
import time
from pathlib import Path
from typing import Any

import pykka
import subjects

from knell.actors.behaviour import Behaviour, IoDone
from knell.actors.context import Context
from knell.actors.policy.restart import Backoff
from knell.actors.spec import Spec

PAGE = os.sysconf("SC_PAGE_SIZE")

Figures = dict[str, float]


def tell(subject: str, *, producers: int, messages: int, mailbox: int | None = None) -> Figures:
    """Tell so many messages from so many threads; all figures in ns per message.

    `tell` is CPU time of the telling threads, `total` that of the whole process until everything is handled,
    `wall` the time until then. `tell busy` is `tell` while the actor sits in an earlier message until all are
    told: nobody but the producers competes for the interpreter.
    """
    ref = subjects.actor(subject, mailbox)
    _burst(ref, producers, messages)  # the memory it takes is no part of what a message costs
    cpu, wall = time.process_time_ns(), time.perf_counter_ns()
    told = _produce(ref, producers, messages)
    handled = [ref.ask(None)]
    cpu, wall = time.process_time_ns() - cpu, time.perf_counter_ns() - wall
    told_busy = _burst(ref, producers, messages)
    handled.append(ref.ask(None))
    assert handled == [2 * messages, 3 * messages]
    figures = {"tell": told, "tell busy": told_busy, "total": cpu, "wall": wall}
    return {name: spent / messages for name, spent in figures.items()}


def _burst(ref: pykka.ActorRef[Any], producers: int, messages: int) -> int:
    """Tell while the actor sits in one message; return the CPU time the telling took."""
    release = subjects.hold(ref)
    spent = _produce(ref, producers, messages)
    release()
    ref.ask(None)
    return spent


def _produce(ref: pykka.ActorRef[Any], producers: int, messages: int) -> int:
    """Tell from several threads; return the CPU time they took."""
    spent: list[int] = []

    def produce() -> None:
        begun = time.thread_time_ns()
        for number in range(messages // producers):
            ref.tell(number)
        spent.append(time.thread_time_ns() - begun)

    threads = [threading.Thread(target=produce) for _ in range(producers)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return sum(spent)


def latency(subject: str, *, messages: int) -> Figures:
    """Send to an idle actor every millisecond; us from before `tell` to inside the handler."""
    taken: list[int] = []
    ref = subjects.actor(subject)
    for _ in range(messages):
        arrived = threading.Event()
        ref.tell(_Stamp(taken, arrived))
        arrived.wait()
        time.sleep(0.001)
    return _percentiles(taken)


class _Stamp:
    """Notes how long it was under way."""

    def __init__(self, taken: list[int], arrived: threading.Event) -> None:
        self._taken, self._arrived = taken, arrived
        self._sent = time.perf_counter_ns()

    def __call__(self) -> None:
        self._taken.append(time.perf_counter_ns() - self._sent)
        self._arrived.set()


class _Told:
    """When an actor crashed and started; `back` is set at every start."""

    def __init__(self) -> None:
        self.crashed: list[int] = []
        self.started: list[int] = []
        self.back = threading.Event()


class _Crasher(Behaviour):
    """Crashes over every message, says when, and when it is back."""

    def __init__(self, ctx: Context, *, told: _Told) -> None:
        super().__init__(ctx)
        self._told = told

    def on_start(self) -> None:
        """Note the time."""
        self._told.started.append(time.perf_counter_ns())
        self._told.back.set()

    def on_receive(self, message: Any) -> Any:
        """Note the time, and crash."""
        self._told.crashed.append(time.perf_counter_ns())
        raise ValueError(message)


def restart(_subject: str, *, crashes: int) -> Figures:
    """Crash an actor without backoff, once a millisecond; us from the crash to inside the next `on_start`."""
    told = _Told()
    root = subjects.tree(Spec("crasher", _Crasher, {"told": told}))
    ref = root.children["crasher"].actor_ref
    for number in range(crashes):
        told.back.clear()
        ref.tell(number)
        told.back.wait()
        time.sleep(0.001)
    pairs = zip(told.crashed, told.started[1:], strict=True)
    return _percentiles([started - crashed for crashed, started in pairs])


def memory(subject: str, *, actors: int, mailbox: int | None = None) -> Figures:
    """Add so many idle actors to a running one; resident KiB, threads, files and ms to start, per actor."""
    add = subjects.crowd(subject, mailbox)
    gc.collect()
    before = (_resident(), threading.active_count(), _files(), time.perf_counter())
    kept = add(actors)
    started = time.perf_counter()
    gc.collect()
    after = (_resident(), threading.active_count(), _files(), started)
    del kept
    kib, threads, files, seconds = ((b - a) / actors for a, b in zip(before, after, strict=True))
    return {"KiB": kib, "threads": threads, "files": files, "start": seconds * 1e3}


class _Caller(Behaviour):
    """Starts one coroutine per message; says when the last outcome has come."""

    def __init__(self, ctx: Context, *, messages: int, done: threading.Event) -> None:
        super().__init__(ctx)
        self._left, self._done = messages, done

    def on_receive(self, message: Any) -> Any:
        """Start a coroutine."""
        self.ctx.spawn_io(_answer, message, op=message)

    def on_io(self, done: IoDone) -> None:
        """Count its outcome."""
        assert done.result == done.op
        self._left -= 1
        if not self._left:
            self._done.set()


async def _answer(message: int) -> int:
    return message


def operation(_subject: str, *, messages: int) -> Figures:
    """Do one asynchronous operation per message; us of CPU time from `tell` to `on_io`."""
    done = threading.Event()
    root = subjects.tree(Spec("caller", _Caller, {"messages": messages, "done": done}))
    ref = root.children["caller"].actor_ref
    cpu = time.process_time()
    for number in range(messages):
        ref.tell(number)
    done.wait()
    return {"total": (time.process_time() - cpu) / messages * 1e6}


def neighbour(_subject: str, *, crashing: bool, seconds: float, wait: float, mailbox: int) -> Figures:
    """Keep one channel fully busy beside another one, which crashes for ever and is restarted after `wait`.

    `wall` and `cpu` are messages of the busy one per second and per second of CPU time; `crashes` is per
    second. The wait never doubles: more crashes than knell would let happen.
    """
    backoff = Backoff(wait, wait)
    poisoned = Spec("crasher", _Crasher, {"told": _Told()}, attempts=1_000_000, backoff=backoff)
    root = subjects.tree(poisoned, Spec("steady", subjects.Counter, mailbox=mailbox))
    crasher, ref = root.children["crasher"], root.children["steady"].actor_ref
    if crashing:
        crasher.actor_ref.tell("poison")
    cpu, begun = time.process_time(), time.perf_counter()
    handled = 0
    while time.perf_counter() - begun < seconds or (crashing and crasher.mailbox.epoch == 1):
        for number in range(mailbox // 2):
            ref.tell(number)
        ref.ask(None)
        handled += mailbox // 2
    cpu, wall = time.process_time() - cpu, time.perf_counter() - begun
    assert ref.ask(None) == handled
    return {"wall": handled / wall, "cpu": handled / cpu, "crashes": (crasher.mailbox.epoch - 1) / wall}


def _percentiles(nanoseconds: list[int]) -> Figures:
    ordered = sorted(nanoseconds)
    return {f"p{p}": ordered[len(ordered) * p // 100] / 1e3 for p in (50, 99)}


def _resident() -> float:
    return int(Path("/proc/self/statm").read_text(encoding="ascii").split()[1]) * PAGE / 1024


def _files() -> int:
    return len(list(Path("/proc/self/fd").iterdir()))


TRIALS = {trial.__name__: trial for trial in (tell, latency, restart, memory, operation, neighbour)}

if __name__ == "__main__":
    print(json.dumps(TRIALS[sys.argv[1]](sys.argv[2], **json.loads(sys.argv[3]))))
