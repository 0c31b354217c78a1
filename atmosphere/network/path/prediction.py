# -*- test-case-name: tests.network.path.test_prediction -*-
"""
Guessing the port that a NAT takes for us, for one link: who takes part, what both
agree on, and when the burst of checks begins and ends.

It sends checks of the link and nothing else. What is answered becomes a way like others,
and L{atmosphere.network.path.paths} decides about it. C{docs/protocols/prediction.md}
is what it does.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Sequence
from enum import Enum
from math import ceil, inf
from typing import assert_never

from atmosphere.addresses import TransportAddress
from atmosphere.identity import NodeID
from atmosphere.network.nat.port_prediction import FIRST_PORT, PredictionBudget

from .burst import Burst
from .checker import Checker
from .decisions import Decisions
from .exchange import PathOffer
from .hard_pair import Pair, find_pair
from .known_way import KnownWay, WayState
from .prediction_message import MAX_SECONDS, PredictionMessage, Step
from .reports import PathEvent, PredictionSaid, SocketsKept, SocketsWanted
from .selection import is_allowed
from .way_table import PEER_REFLEXIVE_PRIORITY, WayTable
from .ways import DirectWay, Way, way_text

__all__ = ["Phase", "Prediction"]

#: Seconds in which a proposal is answered.
ANSWER_WITHIN = 3.0

#: Seconds for which the node's one place is held at most, once both agreed.
HELD_FOR = 8.0

#: How long ordinary checks come first: so many round trips, within these bounds.
FIRST_ROUND_TRIPS = 1.25
LEAST_GRACE = 0.1
MOST_GRACE = 1.0

#: Seconds until a peer that did not answer a proposal gets another one.
UNANSWERED_PAUSE = 300.0


class Phase(Enum):
    """
    How far an attempt is.
    """

    IDLE = "idle"
    PROPOSED = "proposed"
    AGREED = "agreed"
    RUNNING = "running"


class Prediction:
    """
    Guesses ports for one link.

    @ivar phase: how far the present attempt is.
    @ivar outcome: what came of the last one, in words; C{None} before the first.
    """

    def __init__(
        self,
        ways: WayTable,
        checker: Checker,
        decisions: Decisions,
        events: deque[PathEvent],
        *,
        peer: NodeID,
        budget: PredictionBudget,
        entropy: Callable[[int], bytes],
        is_dialler: bool,
    ) -> None:
        """
        @param ways: of the link, as are the next three.
        @param peer: who is at the other end.
        @param budget: of the node.
        """
        self.phase = Phase.IDLE
        self.outcome: str | None = None
        self._ways = ways
        self._checker = checker
        self._decisions = decisions
        self._events = events
        self._peer = peer
        self._budget = budget
        self._entropy = entropy
        self._is_dialler = is_dialler
        self._pair: Pair | None = None
        self._agreed: Pair | None = None
        self._attempt = 0
        self._due: float | None = None
        self._next_try = -inf
        self._opened_at: float | None = None
        self._agreed_at = 0.0
        self._burst: Burst | None = None
        self._outbox: list[tuple[bytes, Way]] = []

    # -------------------------------------------------------------- the owner

    def offers_changed(self, ours: PathOffer | None, theirs: PathOffer | None, now: float) -> None:
        """
        Both sides, or one, say other things of themselves than before.
        """
        self._pair = find_pair(ours, theirs)
        self.review(now)

    def heard(self, message: PredictionMessage, now: float) -> None:
        """
        The peer said something.
        """
        match message.step:
            case Step.PROPOSE:
                self._proposed(message.attempt, now)
            case Step.ACCEPT:
                if self.phase is Phase.PROPOSED and message.attempt == self._attempt:
                    self._agree(now)
                    if not self._is_dialler:  # its NAT may let us in by now
                        for known in self._direct():
                            known.hurry(now)
            case Step.REFUSE:
                if self.phase is Phase.PROPOSED and message.attempt == self._attempt:
                    self._next_try = now + max(1, message.seconds)
                    self._end(now, f"the peer cannot take part for {message.seconds} s")
            case Step.STOP:
                if self.phase is not Phase.IDLE and message.attempt == self._attempt:
                    self._end(now, "the peer has stopped")
            case never:
                assert_never(never)

    def sockets_opened(self, ports: Sequence[int], now: float, error: str | None = None) -> None:
        """
        Sockets were opened: one check leaves from each.

        @param ports: their local ports.
        @param error: why there are no more of them.
        """
        burst = self._burst
        if burst is None or not burst.pair.is_hard:
            self._keep_sockets()
            return
        self._budget.opened(len(ports), now)
        burst.sent += len(ports)
        for port in ports:
            self._probe(DirectWay(burst.pair.target, port), now)
        if error is None:
            return
        burst.cut_short()
        if burst.sent:
            text = f"guessing ports: {burst.sent} sockets only, {error}"
            self._decisions.note(now, None, text)
        else:
            self._say(Step.STOP)
            self._end(now, error)

    def story(self, now: float) -> str | None:
        """
        Say in words how it stands with guessing.

        @return: C{None} where that is no matter.
        """
        if self._pair is None:
            return None
        match self.phase:
            case Phase.RUNNING:
                return "ports are being guessed at this moment"
            case Phase.PROPOSED | Phase.AGREED:
                return "the two are agreeing to guess ports"
            case Phase.IDLE:
                pass
            case never:
                assert_never(never)
        told = (
            "ports were not guessed for this link yet"
            if self.outcome is None
            else f"ports were guessed: {self.outcome}"
        )
        if self._due is not None and self._due > now:
            minutes = ceil((self._due - now) / 60)
            told += f"; again in {minutes} min" if self.outcome else f"; in {minutes} min"
        return told

    def stop(self) -> None:
        """
        The link is gone.
        """
        self._budget.release(self)
        self.phase = Phase.IDLE
        self._burst = self._due = None

    # ------------------------------------------------------- what paths call

    def review(self, now: float) -> None:
        """
        Offers, ways or the policy may be others than before.
        """
        if self._opened_at is None and self._checker.is_open:
            self._opened_at = now
        answering = next((each for each in self._direct() if _answers(each)), None)
        if self.phase is Phase.IDLE:
            self._due = None
            if answering is None:
                self._propose(now)
        elif answering is not None:
            self._succeed(answering, now)
        elif not self._is_possible() or self._pair != self._agreed:
            self._say(Step.STOP)
            self._end(now, "addresses or the policy changed")
        elif self.phase is Phase.AGREED:
            self._due = self._begin_at()

    def get_timer(self) -> float | None:
        """
        Say when L{handle_timer} wants to be called.
        """
        return self._due

    def handle_timer(self, now: float) -> None:
        """
        Go on with what is due.
        """
        if self._due is None or now < self._due:
            return
        match self.phase:
            case Phase.IDLE:
                self.review(now)
            case Phase.PROPOSED:
                self._next_try = now + UNANSWERED_PAUSE
                self._end(now, "the peer does not answer, and may be of an older version")
            case Phase.AGREED:
                self._due = self._begin_at()
                if now >= self._due:
                    self._begin(now)
            case Phase.RUNNING:
                self._go_on(now)
            case never:
                assert_never(never)

    def datagrams_to_send(self) -> list[tuple[bytes, Way]]:
        """
        Hand out the checks of a burst.
        """
        ready: list[tuple[bytes, Way]] = []
        if self._outbox:
            ready, self._outbox = self._outbox, ready
        return ready

    # ------------------------------------------------------------- agreement

    def _direct(self) -> list[KnownWay]:
        """
        List the direct ways.
        """
        return [each for each in self._ways if isinstance(each.way, DirectWay)]

    def _is_possible(self) -> bool:
        """
        Say whether there is something to guess, and we may.
        """
        pair = self._pair
        if pair is None or not self._checker.is_open:
            return False
        if not is_allowed(DirectWay(pair.target), self._checker.policy):
            return False
        theirs = pair.target if pair.is_hard else TransportAddress(pair.host, FIRST_PORT)
        return self._ways.rules.refusal(theirs) is None

    def _host(self) -> str | None:
        """
        Name the host that we would probe; C{None} if we open sockets.
        """
        return None if self._agreed is None or self._agreed.is_hard else self._agreed.host

    def _say(self, step: Step, seconds: float = 0) -> None:
        """
        Tell the peer.
        """
        message = PredictionMessage(step, self._attempt, min(MAX_SECONDS, ceil(seconds)))
        self._events.append(PredictionSaid(message.encode()))

    def _propose(self, now: float) -> None:
        """
        Propose a burst, if we are the side to do so and may.
        """
        if not self._is_possible() or self._pair is None or not self._pair.is_hard:
            return
        if now < self._next_try:
            self._due = self._next_try
            return
        barred = self._budget.wait(self._peer, None, now)
        if barred is not None:
            self._due = now + barred[0]
            return
        self.phase = Phase.PROPOSED
        self._agreed = self._pair
        self._attempt += 1
        self._due = now + ANSWER_WITHIN
        self._budget.hold(self, now, ANSWER_WITHIN)
        self._budget.agreeing(self._peer, now)
        self._say(Step.PROPOSE)
        self._decisions.note(
            now, None, "guessing ports: proposed, for our NAT takes another one for each peer"
        )

    def _proposed(self, attempt: int, now: float) -> None:
        """
        The peer, whose NAT is the hard one, proposes a burst.
        """
        if self.phase is not Phase.IDLE:
            return
        self._attempt = attempt
        pair = self._pair
        if not self._is_possible() or pair is None or pair.is_hard:
            self._say(Step.REFUSE, MAX_SECONDS)
            return
        if any(map(_answers, self._direct())):
            self._say(Step.REFUSE, UNANSWERED_PAUSE)
            return
        barred = self._budget.wait(self._peer, pair.host, now)
        if barred is not None:
            wait, why = barred
            self._say(Step.REFUSE, wait)
            self._decisions.note(now, None, f"guessing ports: put off for {ceil(wait)} s, {why}")
            return
        self._agreed = pair
        self._budget.agreeing(self._peer, now)
        self._say(Step.ACCEPT)
        self._agree(now)

    def _agree(self, now: float) -> None:
        """
        Both want it: wait until ordinary checks had their chance.
        """
        self.phase = Phase.AGREED
        self._agreed_at = now
        self._budget.hold(self, now, HELD_FOR)
        self._due = self._begin_at()

    def _begin_at(self) -> float:
        """
        Say when to begin: ordinary checks come first.
        """
        active = self._ways.get(self._checker.active)
        rtt = MOST_GRACE if active is None or active.rtt is None else active.rtt
        grace = min(MOST_GRACE, max(LEAST_GRACE, FIRST_ROUND_TRIPS * rtt))
        times = [self._agreed_at, (self._opened_at or self._agreed_at) + grace]
        if self._agreed is not None and self._agreed.is_hard and not self._is_dialler:
            times.append(self._agreed_at + min(MOST_GRACE, rtt))
        for known in self._direct():
            if known.last_heard is not None and known.last_heard > self._agreed_at - grace:
                times.append(min(known.last_heard, self._agreed_at + MOST_GRACE) + grace)
        return max(times)

    # -------------------------------------------------------------- the burst

    def _begin(self, now: float) -> None:
        """
        Begin the burst.
        """
        pair = self._agreed
        assert pair is not None
        self.phase = Phase.RUNNING
        self._checker.conversation.forget_probes()
        for known in self._direct():  # what came of a burst before, and is of no use
            is_idle = known.state is WayState.FAILED or (known.due is None and not _answers(known))
            if is_idle and not known.is_told and pair.made(known.way):
                self._ways.drop(known.way)
        self._keep_sockets()
        self._burst = Burst(pair, self._budget.max_sockets, self._entropy, now)
        self._budget.began(self._peer, self._host(), now)
        self._decisions.note(now, None, f"guessing ports: {self._burst.plan}")
        self._go_on(now)

    def _go_on(self, now: float) -> None:
        """
        Send what is due of the burst, or end it.
        """
        burst = self._burst
        assert burst is not None
        if now >= burst.end_at:
            what = f"{burst.sent} {burst.tools} in {now - burst.began_at:.1f} s"
            self._end(now, f"no hit with {what}")
            return
        heard = (each.last_heard for each in self._direct() if each.last_heard is not None)
        if burst.pair.is_hard:
            count = burst.sockets_due(now)
            if count:
                self._events.append(SocketsWanted(burst.pair.target, count))
        else:
            for address in burst.probes_due(now, max(heard, default=-inf)):
                self._budget.counters.probes += 1
                self._probe(DirectWay(address), now)
        self._due = burst.due

    def _probe(self, way: DirectWay, now: float) -> None:
        """
        Send a small check.
        """
        probe = self._checker.conversation.new_probe(way, now, priority=PEER_REFLEXIVE_PRIORITY)
        self._outbox.append((probe, way))

    # --------------------------------------------------------------- the end

    def _succeed(self, known: KnownWay, now: float) -> None:
        """
        A direct way answers.
        """
        text, burst = way_text(known.way), self._burst
        is_hit = self._agreed is not None and self._agreed.is_hit(known.way)
        if burst is None or not is_hit:  # else the host's pause would end, too
            self._end(now, f"not needed, {text} answers")
            return
        self._budget.succeeded(self._peer, self._host(), burst.began_at)
        took = (now - burst.began_at) * 1000
        self._end(now, f"{text} was hit after {took:.0f} ms, with {burst.sent} {burst.tools}")

    def _end(self, now: float, outcome: str) -> None:
        """
        Be idle again.
        """
        self.outcome = outcome
        self._decisions.note(now, None, f"guessing ports: {outcome}")
        if self._burst is not None:
            self._keep_sockets()
        self.phase = Phase.IDLE
        self._burst = self._due = None
        self._budget.release(self)
        if not any(map(_answers, self._direct())):
            self._propose(now)

    def _keep_sockets(self) -> None:
        """
        Have the sockets closed that belong to no way; the hard side alone has such.
        """
        if self._host() is not None:
            return
        ports = (each.way.socket for each in self._direct() if isinstance(each.way, DirectWay))
        self._events.append(SocketsKept(frozenset(port for port in ports if port is not None)))


def _answers(known: KnownWay) -> bool:
    """
    Say whether a check of ours was answered by a way, and it has not failed since.
    """
    return known.state in (WayState.ANSWERED, WayState.SUCCEEDED)
