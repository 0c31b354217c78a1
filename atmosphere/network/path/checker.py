# -*- test-case-name: tests.network.path.test_checker -*-
"""
Sends the checks of one link as they come due, within every limit, and answers
those of the peer. What follows from an answer is for
L{atmosphere.network.path.paths} to decide.
"""

from __future__ import annotations

from collections.abc import Callable

from atmosphere.identity import NodeID
from atmosphere.network.nat.credentials import Credentials
from atmosphere.network.stun.message import Message
from atmosphere.rate import TokenBucket

from .check_budget import CheckBudget
from .checks import Answer, CheckConversation
from .datagram_size import FULL_SIZE
from .exchange import PathOffer
from .known_way import SHORTEST_PAUSE, SUSPECT_AFTER, KnownWay, WayState
from .selection import PathPolicy, is_allowed
from .way_table import PEER_REFLEXIVE_PRIORITY, WayTable
from .ways import DirectWay, RelayedWay, Way

__all__ = ["PACE", "Checker"]

#: Seconds between heartbeats: at least, and up to so many more by chance.
HEARTBEAT_LEAST = 3.0
HEARTBEAT_SPAN = 2.0

#: Seconds between two checks of a link to addresses that never answered.
PACE = 0.05

#: The share of the process's budget of checks that is kept for ways that work.
RESERVE = 0.2

#: What a full-size check to an address that never answered counts in that budget, so
#: that the bytes that strangers may get in a second stay what they are with small ones.
BOLD_COST = 6

#: Full-size checks of one link to addresses that never were heard of: so many at
#: once, and then one in so many seconds.
BOLD_AT_ONCE = 4
BOLD_PAUSE = 15.0

#: Tokens within which a budget counts as reached, as in L{atmosphere.rate}.
GRAIN = 1e-4

ANSWERS_PER_SECOND = 100.0


class Checker:
    """
    The checks of one link.

    @ivar conversation: its messages.
    @ivar policy: ways that it does not allow are neither checked nor answered.
    @ivar peer: who is at the other end, if it is a member.
    @ivar is_open: whether checks may be sent.
    @ivar active: the way that data leaves by.
    @ivar is_loaded: data left by the active way since its last check.
    """

    def __init__(
        self,
        ways: WayTable,
        *,
        is_dialler: bool,
        entropy: Callable[[int], bytes],
        budget: CheckBudget,
        policy: PathPolicy,
    ) -> None:
        """
        @param budget: how many checks all links of the process may send.
        """
        self.conversation = CheckConversation(
            local=Credentials.from_entropy(entropy), is_controlling=is_dialler, entropy=entropy
        )
        self.policy = policy
        self.peer: NodeID | None = None
        self.is_open = False
        self.active: Way | None = None
        self.is_loaded = False
        self._ways = ways
        self._entropy = entropy
        self._budget = budget
        self._least_level = 1 + RESERVE * (budget.burst - 1)
        self._answers = TokenBucket(ANSWERS_PER_SECOND, ANSWERS_PER_SECOND)
        self._bold = TokenBucket(1 / BOLD_PAUSE, BOLD_AT_ONCE)
        self._next_slot = float("-inf")
        self._next_time: float | None = None
        self._outbox: list[tuple[bytes, Way]] = []

    def take_credentials(self, offer: PathOffer) -> bool:
        """
        Sign checks as the peer wants them signed.

        @return: whether it wanted them otherwise before (ICE restart).
        """
        before = self.conversation.remote
        self.conversation.remote = Credentials(offer.ufrag, offer.pwd)
        return before not in (None, self.conversation.remote)

    def _heartbeat(self) -> float:
        """
        Seconds until the next heartbeat, by chance.
        """
        return HEARTBEAT_LEAST + HEARTBEAT_SPAN * int.from_bytes(self._entropy(2), "big") / 65536

    # ------------------------------------------------------------- what comes

    def check_received(
        self, data: bytes, message: Message, way: Way, now: float
    ) -> KnownWay | None:
        """
        Answer a check of the peer if it is one, and check that way in turn.

        @return: the way it came by; C{None} if nothing follows from it.
        """
        if not self.conversation.read_check(data, message) or not self._answers.take(1, now):
            return None
        answer = self.conversation.answer_to(data, message, way)
        if answer is None:
            return None
        self._outbox.append((answer, way))
        known = self._ways.get(way)
        if known is None:
            known = self._ways.learn(way, keep=self.active)
            if known is None:
                return None
            if isinstance(way, RelayedWay) and self.is_open:
                known.start(now)
        is_full = len(data) >= FULL_SIZE
        known.heard(now, is_full=is_full, heartbeat=self._heartbeat())
        is_hit = isinstance(way, DirectWay) and way.socket is not None  # nobody else knows it
        known.call(now, is_full=is_full or is_hit)
        return known

    def answer_received(
        self, data: bytes, message: Message, way: Way, now: float
    ) -> tuple[KnownWay, Answer] | None:
        """
        Match a response with its check.

        @return: the way, brought up to date, and the answer; C{None} if it
            answers nothing.
        """
        is_guessed = self.conversation.is_probe(message.transaction_id)
        answer = self.conversation.read_answer(data, message, way)
        known = self._ways.get(way)
        if known is None and is_guessed and answer is not None:
            known = self._ways.learn(way, keep=self.active)
        if answer is None or known is None:
            return None
        known.check_answered(
            now,
            answer.sent_at,
            full_out=answer.full_out,
            full_in=answer.full_in,
            heartbeat=self._heartbeat(),
        )
        if known.datagrams is not None:
            known.datagrams.answered(now, answer.size)
            self._budget.answered(self.peer, way)
        return known, answer

    # ------------------------------------------------------------- what leaves

    def datagrams_to_send(self, now: float, *, is_hurried: bool) -> list[tuple[bytes, Way]]:
        """
        Hand out the answers and the checks that are due.

        @param is_hurried: no way is left, so those that worked are tried often.
        """
        ready: list[tuple[bytes, Way]] = []
        if self._outbox:
            ready, self._outbox = self._outbox, ready
        next_time = self.next_time()
        if not self.is_open or next_time is None or next_time > now:
            return ready
        due = [
            known
            for known in self._ways
            if known.wants_check(now) and is_allowed(known.way, self.policy)
        ]
        for known in sorted(due, key=self._urgency):
            if now < self._earliest(known):
                continue
            least = 1 if known.state is WayState.SUCCEEDED else self._least_level
            if self._budget.level(now) + GRAIN >= least and self._budget.take(1, now):
                ready.append((self._check(known, now, is_hurried), known.way))
        return ready + self._probes(now)

    def _probes(self, now: float) -> list[tuple[bytes, Way]]:
        """
        Hand out the checks that look for larger datagrams. They come last: one that is
        too large for our own socket must not hold up others. That they are lost says
        nothing of their way.
        """
        ready: list[tuple[bytes, Way]] = []
        for known in self._ways:
            if known.datagrams is None or not self._may_probe(known):
                continue
            size = known.datagrams.probe(now, known.last_answered)
            if size is None:
                continue
            if self._budget.level(now) + GRAIN < self._least_level:
                known.datagrams.put_off(self.wait_for_budget(now))
                continue
            self._budget.charge(1, now)
            known.datagrams.sent(now)
            data = self.conversation.new_check(
                known.way, now, is_full=True, priority=PEER_REFLEXIVE_PRIORITY, size=size
            )
            ready.append((data, known.way))
        return ready

    def _may_probe(self, known: KnownWay) -> bool:
        """
        Say whether larger datagrams are looked for on a way now.
        """
        return known.state is WayState.SUCCEEDED and is_allowed(known.way, self.policy)

    def _has_to_wait(self, known: KnownWay) -> bool:
        """
        Say whether checks by a way keep the pace: an address that never answered, and
        none that the peer named, or proved before, and that a check of it came from.
        """
        return known.is_stranger and not (known.is_called and known.is_sought)

    def _earliest(self, known: KnownWay) -> float:
        """
        Say from when on a check may leave by a way, if it is due.
        """
        if not self._has_to_wait(known):
            return float("-inf")
        return max(self._next_slot, self._budget.free_at(self.peer, known.way))

    def _urgency(self, known: KnownWay) -> tuple[bool, bool, bool, bool, bool, bool, int]:
        """
        Order ways by who gets the next check.
        """
        return (
            known.way != self.active,
            known.state is not WayState.ANSWERED,
            known.state is not WayState.SUCCEEDED,
            not known.is_inherited,
            not known.is_called,
            known.is_unlikely or known.is_recalled,
            -known.priority,
        )

    def _may_be_bold(self, known: KnownWay, now: float) -> bool:
        """
        Say whether an address that never answered may get a full-size check now,
        and count it. One token was taken for it already.
        """
        rest = BOLD_COST - 1
        if self._budget.level(now) + GRAIN < self._least_level - 1 + rest:
            return False
        if not known.is_called_in_full and not self._bold.take(1, now):
            return False
        self._budget.charge(rest, now)
        return True

    def _check(self, known: KnownWay, now: float, is_hurried: bool) -> bytes:
        """
        Write a check for a way.
        """
        is_active = known.way == self.active
        is_full = known.wants_full_size(is_active and self.is_loaded)
        if is_full and known.is_stranger:
            is_full = self._may_be_bold(known, now)
        if is_active:
            self.is_loaded = False
        if self._has_to_wait(known):
            self._next_slot = now + PACE
            self._budget.asked(self.peer, known.way, now, BOLD_COST if is_full else 1)
        known.check_sent(now, is_hurried=is_hurried, is_full=is_full)
        if is_active and known.unanswered == SUSPECT_AFTER:
            self._ask_others(now)
        return self.conversation.new_check(
            known.way, now, is_full=is_full, priority=PEER_REFLEXIVE_PRIORITY
        )

    def _ask_others(self, now: float) -> None:
        """
        Have all other ways that work checked: one of them may be needed.
        """
        for known in self._ways:
            if known.state is WayState.SUCCEEDED and known.way != self.active:
                known.hurry(now, SHORTEST_PAUSE)

    def next_time(self) -> float | None:
        """
        Say when a check comes due, or a way runs out of time. It is asked with each
        datagram, so it is worked out anew only when a way may have changed: 4 µs less.
        """
        if self._ways.is_touched:
            self._next_time = self._work_out_next_time()
            self._ways.is_touched = False
        return self._next_time

    def _work_out_next_time(self) -> float | None:
        """
        Look at each way.
        """
        times = []
        for known in self._ways:
            if known.trusted_until is not None:
                times.append(known.trusted_until)
            if known.due is not None and is_allowed(known.way, self.policy):
                times.append(max(known.due, self._earliest(known)))
            sizes = known.datagrams
            if sizes is not None and sizes.due is not None and self._may_probe(known):
                times.append(sizes.due)
        return min(times, default=None)

    def wait_for_budget(self, now: float) -> float:
        """
        Say when a check that is overdue may leave.
        """
        return now + max(PACE, self._budget.delay(self._least_level, now))
