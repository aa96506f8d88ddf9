"""Order keys through random histories: the store against a model in plain Python."""

import tempfile
from collections import Counter
from dataclasses import dataclass, field

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from knell.deliveries import Again, Attempt, Crashed, Dead, Delivery, Done, Route, Settlement, Verdict
from knell.events import NotificationEvent, seal
from knell.messages import DeliveryState, Reason
from knell.store import open_reader, open_store
from knell.store.contract import Accepted, Ended, State, Store, Submission
from knell.store.records import Selection

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
FINISHED = {"done", "dead", "cancelled", "expired"}
WINDOW = 30.0


@dataclass
class Row:
    """A delivery as the model has it."""

    seq: int
    event_id: str
    channel: str
    key: str
    accepted: float
    state: str = "waiting"
    due: float = 0.0
    attempts: int = 0
    crashes: int = 0
    finished: float = 0.0

    @property
    def id(self) -> str:
        """Its public name."""
        return f"{self.event_id}:{self.channel}"


@dataclass
class Model:
    """What the storage contract says, without a database."""

    rows: dict[int, Row] = field(default_factory=dict[int, Row])
    events: list[tuple[int, str, float]] = field(default_factory=list[tuple[int, str, float]])
    added: int = 0

    def stands_for(self, similar: str, now: float) -> int | None:
        """Return the last event that is similar and young enough."""
        like = [seq for seq, other, at in self.events if similar and other == similar and at > now - WINDOW]
        return like[-1] if like else None

    def unfinished(self, channel: str, key: str) -> list[int]:
        """Return the rows of a key that have not ended, in order; a row without a key has none beside it."""
        return [
            number
            for number, row in self.rows.items()
            if row.channel == channel and row.key == key and row.state not in FINISHED
        ]

    def add(self, row: Row) -> None:
        """Accept a delivery."""
        self.added += 1
        row.key = row.key or f"#{self.added}"
        if not self.unfinished(row.channel, row.key):
            row.state = "ready"
        self.rows[self.added] = row

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
        others = self.unfinished(row.channel, row.key)
        busy = any(self.rows[n].state == "sending" for n in others)
        older = {n for n in others if n < number}
        return row.state == "waiting" and len(rows) > 1 and not busy and older <= set(rows)

    def release(self, channel: str, key: str, now: float) -> None:
        """Let the oldest of a key go, unless one is under way."""
        left = [self.rows[n] for n in self.unfinished(channel, key)]
        if left and left[0].state == "waiting" and all(row.state != "sending" for row in left):
            left[0].state = "deferred" if left[0].due >= now else "ready"

    def finish(self, number: int, state: str, now: float) -> None:
        """End a delivery: who waits behind it may go."""
        row = self.rows[number]
        row.state, row.finished = state, now
        self.release(row.channel, row.key, now)

    def put_back(self, number: int, due: float, now: float) -> None:
        """Let a delivery wait: for its time, or behind others."""
        row = self.rows[number]
        row.state, row.due = "waiting", due
        self.release(row.channel, row.key, now)

    def crash(self, number: int, due: float, now: float) -> None:
        """Count a crash."""
        self.rows[number].crashes += 1
        if self.rows[number].crashes >= LIMIT:
            self.finish(number, "dead", now)
        else:
            self.put_back(number, due, now)

    def replay(self, numbers: list[int], now: float, interval: float) -> None:
        """Bring back rows that ended; younger ones of their keys that may go wait again."""
        keys = [(self.rows[number].channel, self.rows[number].key) for number in numbers]
        for n, number in enumerate(numbers):
            row = self.rows[number]
            row.state, row.due, row.attempts, row.crashes = "waiting", now + n * interval, 0, 0
        for channel, key in keys:
            for number in self.unfinished(channel, key):
                if self.rows[number].state in {"ready", "deferred"}:
                    self.rows[number].state = "waiting"
        for channel, key in keys:
            self.release(channel, key, now)


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
        similar=st.sampled_from(["", "", "x", "y"]),
    )
    def append(self, key: str, count: int, channels: list[str], similar: str) -> None:
        """Events are accepted; of those that are similar, one stands for all."""
        events = [NotificationEvent(event_type="x", source="s", title="t") for _ in range(count)]
        routes = tuple(Route(channel) for channel in channels)
        answers = self.store.append(
            [
                Submission(seal(event), routes, (event.event_id,), key, similar=similar, window=WINDOW)
                for event in events
            ],
            self.now,
        )
        for event, answer in zip(events, answers, strict=True):
            stands = self.model.stands_for(similar, self.now)
            assert isinstance(answer, Accepted)
            assert answer.duplicate is (stands is not None)
            if stands is not None:
                assert answer.seq == stands
                continue
            self.model.events.append((answer.seq, similar, self.now))
            for channel in channels:
                self.model.add(Row(answer.seq, event.event_id, channel, key, self.now))

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
        seen = [row for row in self.seen if row in self.model.rows]
        rows = sorted({seen[pick % len(seen)] for pick in picks} if seen else ())
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
            assert self.store.start([attempt]) == [expected or begun_before]
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
            settled, again = self.store.settle([settlement, settlement], self.now)
            assert again is None
            match verdict:
                case Done():
                    self.model.finish(number, "done", self.now)
                case Dead():
                    self.model.finish(number, "dead", self.now)
                case Crashed():
                    self.model.crash(number, self.now, self.now)
                case Again(_, delay, counted):
                    row.attempts -= not counted
                    self.model.put_back(number, self.now + delay, self.now)
            assert settled is not None
            assert settled.seq == row.seq
            assert (settled.state.name.lower(), settled.attempts) == (row.state, row.attempts)

    @rule(
        channel=st.sampled_from([None, *CHANNELS]),
        state=st.sampled_from([None, None, DeliveryState.DEAD, DeliveryState.DONE, DeliveryState.PENDING]),
        named=st.frozensets(st.integers(0, 99), max_size=3),
        interval=st.sampled_from([0.0, 3.0]),
    )
    def replay(
        self, channel: str | None, state: DeliveryState | None, named: frozenset[int], interval: float
    ) -> None:
        """An operator wants some again."""
        selection, rows = self.select(channel, state, named)
        rows = [n for n in rows if self.model.rows[n].state in {"done", "dead"}]
        replayed = self.store.replay(selection, "tests", self.now, interval)
        assert replayed == Counter(self.model.rows[n].channel for n in rows)
        self.model.replay(rows, self.now, interval)

    @rule(
        channel=st.sampled_from([None, *CHANNELS]),
        state=st.sampled_from([None, DeliveryState.DEAD, DeliveryState.PENDING]),
        named=st.frozensets(st.integers(0, 99), min_size=1, max_size=3),
    )
    def cancel(self, channel: str | None, state: DeliveryState | None, named: frozenset[int]) -> None:
        """An operator gives some up."""
        selection, rows = self.select(channel, state, named)
        kept = {"done", "cancelled", "expired", "sending"}
        rows = [n for n in rows if self.model.rows[n].state not in kept]
        self.ended(self.store.cancel(selection, "tests", self.now), rows, "cancelled")

    def select(
        self, channel: str | None, state: DeliveryState | None, named: frozenset[int]
    ) -> tuple[Selection, list[int]]:
        """Return a selection, and the rows that fit it."""
        rows = list(self.model.rows.values())
        ids = tuple({rows[pick % len(rows)].id for pick in named} if rows else ())
        selection = Selection(ids=ids, channel=channel, state=state)
        return selection, [
            number
            for number, row in self.model.rows.items()
            if (not ids or row.id in ids)
            and (channel is None or row.channel == channel)
            and (state is None or State[row.state.upper()].public is state)
        ]

    @rule(channel=st.sampled_from(CHANNELS), age=st.sampled_from([5.0, 50.0]), limit=st.integers(1, 4))
    def expire(self, channel: str, age: float, limit: int) -> None:
        """The oldest of a channel become worthless."""
        candidates = [
            n
            for n, row in self.model.rows.items()
            if row.channel == channel and row.state not in FINISHED and row.state != "sending"
        ][:limit]
        rows = [n for n in candidates if self.model.rows[n].accepted < self.now - age]
        self.ended(self.store.expire(channel, self.now - age, self.now, limit), rows, "expired")

    def ended(self, found: list[Ended], rows: list[int], state: str) -> None:
        """Compare what ended without an attempt, and let it end in the model."""
        expected = [(self.model.rows[n].event_id, self.model.rows[n].state) for n in rows]
        assert [(each.event_id, each.was.name.lower()) for each in found] == expected
        for number in rows:
            self.model.rows[number].state = state
            self.model.rows[number].finished = self.now
        for number in rows:
            self.model.release(self.model.rows[number].channel, self.model.rows[number].key, self.now)

    @rule(done=st.sampled_from([0.0, 10.0, 100.0]), dead=st.sampled_from([0.0, 100.0]))
    def prune(self, done: float, dead: float) -> None:
        """What ended long ago is forgotten, and nothing else."""
        while self.store.prune(self.now - done, self.now - dead, 0.0, 2):
            continue
        for number, row in list(self.model.rows.items()):
            age = dead if row.state == "dead" else done
            if row.state in FINISHED and row.finished < self.now - age:
                del self.model.rows[number]

    @rule(seconds=st.sampled_from([1.0, 10.0, 100.0]))
    def wait(self, seconds: float) -> None:
        """Time passes."""
        self.now += seconds

    @rule()
    def die(self) -> None:
        """The process dies after a commit, and another one recovers."""
        self.store.commit()
        self.store.close()
        self.check()
        self.store = self.open()
        lost = sorted(number for rows in self.sending for number in rows)
        assert self.store.recover(self.now, self.now + 20) == len(lost)
        for number in lost:
            self.model.crash(number, 0.0, self.now)
        for row in self.model.rows.values():
            if row.state not in FINISHED:
                row.due = min(row.due, self.now + 20)
        self.sending.clear()
        self.seen.clear()

    def check(self) -> None:
        """Read the file beside: every promise about its rows holds."""
        reader = open_reader(f"sqlite:///{self.folder.name}/knell.db")
        assert reader.check() == []
        listed = [record.id for record in reader.deliveries(Selection(), limit=10_000)]
        assert listed == [row.id for row in reversed(self.model.rows.values())]
        reader.close()

    @invariant()
    def one_of_a_key_at_a_time(self) -> None:
        """Never two of one key under way, except in one batch; then none may go, else exactly the oldest."""
        keys = [{(self.model.rows[n].channel, self.model.rows[n].key) for n in rows} for rows in self.sending]
        busy = set[tuple[str, str]]().union(*keys)
        assert sum(len(each) for each in keys) == len(busy)
        for channel, key in {(row.channel, row.key) for row in self.model.rows.values()}:
            unfinished = self.model.unfinished(channel, key)
            free = [n for n in unfinished if self.model.rows[n].state in {"ready", "deferred"}]
            assert free == ([] if (channel, key) in busy else unfinished[:1])

    @invariant()
    def nothing_is_lost(self) -> None:
        """Every delivery is unfinished or has an end, and the store counts them as the model does."""
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
