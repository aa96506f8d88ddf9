"""Order keys through random histories: the store against a model in plain Python."""

import tempfile
from collections import Counter
from dataclasses import dataclass, field

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from knell.deliveries import Again, Attempt, Crashed, Dead, Delivery, Done, Route, Settlement, Verdict
from knell.events import NotificationEvent, seal
from knell.messages import Reason
from knell.store import open_store
from knell.store.contract import Accepted, Store, Submission

CHANNELS = ("slack", "email")
LIMIT = 3
"""Crashes before the quarantine."""

VERDICTS: list[Verdict] = [
    Done(),
    Dead(Reason.REFUSED),
    Again(Reason.TIMEOUT, 5.0),
    Again(Reason.TIMEOUT, 50.0),
    Again(Reason.RATE_LIMIT, 0.0, False),
    Crashed(LIMIT, "Traceback"),
]
FINISHED = {"done", "dead"}


@dataclass
class Row:
    """A delivery as the model has it."""

    seq: int
    channel: str
    key: str
    state: str
    due: float = 0.0
    attempts: int = 0
    crashes: int = 0


@dataclass
class Model:
    """What the storage contract says, without a database."""

    rows: dict[int, Row] = field(default_factory=dict[int, Row])

    def unfinished(self, channel: str, key: str) -> list[int]:
        """Return the rows of a key that have not ended, in order; a row without a key has none beside it."""
        return [
            number
            for number, row in self.rows.items()
            if row.channel == channel and row.key == key and row.state not in FINISHED
        ]

    def add(self, seq: int, channel: str, key: str) -> None:
        """Accept a delivery."""
        waits = key and self.unfinished(channel, key)
        number = len(self.rows) + 1
        self.rows[number] = Row(seq, channel, key or f"#{number}", "waiting" if waits else "ready")

    def fetch(self, channel: str, limit: int, chain: int, held: frozenset[int], now: float) -> list[int]:
        """Return the rows that may go, each head with its followers."""
        for row in self.rows.values():
            if row.channel == channel and row.state == "deferred" and row.due <= now:
                row.state = "ready"
        heads = [
            n
            for n, row in self.rows.items()
            if row.channel == channel and row.state == "ready" and n not in held
        ]
        found: list[int] = []
        for head in heads[:limit]:
            key = self.rows[head].key
            waiting = [n for n in self.unfinished(channel, key) if self.rows[n].state == "waiting"]
            found += [head, *(n for n in waiting[: chain - 1] if n not in held)]
        return found

    def may_start(self, rows: list[int]) -> bool:
        """Say whether these may begin together."""
        return all(self._may_go(number, rows) for number in rows)

    def _may_go(self, number: int, rows: list[int]) -> bool:
        row = self.rows[number]
        if row.state == "ready":
            return True
        older = [n for n in self.unfinished(row.channel, row.key) if n < number]
        return row.state == "waiting" and len(rows) > 1 and set(older) <= set(rows)

    def finish(self, number: int, state: str) -> None:
        """End a delivery: who waits behind it may go."""
        row = self.rows[number]
        row.state = state
        left = self.unfinished(row.channel, row.key)
        if left and self.rows[left[0]].state == "waiting":
            self.rows[left[0]].state = "ready"

    def put_back(self, number: int, due: float) -> None:
        """Let a delivery wait: for its time, or behind an older one."""
        row = self.rows[number]
        row.due = due
        first = self.unfinished(row.channel, row.key)[0]
        row.state = "deferred" if first == number else "waiting"

    def crash(self, number: int, due: float) -> None:
        """Count a crash."""
        self.rows[number].crashes += 1
        if self.rows[number].crashes >= LIMIT:
            self.finish(number, "dead")
        else:
            self.put_back(number, due)


class Histories(RuleBasedStateMachine):
    """One store, one model, and whoever uses both."""

    @initialize()
    def begin(self) -> None:
        """Open a fresh store."""
        self.folder = tempfile.TemporaryDirectory()
        self.now = 1_000_000.0
        self.model = Model()
        self.seen: dict[int, Delivery] = {}
        self.sending: list[list[int]] = []
        self.store = self.open()

    def open(self) -> Store:
        """Open the store as a new process does; everything of this life is one transaction."""
        store = open_store(f"sqlite:///{self.folder.name}/knell.db")
        store.open()
        store.begin()
        return store

    @rule(
        key=st.sampled_from(["", "a", "a", "b"]),
        count=st.integers(1, 4),
        channels=st.lists(st.sampled_from(CHANNELS), unique=True),
    )
    def append(self, key: str, count: int, channels: list[str]) -> None:
        """Events are accepted."""
        for _ in range(count):
            event = NotificationEvent(event_type="x", source="s", title="t")
            routes = tuple(Route(channel) for channel in channels)
            answer = self.store.append(Submission(seal(event), routes, (event.event_id,), key), self.now)
            assert isinstance(answer, Accepted)
            for channel in channels:
                self.model.add(answer.seq, channel, key)

    @rule(
        channel=st.sampled_from(CHANNELS),
        limit=st.integers(1, 5),
        chain=st.integers(1, 3),
        held=st.frozensets(st.integers(1, 12), max_size=4),
    )
    def fetch(self, channel: str, limit: int, chain: int, held: frozenset[int]) -> None:
        """A channel asks for work."""
        self.ask(channel, limit, chain, held)

    def ask(self, channel: str, limit: int, chain: int, held: frozenset[int]) -> list[int]:
        """Fetch, and get what the model says."""
        found = self.store.fetch(channel, limit, chain, held, self.now)
        assert [d.row for d in found] == self.model.fetch(channel, limit, chain, held, self.now)
        for delivery in found:
            row = self.model.rows[delivery.row]
            assert (delivery.attempts, delivery.crashes) == (row.attempts, row.crashes)
            assert delivery.order_key == row.key
            self.seen[delivery.row] = delivery
        return [delivery.row for delivery in found]

    @rule(
        channel=st.sampled_from(CHANNELS),
        chain=st.integers(1, 3),
        picks=st.lists(st.integers(0, 9), min_size=1, max_size=4),
        twice=st.sampled_from([1, 2]),
    )
    def work(self, channel: str, chain: int, picks: list[int], twice: int) -> None:
        """Some of what is fetched is begun, alone or as a batch; a lost answer is asked for again."""
        found = self.ask(channel, 10, chain, frozenset())
        if found:
            self.start(sorted({found[pick % len(found)] for pick in picks}), twice)

    @rule(picks=st.lists(st.integers(0, 99), min_size=1, max_size=3))
    def start_late(self, picks: list[int]) -> None:
        """What was fetched long ago is begun; much may have happened to it since."""
        rows = sorted({list(self.seen)[pick % len(self.seen)] for pick in picks} if self.seen else ())
        if len({self.model.rows[row].channel for row in rows}) == 1:
            self.start(rows, 1)

    def start(self, rows: list[int], times: int) -> None:
        """Begin an attempt at these rows."""
        attempt = Attempt(tuple(self.seen[row] for row in rows))
        expected = self.model.may_start(rows)
        begun_before = all(
            self.model.rows[row].state == "sending"
            and self.model.rows[row].attempts == self.seen[row].attempts + 1
            for row in rows
        )
        for _ in range(times):
            assert self.store.start(attempt) is (expected or begun_before)
        if expected:
            self.sending.append(rows)
            for row in rows:
                self.model.rows[row].state = "sending"
                self.model.rows[row].attempts += 1

    @rule(which=st.integers(0, 99), verdict=st.sampled_from(VERDICTS))
    def settle(self, which: int, verdict: Verdict) -> None:
        """An attempt ends; its second end is nobody's."""
        if not self.sending:
            self.work(CHANNELS[which % 2], 2, [0, 1], 1)
        if not self.sending:
            return
        for number in self.sending.pop(which % len(self.sending)):
            row = self.model.rows[number]
            settlement = Settlement(self.seen[number], verdict)
            settled = self.store.settle(settlement, self.now)
            assert self.store.settle(settlement, self.now) is None
            match verdict:
                case Done():
                    self.model.finish(number, "done")
                case Dead():
                    self.model.finish(number, "dead")
                case Crashed():
                    self.model.crash(number, self.now)
                case Again(_, delay, counted):
                    row.attempts -= not counted
                    self.model.put_back(number, self.now + delay)
            assert settled is not None
            assert settled.seq == row.seq
            assert (settled.state.name.lower(), settled.attempts) == (row.state, row.attempts)

    @rule(seconds=st.sampled_from([1.0, 10.0, 100.0]))
    def wait(self, seconds: float) -> None:
        """Time passes."""
        self.now += seconds

    @rule()
    def die(self) -> None:
        """The process dies after a commit, and another one recovers."""
        self.store.commit()
        self.store.close()
        self.store = self.open()
        lost = sorted(number for rows in self.sending for number in rows)
        assert self.store.recover(self.now, self.now + 20) == len(lost)
        for number in lost:
            self.model.crash(number, 0.0)
        for row in self.model.rows.values():
            if row.state == "deferred":
                row.due = min(row.due, self.now + 20)
        self.sending.clear()
        self.seen.clear()

    @invariant()
    def one_of_a_key_at_a_time(self) -> None:
        """Never two of one key under way, except in one batch; none before an older one has ended."""
        keys = [{(self.model.rows[n].channel, self.model.rows[n].key) for n in rows} for rows in self.sending]
        assert sum(len(each) for each in keys) == len(set[tuple[str, str]]().union(*keys))
        for rows in self.sending:
            for number in rows:
                row = self.model.rows[number]
                older = [n for n in self.model.unfinished(row.channel, row.key) if n < number]
                assert set(older) <= set(rows)

    @invariant()
    def nothing_is_lost(self) -> None:
        """Every delivery is unfinished, done or dead, and the store counts them as the model does."""
        states = Counter((row.channel, row.state) for row in self.model.rows.values())
        expected: dict[str, tuple[int, int]] = {}
        for channel in CHANNELS:
            dead = states[channel, "dead"]
            unfinished = sum(n for (c, state), n in states.items() if c == channel and state not in FINISHED)
            if dead or unfinished:
                expected[channel] = (unfinished, dead)
        assert self.store.counts() == expected
        for channel in CHANNELS:
            walked = [number for number, _ in self.store.pending(channel, 0, 1000)]
            rows = self.model.rows.items()
            assert walked == [n for n, row in rows if row.channel == channel and row.state not in FINISHED]
            due = [row.due for _, row in rows if row.channel == channel and row.state == "deferred"]
            assert self.store.next_due(channel) == min(due, default=None)

    def teardown(self) -> None:
        """Forget it."""
        self.store.close()
        self.folder.cleanup()


Histories.TestCase.settings = settings(max_examples=100, stateful_step_count=40)
TestHistories = Histories.TestCase
