"""Producers against receiver against store: what was lost, what came twice, and what came out of order."""

from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from tests.faults.receiver import Arrival
from tests.faults.service import CAP, Service

UNDER_WAY = "SELECT e.id, d.channel, d.attempts FROM delivery d JOIN event e USING (seq) WHERE d.state = 3"
DEAD = "SELECT e.id FROM delivery d JOIN event e USING (seq) WHERE d.state = 5"


@dataclass(frozen=True)
class Kill:
    """What the store says after the end of a process: the attempts that were begun and not settled.

    Each is an event's id, a channel and the number of the attempt.
    """

    under_way: frozenset[tuple[str, str, int]]

    @classmethod
    def of(cls, service: Service) -> "Kill":
        """Look into the store of a process that has just died."""
        return cls(frozenset((event, channel, n) for event, channel, n in service.rows(UNDER_WAY)))


def audit(
    service: Service, acked: Iterable[str], arrivals: Sequence[Arrival], kills: Sequence[Kill]
) -> list[str]:
    """Return every promise that was broken, in words; for a service that has drained."""
    return [
        *_unfinished(service),
        *_lost(service, acked, arrivals, kills),
        *_repeated(arrivals, kills),
        *_disordered(arrivals),
    ]


def _unfinished(service: Service) -> list[str]:
    left = service.unfinished()
    return [f"{left} deliveries are stuck"] if left else []


def _lost(
    service: Service, acked: Iterable[str], arrivals: Sequence[Arrival], kills: Sequence[Kill]
) -> list[str]:
    """An accepted event has arrived, or was quarantined because three processes died over it."""
    deaths = Counter(event for event, _, _ in _explained(kills))
    quarantined = {event for (event,) in service.rows(DEAD)}
    lost = set(acked) - {arrival.event_id for arrival in arrivals} - quarantined
    words = [f"{len(lost)} accepted events are lost, among them {min(lost)}"] if lost else []
    return words + [f"{event} is dead without cause" for event in quarantined if deaths[event] < 3]


def _repeated(arrivals: Sequence[Arrival], kills: Sequence[Kill]) -> list[str]:
    """Each repetition has an attempt of its own that a kill cut off; no kill cuts off more than the cap."""
    cut = Counter(event for event, _, _ in _explained(kills))
    counts = Counter(arrival.event_id for arrival in arrivals)
    words = [
        f"{event} came {count} times, its attempts were cut off {cut[event]} times"
        for event, count in counts.items()
        if count > cut[event] + 1
    ]
    for kill in kills:
        per_channel = Counter(channel for _, channel, _ in kill.under_way)
        words += [f"{n} under way on {channel} at a kill" for channel, n in per_channel.items() if n > CAP]
    ids = defaultdict[str, set[str]](set)
    for arrival in arrivals:
        ids[arrival.event_id].add(arrival.message_id)
    return words + [f"{event} came under several ids" for event, names in ids.items() if len(names) > 1]


def _explained(kills: Sequence[Kill]) -> set[tuple[str, str, int]]:
    """Every attempt that was cut off, once: a process that died before it recovered has begun none."""
    return {attempt for kill in kills for attempt in kill.under_way}


def _disordered(arrivals: Sequence[Arrival]) -> list[str]:
    """First arrivals of an order key come in its order."""
    seen: set[str] = set()
    latest: dict[str, int] = {}
    words: list[str] = []
    for arrival in arrivals:
        if arrival.event_id in seen:
            continue
        seen.add(arrival.event_id)
        if arrival.serial < latest.get(arrival.key, -1):
            words.append(f"{arrival.event_id} came after number {latest[arrival.key]}")
        latest[arrival.key] = max(arrival.serial, latest.get(arrival.key, -1))
    return words
