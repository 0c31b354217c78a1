# -*- test-case-name: tests.network.path.test_known_way -*-
"""
One way to a peer: where it is in its life, and when it wants to be checked.

States, repetitions and limits are those of C{docs/protocols/paths.md} §3 and
§4. The clock, the budget and the messages are the engine's.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable
from typing import assert_never

from atmosphere.network.nat.candidates import CandidateType

from .datagram_size import FULL_SIZE, DatagramSize
from .hold_back import HoldBack
from .quality import Quality
from .selection import Measurement
from .way_state import WayState
from .ways import DirectWay, RelayedWay, Way

__all__ = ["DISTRUST_AFTER", "FULL_SIZE", "SHORTEST_PAUSE", "SUSPECT_AFTER", "KnownWay", "WayState"]

#: Seconds without an answered check after which a way has failed.
DISTRUST_AFTER = 6.5

#: Pauses after each small check of a way that never answered.
FIRST_PAUSES = (0.2, 0.4, 0.8, 1.6, 3.2, 6.4, 3.0)
MAX_FIRST_CHECKS = len(FIRST_PAUSES)
MAX_FULL_CHECKS = 6

#: Full-size checks, of the first ones, to an address that never answered.
MAX_BOLD_CHECKS = 3

SHORTEST_PAUSE = 0.2
LONGEST_PAUSE = 1.0
SUSPECT_AFTER = 3
MUTE_AFTER = 5
MUTE_FOR = 1.0

LOOK_PAUSE = 1.0
LOOK_PAUSE_UNANSWERED = 15.0
LONGEST_LOOK_PAUSE = 60.0
POKED_PAUSE = 0.05
POKED_LOOK_PAUSE = 5.0
HURRIED_PAUSE = 0.5


class KnownWay:
    """
    What is known of one way.

    @ivar way: which.
    @ivar origin: how its address was come by; C{None} for a relayed way.
    @ivar is_recalled: it was known before the link was, and the peer does not name it now.
    @ivar is_inherited: an earlier link with the peer proved it.
    @ivar priority: its rank among those to be checked.
    @ivar state: where it is in its life.
    @ivar reason: why it is there.
    @ivar due: when it wants its next check; C{None} for not at all.
    @ivar trusted_until: when it fails unless a check is answered before; C{None}
        for never.
    @ivar has_answered: whether it ever answered a check, or carried the handshake.
    @ivar is_too_small: it failed because it answers and does not carry full-size data.
    @ivar is_unlikely: a private address, and nothing says that the peer is near.
    @ivar is_called: a check of the peer came by it since ours left last.
    @ivar is_called_in_full: and was of full size.
    @ivar last_heard: when an authentic datagram last came by it.
    @ivar last_answered: when a check was last answered by it.
    @ivar last_sent: when a check last left by it.
    @ivar unanswered: checks sent since the last answer.
    @ivar asked_since: when the first of them left.
    @ivar datagrams: how large they may be; C{None} for a relayed way, whose relay sees to it.
    @ivar quality: how well it has carried checks since it answered first.
    """

    __slots__ = (
        "_bold_tries",
        "_full_in",
        "_full_out",
        "_hold",
        "_look_pause",
        "_round_trips",
        "_tries",
        "asked_since",
        "datagrams",
        "due",
        "has_answered",
        "is_called",
        "is_called_in_full",
        "is_inherited",
        "is_recalled",
        "is_too_small",
        "is_unlikely",
        "last_answered",
        "last_heard",
        "last_sent",
        "origin",
        "priority",
        "quality",
        "reason",
        "state",
        "trusted_until",
        "unanswered",
        "way",
    )

    def __init__(self, way: Way, origin: CandidateType | None, priority: int) -> None:
        self.way = way
        self.origin = origin
        self.priority = priority
        self.state = WayState.WAITING
        self.reason = "not yet checked"
        self.due: float | None = None
        self.trusted_until: float | None = None
        self.has_answered = False
        self.is_too_small = False
        self.is_unlikely = self.is_recalled = self.is_inherited = False
        self.is_called = self.is_called_in_full = False
        self.last_heard: float | None = None
        self.last_answered: float | None = None
        self.last_sent = float("-inf")
        self.unanswered = 0
        self.asked_since = float("-inf")
        self.quality = Quality()
        self.datagrams = DatagramSize.of(way)
        self._tries = self._bold_tries = 0
        self._full_out = self._full_in = False
        self._round_trips: deque[float] = deque(maxlen=5)
        self._look_pause = 0.0
        self._hold = HoldBack()

    # -------------------------------------------------------------- questions

    @property
    def is_told(self) -> bool:
        """
        Whether the peer named this way, rather than a datagram's source.
        """
        return self.origin is not CandidateType.PEER_REFLEXIVE

    @property
    def is_stranger(self) -> bool:
        """
        Whether it is an address that never answered, to which little is sent.
        """
        return isinstance(self.way, DirectWay) and not self.has_answered

    @property
    def is_sought(self) -> bool:
        """
        Whether we ask by it unasked: the peer named it, or it answered, if an earlier link.
        """
        return self.is_told or self.is_inherited or self.has_answered

    @property
    def is_suspect(self) -> bool:
        """
        Whether two checks in a row had no answer in their time.
        """
        return self.unanswered >= SUSPECT_AFTER

    @property
    def rtt(self) -> float | None:
        """
        The lowest of the last few round trips, in seconds.
        """
        return min(self._round_trips, default=None)

    @property
    def datagram_size(self) -> int | None:
        """
        The largest UDP payload that went both ways, of a direct way that works.
        """
        is_known = self.datagrams is not None and self.state is WayState.SUCCEEDED
        return self.datagrams.size if self.datagrams is not None and is_known else None

    @property
    def kind(self) -> str:
        """
        C{direct}, C{punched} or C{relayed}.
        """
        if isinstance(self.way, RelayedWay):
            return "relayed"
        is_as_told = self.origin is not None and self.origin.is_reached_as_told
        return "direct" if is_as_told else "punched"

    def measurement(self, now: float) -> Measurement:
        """
        Say what selection needs to know.
        """
        return Measurement(
            self.way,
            self.rtt,
            is_usable=self.state is WayState.SUCCEEDED,
            is_suspect=self.is_suspect,
            is_held=self._hold.is_held(now),
        )

    def wants_full_size(self, is_loaded: bool) -> bool:
        """
        Say whether the next check is a full-size one.

        An address that never answered gets one where it pays: the first check, if
        the peer named the address, and in return for one of the peer's. Those that
        are repeated are small, so that a way is found that carries no more.

        @param is_loaded: the way carried data since its last check.
        """
        if self.is_stranger:
            is_first = self.is_sought and self.state is WayState.WAITING
            return (is_first or self.is_called_in_full) and self._bold_tries < MAX_BOLD_CHECKS
        return is_loaded or not (self._full_out and self._full_in)

    def _is_exhausted(self) -> bool:
        """
        Say whether all checks of this state were sent.
        """
        match self.state:
            case WayState.IN_PROGRESS:
                return self._tries >= MAX_FIRST_CHECKS
            case WayState.ANSWERED:
                return self._tries >= MAX_FULL_CHECKS
            case WayState.WAITING | WayState.SUCCEEDED | WayState.FAILED | WayState.LOST:
                return False
            case never:
                assert_never(never)

    def wants_check(self, now: float) -> bool:
        """
        Say whether a check is to be sent now.
        """
        return self.due is not None and self.due <= now and not self._is_exhausted()

    # ----------------------------------------------------------------- inputs

    def start(self, now: float, reason: str = "not yet checked") -> None:
        """
        Check from the beginning; what was proven counts no longer.
        """
        self.state = WayState.WAITING
        self.is_too_small = False
        self.reason = reason
        self.due = now
        self.trusted_until = None
        self._forget()

    def trust(self, reason: str) -> None:
        """
        Take the way as proven: it carried the handshake both ways.
        """
        self.state = WayState.SUCCEEDED
        self.reason = reason
        self.has_answered = self._full_out = self._full_in = True

    def look_again(self, now: float, patience: float = DISTRUST_AFTER) -> None:
        """
        Check at once, whatever is known: something changed. A way that works
        goes on working meanwhile, but not for long without an answer.

        @param patience: how long, in seconds.
        """
        if self.state is WayState.SUCCEEDED:
            self.due = now
            self.unanswered = 0
            self.trusted_until = now + patience
        elif self.state is not WayState.LOST and self.is_sought:
            self.start(now, self.reason)

    def check_sent(self, now: float, *, is_hurried: bool = False, is_full: bool = False) -> None:
        """
        A check left by this way.

        @param is_hurried: no way is left, so a failed one is tried often.
        @param is_full: it was of full size.
        """
        self.last_sent = now
        self.is_called = self.is_called_in_full = False
        self._bold_tries += is_full
        self.quality.sent(now)
        if self.unanswered == 0:
            self.asked_since = now
        self.unanswered += 1
        self._tries += 1
        match self.state:
            case WayState.WAITING | WayState.IN_PROGRESS:
                self.state = WayState.IN_PROGRESS
                self.reason = f"{self._tries} checks sent"
                pause = FIRST_PAUSES[self._tries - 1]
                self.due = now + pause if self.is_sought or self._is_exhausted() else None
            case WayState.ANSWERED | WayState.SUCCEEDED:
                self.due = now + self._patience()
            case WayState.FAILED:
                self._look_pause = min(LONGEST_LOOK_PAUSE, 2 * self._look_pause)
                is_hurried = is_hurried and self.has_answered
                pause = HURRIED_PAUSE if is_hurried else self._look_pause
                self.due = now + pause if self.is_sought else None
            case WayState.LOST:
                self.due = None
            case never:
                assert_never(never)

    def check_answered(
        self, now: float, sent_at: float, *, full_out: bool, full_in: bool, heartbeat: float
    ) -> None:
        """
        A check was answered by this way.

        @param sent_at: when that check left.
        @param full_out: the check was a full-size one.
        @param full_in: and so was the answer.
        @param heartbeat: seconds until the next check, if all is well.
        """
        self.last_heard = self.last_answered = now
        self._round_trips.append(max(0.0, now - sent_at))
        if self.state in (WayState.WAITING, WayState.IN_PROGRESS, WayState.FAILED):
            self.quality.begin()  # what left before the hole was open is no loss
        self.quality.answered(now, sent_at)
        self.has_answered = True
        self.unanswered = self._tries = 0
        self._full_out |= full_out
        self._full_in |= full_in
        match self.state:
            case WayState.WAITING | WayState.IN_PROGRESS | WayState.FAILED:
                self.state = WayState.ANSWERED
                self.reason = "answers small checks"
                self.due = now
                self._promote(now, heartbeat)
            case WayState.ANSWERED:
                if self._full_out:
                    self.due = now + LONGEST_PAUSE
                self._promote(now, heartbeat)
            case WayState.SUCCEEDED:
                self.trusted_until = now + DISTRUST_AFTER
                self.due = now + heartbeat
            case WayState.LOST:
                self.due = None
            case never:
                assert_never(never)
        if self.datagrams is not None and self.state is WayState.SUCCEEDED:
            self.datagrams.begin(now)

    def heard(self, now: float, *, is_full: bool = False, heartbeat: float = LONGEST_PAUSE) -> None:
        """
        An authentic datagram came by this way. It says nothing about sending.

        @param is_full: it was a check of full size.
        """
        self.last_heard = now
        if is_full:
            self._full_in = True
            if self.state is WayState.ANSWERED:
                self._promote(now, heartbeat)

    def call(self, now: float, *, is_full: bool) -> None:
        """
        A check of the peer came by this way: return it (triggered check).

        @param is_full: it was of full size.
        """
        self.is_called = True
        self.is_called_in_full |= is_full
        self.poke(now)

    def poke(self, now: float) -> None:
        """
        Something came by this way that makes a check worth while.
        """
        match self.state:
            case WayState.WAITING:
                pause = 0.0
            case WayState.IN_PROGRESS if not self._is_exhausted():
                # What the peer named may be checked again at once, for its NAT
                # is open now; a mere source waits its turn.
                pause = POKED_PAUSE if self.is_sought else FIRST_PAUSES[self._tries - 1]
            case WayState.FAILED:
                if self.has_answered:
                    pause = SHORTEST_PAUSE
                else:
                    pause = POKED_LOOK_PAUSE if self.is_sought else self._look_pause
            case _:
                return
        earliest = max(now, self.last_sent + pause)
        self.due = earliest if self.due is None else min(self.due, earliest)

    def hurry(self, now: float, since: float = 0.0) -> None:
        """
        Check soon: at once, but not sooner than C{since} after the last one.
        """
        if self.due is not None and self.state is not WayState.LOST:
            self.due = min(self.due, max(now, self.last_sent + since))

    def expire(self, now: float) -> bool:
        """
        Fail if it is time to.

        @return: whether the way failed by this.
        """
        if self.trusted_until is not None and now >= self.trusted_until:
            self._fail(now, self._silence(now))
        elif self._is_exhausted() and self.due is not None and now >= self.due:
            if self.state is WayState.ANSWERED and self.rtt is not None:
                self.is_too_small = True
                self._fail(
                    now,
                    f"small checks were answered in {self.rtt * 1000:.0f} ms, but"
                    f" {MAX_FULL_CHECKS} checks of {FULL_SIZE} bytes were not",
                )
            else:
                self._fail(now, f"{MAX_FIRST_CHECKS} checks had no answer")
        else:
            return False
        return True

    def expire_early(self, now: float, others: Iterable[KnownWay]) -> bool:
        """
        Fail if several checks had no answer, and another way answered since.

        @param others: those that would do instead.
        @return: whether the way failed by this.
        """
        is_mute = self.unanswered >= MUTE_AFTER and now >= self.asked_since + MUTE_FOR
        is_due = self.state is WayState.SUCCEEDED and is_mute
        if not is_due or all((each.last_answered or 0) <= self.asked_since for each in others):
            return False
        self._fail(now, f"{self._silence(now)}, and another way answers")
        return True

    def taken(self, now: float) -> None:
        """
        Data leaves by this way from now on.
        """
        self._hold.taken(now)

    def lose(self, now: float, reason: str) -> None:
        """
        Our side cannot send by this way.
        """
        self._fail(now, reason)
        self.state = WayState.LOST
        self.due = None

    # ---------------------------------------------------------------- insides

    def _silence(self, now: float) -> str:
        """
        Say for how long no check was answered.
        """
        if self.last_answered is None:
            return "no check was answered in time"
        return f"silent: no check was answered for {now - self.last_answered:.1f} s"

    def _patience(self) -> float:
        """
        How long to wait for an answer before the next check.
        """
        rtt = LONGEST_PAUSE / 4 if self.rtt is None else self.rtt
        return min(LONGEST_PAUSE, max(SHORTEST_PAUSE, 2 * rtt))

    def _promote(self, now: float, heartbeat: float) -> None:
        """
        Let the way succeed if full-size data went both ways.
        """
        if self._full_out and self._full_in:
            self.state = WayState.SUCCEEDED
            self.is_too_small = False
            self.reason = f"{FULL_SIZE} bytes went both ways"
            self.trusted_until = now + DISTRUST_AFTER
            self.due = now + heartbeat

    def _forget(self) -> None:
        """
        Take back what was proven.
        """
        if self.datagrams is not None:
            self.datagrams.end()
        self.trusted_until = None
        self.unanswered = self._tries = self._bold_tries = 0
        self._full_out = self._full_in = False
        self._round_trips.clear()

    def _fail(self, now: float, reason: str) -> None:
        """
        Give the way up for now, and hold it back if that happens too often.
        """
        if self.state is WayState.SUCCEEDED:
            self._hold.fell(now)
        self.state = WayState.FAILED
        self.reason = reason
        self._forget()
        self._look_pause = LOOK_PAUSE if self.has_answered else LOOK_PAUSE_UNANSWERED
        self.due = now + self._look_pause if self.is_sought else None
