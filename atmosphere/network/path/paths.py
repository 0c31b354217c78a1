# -*- test-case-name: tests.network.path.test_paths -*-
"""
The ways of one link: which are known, which of them work, and which of them
carries data. One L{Paths} belongs to one QUIC connection, and QUIC does not
notice what it decides.

C{docs/protocols/paths.md} is what it does.
"""

from __future__ import annotations

from collections.abc import Iterable

from atmosphere.errors import DecodeError
from atmosphere.identity import NodeID
from atmosphere.network.nat.candidates import AddressRules, Candidate
from atmosphere.network.nat.port_prediction import PredictionBudget
from atmosphere.network.stun.message import BINDING, Class, decode_message

from .checks import Answer
from .exchange import PathOffer, next_offer
from .explain import state_words
from .known_way import DISTRUST_AFTER, SUSPECT_AFTER, KnownWay, WayState
from .path_state import PathState
from .prediction import Prediction
from .reports import ObservedAddress, PathChanged, PathEvent, PathRestored, PathSilent
from .selection import PathPolicy, Rule, is_allowed, select
from .ways import DirectWay, Way

__all__ = ["Paths"]

#: Seconds after data left within which something has to come, or the way is checked; and
#: to how many seconds that is kept.
QUIET_AFTER = 0.5
QUIET_GRAIN = 0.1

#: Seconds by which we come too late that mean that the machine slept, and seconds in which
#: the ways are asked before it counts that they are silent.
LONGEST_GAP = 10.0
PATIENCE_AFTER_SLEEP = 3.0

#: Seconds for which ways that worked are asked often when all are silent, and how often.
HURRY_FOR = 120.0
HURRIED_PAUSE = 0.5


class Paths(PathState):
    """
    Decides by which way each datagram of one link leaves.
    """

    # -------------------------------------------------------------- the owner

    def may_predict(self, peer: NodeID, budget: PredictionBudget, now: float) -> None:
        """
        Let ports be guessed from now on, where a NAT makes that necessary.
        """
        self._checker.peer = peer
        self.prediction = Prediction(
            self._ways,
            self._checker,
            self.decisions,
            self.events,
            peer=peer,
            budget=budget,
            entropy=self._entropy,
            is_dialler=self.is_dialler,
        )
        self.prediction.offers_changed(self._offered, self.remote_offer, now)

    def local_offer(
        self,
        candidates: Iterable[Candidate],
        relays: Iterable[str],
        has_stable_port: bool | None = None,
    ) -> PathOffer:
        """
        Make the offer that the peer is to be told.

        @param has_stable_port: see L{PathOffer}.
        @return: the same as last time if nothing changed, else the next generation.
        """
        local = self._checker.conversation.local
        self._offered = next_offer(
            self._offered, local.ufrag, local.pwd, candidates, relays, has_stable_port
        )
        return self._offered

    def add_initial_way(self, way: Way) -> bool:
        """
        Before the welcome, the dialler: send by this way too.

        @return: whether it was taken; there is room for a few.
        """
        if self._is_welcomed or not is_allowed(way, self._checker.policy):
            return False
        is_taken = self._ways.add_initial(way)
        self._route()
        return is_taken

    def proven(self) -> list[DirectWay]:
        """
        List the direct ways that a later link with the same peer may try first.
        """
        return self._ways.proven()

    def inherit(self, ways: Iterable[DirectWay], now: float) -> None:
        """
        Check first what an earlier link with the same peer proved. None of it carries
        data before it answered a check of this link.

        @param ways: see L{proven}.
        """
        for way in ways:
            known = self._ways.inherit(way) if is_allowed(way, self._checker.policy) else None
            if known is not None and known.state is WayState.WAITING:
                self.decisions.note(now, way, "an earlier link used it: it is checked first")
                if self._checker.is_open:
                    known.look_again(now)

    def has_way(self, way: Way) -> bool:
        """
        Say whether a way is among those of this link.
        """
        return self._ways.get(way) is not None

    def routes(self, now: float) -> tuple[Way, ...]:
        """
        Say by which ways a datagram of QUIC leaves: each of them carries it.
        """
        self._checker.is_loaded = True
        if self._quiet_at is None:
            self._quiet_at = now + QUIET_AFTER
        return self._routes

    def datagram_received(self, way: Way, now: float) -> None:
        """
        QUIC accepted a datagram that came by this way.
        """
        if self._usual is not None and way is self._usual[0]:  # the same each time: 3 µs less
            self._usual[1].last_heard = now
            self._put_off_quiet(now)
            return
        known = self._ways.get(way)
        if known is None:
            is_first = not self._is_welcomed and self.active is None
            known = self._ways.learn(way, keep=self.active, is_first=is_first)
            if known is None:
                return
        known.heard(now)
        if self.active is None and (not self.is_dialler or self._ways.is_initial(way)):
            self._activate(way)
            self._heard_by = way
        if way == self.active:
            self._put_off_quiet(now)
        else:
            known.poke(now)
        active = self._ways.get(self.active)
        if way != self._heard_by and active is not None:
            # The peer has changed its way; it may know that ours is dead.
            self._heard_by = way
            active.hurry(now, QUIET_AFTER)
        self._usual = (way, known) if way == self._heard_by and known is active else None

    def _put_off_quiet(self, now: float) -> None:
        """
        The active way is not quiet. Seldom noted, or the owner's timer moves each time.
        """
        if self._quiet_at is None or self._quiet_at < now + QUIET_AFTER - QUIET_GRAIN:
            self._quiet_at = now + QUIET_AFTER

    def welcomed(self, now: float) -> None:
        """
        The link is proven by both sides: the active way stands, and others may
        be checked once the peer's offer is known.
        """
        if self._is_welcomed:
            return
        self._is_welcomed = True
        first = self.active if self.active is not None else next(iter(self._routes), None)
        self.active = self._usual = None
        known = self._ways.get(first)
        if known is not None:
            known.trust("the link began by it")
            self._switch(known, known.reason, now, Rule.HANDSHAKE)
        self._begin(now)

    def set_remote_offer(self, offer: PathOffer, now: float) -> None:
        """
        The peer told how it can be reached. Its addresses pass the rules here.
        """
        if self.remote_offer is not None and offer.generation <= self.remote_offer.generation:
            return
        self.remote_offer = offer
        is_restart = self._checker.take_credentials(offer)
        self._begin(now, is_restart=is_restart, is_our_doing=False)
        if self.prediction is not None:
            self.prediction.offers_changed(self._offered, offer, now)

    def new_local_candidates(
        self,
        candidates: Iterable[Candidate],
        relays: Iterable[str],
        now: float,
        rules: AddressRules | None = None,
        has_stable_port: bool | None = None,
    ) -> PathOffer | None:
        """
        Our interfaces, addresses, mappings or relays may have changed. If
        addresses have, all ways are looked at again.

        @param rules: what is known of ourselves now.
        @return: the offer to send, or C{None} if nothing in it changed.
        """
        is_other_family = rules is not None and rules.barred != self._ways.rules.barred
        if rules is not None:
            self._ways.rules = rules
        before = self._offered
        offer = self.local_offer(candidates, relays, has_stable_port)
        if offer is before:
            if is_other_family and self._checker.is_open:
                self._begin(now)
            return None
        self.decisions.note(now, None, "our own addresses changed")
        if self._checker.is_open and (before is None or offer.candidates != before.candidates):
            self._begin(now, is_restart=True)
        if self.prediction is not None:
            self.prediction.offers_changed(offer, self.remote_offer, now)
        return offer

    def set_policy(self, policy: PathPolicy, now: float) -> None:
        """
        Change what the user wants of this link.
        """
        self._checker.policy = policy
        self.decisions.note(now, None, f"the policy is {policy.value}")
        self._review(now)

    def way_lost(self, way: Way, now: float, reason: str = "our side cannot send by it") -> None:
        """
        Our side cannot send by this way: its relay is gone, or the socket says no.
        """
        known = self._ways.get(way)
        if known is None or known.state is WayState.LOST:
            return
        known.lose(now, reason)
        self.decisions.note(now, way, f"lost: {reason}")
        self._route()
        self._review(now)

    def way_back(self, way: Way, now: float) -> None:
        """
        Our side can send by this way, again or for the first time.
        """
        known = self._ways.get(way)
        if known is None:
            if self.is_dialler and not self._is_welcomed:
                self.add_initial_way(way)
            elif not isinstance(way, DirectWay):
                known = self._ways.learn(way, keep=self.active)
        elif known.state is not WayState.LOST:
            return
        if known is not None:
            known.start(now, "can be used from now on")
            self.decisions.note(now, way, known.reason)
            self._route()
            self._review(now)

    def woke(self, now: float) -> None:
        """
        The machine slept: all that is known is old, and is checked at once.
        """
        self.decisions.note(now, None, "woke from sleep")
        self._last_proof = max(self._last_proof, now - DISTRUST_AFTER + PATIENCE_AFTER_SLEEP)
        if self._checker.is_open:
            for known in self._ways:
                known.look_again(now, PATIENCE_AFTER_SLEEP)

    # ---------------------------------------------------------- the five verbs

    def receive_datagram(self, data: bytes, path: Way, now: float) -> None:
        """
        Take a STUN message that came by this way.
        """
        try:
            message = decode_message(data)
        except DecodeError:
            return
        if message.method != BINDING or not is_allowed(path, self._checker.policy):
            return
        before = self._ways.get(path)
        state = None if before is None else before.state
        if message.message_class is Class.REQUEST:
            known = self._checker.check_received(data, message, path, now)
            if known is not None and known.state is not state:
                self.decisions.note(now, path, state_words(known))
                self._review(now)
        elif message.is_response:
            was_suspect = before is not None and before.is_suspect
            found = self._checker.answer_received(data, message, path, now)
            if found is not None:
                known, answer = found
                if known.state is not state:
                    self.decisions.note(now, path, state_words(known))
                self._answered(known, answer, now, was_suspect=was_suspect)

    def datagrams_to_send(self, now: float) -> list[tuple[bytes, Way]]:
        """
        Hand out the answers and the checks that are due, within the limits.
        """
        self._advance(now)
        if self._quiet_at is not None and now >= self._quiet_at:
            if (active := self._ways.get(self.active)) is not None:
                self._quiet_at = None
                active.hurry(now, QUIET_AFTER)
        is_hurried = self.is_silent and now - self._silent_since < HURRY_FOR
        ready = self._checker.datagrams_to_send(now, is_hurried=is_hurried)
        return ready if self.prediction is None else ready + self.prediction.datagrams_to_send()

    def get_timer(self) -> float | None:
        """
        Say when L{handle_timer} wants to be called.
        """
        if not self._checker.is_open:
            return None
        earliest = self._checker.next_time()
        silent_at = None if self.is_silent else self._last_proof + DISTRUST_AFTER
        guess_at = None if self.prediction is None else self.prediction.get_timer()
        for each in (self._quiet_at, silent_at, guess_at):
            if each is not None and (earliest is None or each < earliest):
                earliest = each
        if earliest is None or earliest > self._last_call:
            return earliest
        wait = self._checker.wait_for_budget(self._last_call)
        return wait if guess_at is None else min(wait, guess_at)

    def handle_timer(self, now: float) -> None:
        """
        Fail what did not answer in time, and see what that means.
        """
        self._advance(now)
        for known in self._ways:
            if known.expire(now) or known.expire_early(now, self._instead_of(known)):
                self.decisions.note(now, known.way, state_words(known))
            self._look_for_hole(known, now)
        self._review(now)
        if self.prediction is not None:
            self.prediction.handle_timer(now)

    def next_event(self) -> PathEvent | None:
        """
        Hand out the oldest event.
        """
        return self.events.popleft() if self.events else None

    # ---------------------------------------------------------------- insides

    def _instead_of(self, known: KnownWay) -> list[KnownWay]:
        """
        List the ways that would carry data if the active one failed.
        """
        if known.way != self.active or known.unanswered < SUSPECT_AFTER:
            return []
        policy = self._checker.policy
        return [
            each
            for each in self._ways
            if each is not known
            and each.state is WayState.SUCCEEDED
            and is_allowed(each.way, policy, self._has_been_direct)
        ]

    def _advance(self, now: float) -> None:
        """
        Note the time, and that the machine slept if we come far too late.
        """
        if now - self._last_call > LONGEST_GAP:
            timer = self.get_timer()
            if timer is not None and now - timer > LONGEST_GAP:
                self.woke(now)
        self._last_call = now

    def _activate(self, way: Way) -> None:
        """
        Let data leave by a way from now on.
        """
        self.active = self._checker.active = way
        self._usual = None
        self._route()

    def _route(self) -> None:
        """
        Note by which ways data leaves.
        """
        if self.is_dialler and not self._is_welcomed:
            ways = [known for known in self._ways if self._ways.is_initial(known.way)]
        else:
            ways = [known for known in self._ways if known.way == self.active]
        ways = [each for each in ways if each.state is not WayState.LOST]
        self._routes = tuple(each.way for each in ways)
        self._sizes = tuple(each.datagrams for each in ways if each.datagrams is not None)

    def _begin(self, now: float, *, is_restart: bool = False, is_our_doing: bool = True) -> None:
        """
        Check what was not yet checked, if we may by now.

        @param is_restart: and what was, once more.
        @param is_our_doing: else addresses that never answered are left out: a
            peer could have us send to others for ever.
        """
        theirs = self.remote_offer
        if not self._is_welcomed or theirs is None:
            return
        before = self._ways.refused
        for way, refusal in self._ways.tell(
            theirs.candidates, now, is_near=self.is_near, keep=self.active
        ):
            if before.get(way) != refusal:
                self.decisions.note(now, way, f"not tried: {refusal}")
        if not self._checker.is_open:
            self._checker.is_open = True
            self._last_proof = now
            is_restart = is_our_doing = True
        for known in self._ways:
            is_wanted = is_restart and (is_our_doing or not known.is_stranger)
            if is_wanted or (known.state is WayState.WAITING and known.due is None):
                known.look_again(now)

    def _answered(self, known: KnownWay, answer: Answer, now: float, *, was_suspect: bool) -> None:
        """
        See what an answered check means.
        """
        observed = answer.observed
        if observed is not None and self._observed.get(observed.is_ipv6) != observed:
            self._observed[observed.is_ipv6] = observed
            self.events.append(ObservedAddress(observed))
        was_silent, before = self.is_silent, self.active
        self._review(now)
        if was_suspect and known.way == before == self.active and not was_silent:
            self.events.append(PathRestored(known.way))

    def _review(self, now: float) -> None:
        """
        Choose the active way anew, and see whether any way is left.
        """
        if not self._checker.is_open:
            return
        if self.prediction is not None:
            self.prediction.review(now)
        choice = select(
            self.active,
            [known.measurement(now) for known in self._ways],
            policy=self._checker.policy,
            has_been_direct=self._has_been_direct,
        )
        chosen = self._ways.get(choice.way)
        if chosen is None:
            self._make_do(now)
            return
        if chosen.way != self.active:
            self._switch(chosen, choice.reason, now, choice.rule)
        self._last_proof = max(self._last_proof, chosen.last_answered or self._last_proof)
        if self.is_silent:
            self.is_silent = False
            self.decisions.note(now, chosen.way, "the link is no longer silent")
            self.events.append(PathRestored(chosen.way))

    def _make_do(self, now: float) -> None:
        """
        No way is usable: send by one that was, and say so if it lasts.
        """
        active = self._ways.get(self.active)
        if active is None or active.state is WayState.LOST:
            last = self._ways.last_answered()
            policy = self._checker.policy
            if last is not None and is_allowed(last.way, policy, self._has_been_direct):
                self._switch(last, "nothing better is left", now, Rule.MAKE_DO)
        if not self.is_silent and now >= self._last_proof + DISTRUST_AFTER:
            self.is_silent = True
            self._silent_since = now
            self.decisions.note(now, None, f"silent: no way answered for {DISTRUST_AFTER} s")
            self.events.append(PathSilent(self._last_proof))
            for known in self._ways:
                if known.has_answered:
                    known.hurry(now, HURRIED_PAUSE)

    def _switch(self, known: KnownWay, reason: str, now: float, rule: Rule | None) -> None:
        """
        Let data leave by another way from now on.
        """
        old = self.active
        self._adopt_size(known, now)
        self._activate(known.way)
        known.taken(now)
        self._has_been_direct |= isinstance(known.way, DirectWay)
        self._quiet_at = None
        self.decisions.note(now, known.way, f"in use: {reason}", rule)
        self.events.append(PathChanged(old, known.way, reason))
