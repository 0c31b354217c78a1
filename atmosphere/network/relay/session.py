# -*- test-case-name: tests.network.relay.test_session -*-
"""
Sessions: pairs of anonymous clients, joined by the name of a session.

The rules of C{docs/protocols/relay.md} §7, without sockets. What a first leg
sends is kept until the second is there; nothing is ever dropped.
"""

from __future__ import annotations

import hashlib
import re
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass

from atmosphere.rate import TokenBucket

from .limits import Counters, RelayLimits

__all__ = ["Ended", "Leg", "Message", "Sessions", "is_session_id", "redacted"]

_SESSION_ID = re.compile(r"[A-Za-z0-9_-]{1,64}")
_UNPAIRED, _IDLE, _STALLED, _LEAVING = 4020, 4021, 4011, 4012


def is_session_id(text: str) -> bool:
    """
    Say whether a text may name a session.
    """
    return _SESSION_ID.fullmatch(text) is not None


def redacted(session_id: str) -> str:
    """
    Make what logs may show of a session ID: 6 characters of its hash.
    """
    return hashlib.sha256(session_id.encode("ascii")).hexdigest()[:6]


@dataclass(frozen=True, slots=True)
class Message:
    """
    A WebSocket message as it came.
    """

    payload: bytes | bytearray
    is_binary: bool


class Leg:
    """
    One of the two clients of a session.

    @ivar session_id: the session's name; never logged.
    @ivar partner: the other client, if it is there.
    @ivar is_open: whether messages can be written to it.
    @ivar kept: what it sent before its partner was there.
    @ivar since: when it came, in engine time.
    @ivar relayed: how many bytes of its messages were passed on.
    """

    __slots__ = (
        "bucket",
        "is_open",
        "kept",
        "kept_size",
        "partner",
        "relayed",
        "session_id",
        "since",
    )

    def __init__(self, session_id: str, bucket: TokenBucket | None, since: float = 0.0) -> None:
        self.session_id = session_id
        self.bucket = bucket
        self.since = since
        self.relayed = 0
        self.partner: Leg | None = None
        self.is_open = False
        self.kept: list[Message] = []
        self.kept_size = 0


@dataclass(frozen=True, slots=True)
class Ended:
    """
    A leg is to be closed.

    @ivar code: WebSocket's close code.
    """

    leg: Leg
    code: int
    reason: str


class Sessions:
    """
    The table of sessions.

    @param make_bucket: makes the measure of how fast a leg may send; C{None} for no limit.
    """

    def __init__(
        self,
        limits: RelayLimits,
        counters: Counters,
        make_bucket: Callable[[], TokenBucket | None] = lambda: None,
    ) -> None:
        self._limits = limits
        self._counters = counters
        self._make_bucket = make_bucket
        self._waiting: OrderedDict[str, tuple[Leg, float]] = OrderedDict()
        self._pairs: OrderedDict[str, tuple[Leg, Leg, float]] = OrderedDict()
        self._blocked: OrderedDict[Leg, float] = OrderedDict()

    @property
    def active(self) -> int:
        """
        How many sessions there are, those that wait for a partner too.
        """
        return len(self._waiting) + len(self._pairs)

    def legs(self) -> list[tuple[Leg, ...]]:
        """
        List the legs of each session, the first to come before the second.
        """
        found: list[tuple[Leg, ...]] = [(leg,) for leg, _ in self._waiting.values()]
        return found + [pair[:2] for pair in self._pairs.values()]

    def has_first(self, session_id: str) -> bool:
        """
        Say whether a client of that session waits for its partner.
        """
        return session_id in self._waiting

    def has_pair(self, session_id: str) -> bool:
        """
        Say whether a session has both its clients.
        """
        return session_id in self._pairs

    def join(self, session_id: str, now: float) -> Leg | None:
        """
        Take a client into a session.

        @return: its leg; C{None} if the session has two already.
        """
        if session_id in self._pairs:
            self._counters.sessions_refused += 1
            return None
        leg = Leg(session_id, self._make_bucket(), now)
        first = self._waiting.pop(session_id, None)
        if first is None:
            self._waiting[session_id] = (leg, now)
        else:
            leg.partner, first[0].partner = first[0], leg
            self._pairs[session_id] = (first[0], leg, now)
            self._counters.sessions += 1
        return leg

    def open(self, leg: Leg) -> list[Message]:
        """
        Note that a leg can be written to.

        @return: what its partner sent before.
        """
        leg.is_open = True
        partner = leg.partner
        if partner is None:
            return []
        kept, partner.kept, partner.kept_size = partner.kept, [], 0
        for message in kept:
            self._count(partner, message)
        return kept

    def _count(self, leg: Leg, message: Message) -> None:
        """
        Count what is passed on.
        """
        leg.relayed += len(message.payload)
        self._counters.session_bytes_relayed += len(message.payload)

    def receive(self, leg: Leg, message: Message, now: float) -> Leg | None:
        """
        Take a message of a leg.

        @return: the leg to write it to; C{None} if it was kept.
        """
        partner = leg.partner
        if partner is None or not partner.is_open:
            leg.kept.append(message)
            leg.kept_size += len(message.payload)
            return None
        self._count(leg, message)
        pair = self._pairs.get(leg.session_id)
        if pair is not None:
            self._pairs[leg.session_id] = (pair[0], pair[1], now)
            self._pairs.move_to_end(leg.session_id)
        return partner

    def is_full(self, leg: Leg) -> bool:
        """
        Say whether a leg is to be read no further until its partner comes.
        """
        return leg.kept_size >= self._limits.pair_buffer

    def charge(self, leg: Leg, size: int, now: float) -> float:
        """
        Count what a leg sent against its rate.

        @return: for how long it is to be read no further.
        """
        if leg.bucket is None:
            return 0.0
        leg.bucket.charge(size, now)
        wait = leg.bucket.delay(1, now)
        if wait > 0:
            self._counters.rate_limited += 1
        return wait

    def block(self, leg: Leg, now: float) -> None:
        """
        Note that nothing more can be written to a leg for now.
        """
        self._blocked.setdefault(leg, now)

    def unblock(self, leg: Leg) -> None:
        """
        Note that a leg can be written to again.
        """
        self._blocked.pop(leg, None)

    def leave(self, leg: Leg) -> Leg | None:
        """
        Note that a leg has gone; doing it twice does no harm.

        @return: its partner, which is to be closed.
        """
        self._blocked.pop(leg, None)
        leg.is_open = False
        leg.kept, leg.kept_size = [], 0
        waiting = self._waiting.get(leg.session_id)
        if waiting is not None and waiting[0] is leg:
            del self._waiting[leg.session_id]
        pair = self._pairs.get(leg.session_id)
        if pair is not None and leg in pair[:2]:
            del self._pairs[leg.session_id]
        partner, leg.partner = leg.partner, None
        if partner is not None:
            partner.partner = None
        return partner

    def end_all(self) -> list[Ended]:
        """
        Give every leg up, because the relay goes down.
        """
        legs = [leg for leg, _ in self._waiting.values()]
        legs += [leg for pair in self._pairs.values() for leg in pair[:2]]
        return [Ended(leg, _LEAVING, "the relay goes down") for leg in legs]

    def get_timer(self) -> float | None:
        """
        Say when L{handle_timer} wants to be called; C{None} for never.
        """
        limits = self._limits
        times = []
        for _, since in self._waiting.values():
            times.append(since + limits.unpaired_timeout)
            break
        for _, _, since in self._pairs.values():
            times.append(since + limits.pair_idle)
            break
        for since in self._blocked.values():
            times.append(since + limits.write_timeout)
            break
        return min(times, default=None)

    def handle_timer(self, now: float) -> list[Ended]:
        """
        Find the legs whose time is up. They stay until they L{leave}.

        @return: whom to close, and why.
        """
        limits = self._limits
        ended: list[Ended] = []
        for session_id, (leg, since) in list(self._waiting.items()):
            if since + limits.unpaired_timeout > now:
                break
            del self._waiting[session_id]
            self._counters.timed_out += 1
            ended.append(Ended(leg, _UNPAIRED, "nobody came"))
        for leg, since in list(self._blocked.items()):
            if since + limits.write_timeout > now:
                break
            del self._blocked[leg]
            self._counters.stalled += 1
            ended.append(Ended(leg, _STALLED, "nothing could be written"))
        for session_id, (first, second, since) in list(self._pairs.items()):
            if since + limits.pair_idle > now:
                break
            del self._pairs[session_id]
            self._counters.timed_out += 1
            ended += [Ended(each, _IDLE, "nothing was sent") for each in (first, second)]
        return ended
