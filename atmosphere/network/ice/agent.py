# -*- test-case-name: tests.network.ice.test_agent -*-
"""
A full ICE agent for one component of one stream (RFC 8445), with candidates that
may come at any time (RFC 8838) and consent (RFC 7675).

It is an engine without sockets: what its owner gathers comes in by
C{add_local_candidate}, what the peer tells by C{set_remote} and
C{add_remote_candidate}. How requests and responses are judged is in
L{atmosphere.network.ice.checks}. C{docs/protocols/ice.md} says what it does where
the RFCs leave a choice.
"""

from __future__ import annotations

from collections.abc import Callable

from typing_extensions import override

from atmosphere.addresses import TransportAddress
from atmosphere.errors import DecodeError
from atmosphere.network.nat.candidates import AddressRules
from atmosphere.network.nat.credentials import Credentials
from atmosphere.network.stun.message import (
    BINDING,
    TRANSACTION_ID_LENGTH,
    Class,
    decode_message,
    encode_check,
)
from atmosphere.network.stun.transaction import RTO
from atmosphere.network.udp.demultiplex import is_stun

from .candidates import IceCandidate
from .checks import IceChecks
from .consent import CONSENT_EXPIRES, Consent
from .description import IceDescription
from .events import ConsentLost, Event, Failed, Received
from .pairs import CheckList, IcePath, Pair, PairState
from .transactions import Transaction

__all__ = ["PACE", "IceAgent"]

#: Seconds between two new checks (Ta of RFC 8445 §14.2).
PACE = 0.05

#: Seconds for which a pair of higher priority is waited for before one is nominated.
NOMINATION_PATIENCE = 0.1

#: Seconds before which ICE does not give up (RFC 8863).
LEAST_PATIENCE = 39.5

#: Events that wait for the owner; datagrams beyond are lost.
MAX_EVENTS = 1024


class IceAgent(IceChecks):
    """
    One end of a stream.
    """

    def __init__(
        self,
        *,
        is_controlling: bool,
        entropy: Callable[[int], bytes],
        rules: AddressRules | None = None,
    ) -> None:
        """
        @param is_controlling: by custom, whether we made the first offer.
        @param rules: which addresses of the peer are tried; by default no
            loopback, link-local or multicast ones.
        """
        super().__init__(is_controlling=is_controlling, entropy=entropy, rules=rules)
        self._outbox: list[tuple[bytes, IcePath]] = []
        self._next_slot = float("-inf")

    # -------------------------------------------------------------- the owner

    def describe(self) -> IceDescription:
        """
        Say what the peer is to be told.
        """
        return IceDescription(self.local, tuple(self.local_candidates.values()), self.is_gathered)

    def add_local_candidate(self, candidate: IceCandidate, base: TransportAddress) -> bool:
        """
        Take a candidate of ours.

        @param base: the socket's address; the candidate's own if it is a host candidate.
        @return: whether it is new, so that the peer is to be told.
        """
        address = candidate.address
        if address is None or address in self.local_candidates:
            return False
        self.local_candidates[address] = candidate
        if address == base:
            self.bases[base] = candidate
            for remote in list(self.remote_candidates.values()):
                self._pair(candidate, base, remote)
        return True

    def end_local_candidates(self) -> None:
        """
        All candidates of ours are there.
        """
        self.is_gathered = True

    def set_remote(self, credentials: Credentials, now: float, *, is_lite: bool = False) -> bool:
        """
        Take the peer's credentials. New ones are an ICE restart of its: then ours are
        new too, unless we restarted before.

        @param is_lite: the peer sends no checks, so we control.
        @return: whether our credentials are new, so that the peer is to be told.
        """
        if self.remote == credentials:
            return False
        is_restart = self.remote is not None
        if is_restart:
            self.restart(now)
        self.remote = credentials
        self._started_at = now
        if is_lite and not self.is_controlling:
            self._switch_role()
        self._take_early(now)
        return is_restart

    def add_remote_candidate(self, candidate: IceCandidate) -> str | None:
        """
        Take a candidate of the peer's.

        @return: why it is not tried; C{None} if it is.
        """
        address = candidate.address
        if not candidate.is_usable or address is None:
            return "no IP address for UDP and component 1"
        refusal = self._refusal(address)
        if refusal is not None:
            return refusal
        known = self.remote_candidates.get(address)
        if known is None and len(self.remote_candidates) >= self.MAX_REMOTE:
            return "the peer names too many addresses"
        if known is None or known.kind == "prflx":
            self.remote_candidates[address] = candidate
            for base, local in self.bases.items():
                self._pair(local, base, candidate)
        return None

    def end_remote_candidates(self) -> None:
        """
        The peer has told all its candidates.
        """
        self.is_told_all = True

    def restart(self, now: float) -> None:
        """
        Begin anew with new credentials (RFC 8445 §9), for the peer to be told. The
        selected pair goes on carrying data until another is.
        """
        self._previous = self.local
        self.local = Credentials.from_entropy(self._entropy)
        self.remote = None
        self.remote_candidates.clear()
        self.is_told_all = self.has_failed = False
        self._concluded = False
        self._first_valid_at = None
        self._early.clear()
        for each in self._transactions:
            if not each.is_single:
                self._transactions.end(each)
        self._list = CheckList(is_controlling=self.is_controlling)
        self._started_at = now

    def send(self, data: bytes) -> bool:
        """
        Send a datagram by the selected pair, or before one is by the best that works.

        @return: whether there is one.
        @raise ValueError: it looks like STUN.
        """
        if is_stun(data):
            raise ValueError("a datagram of the application looks like STUN")
        path = self.path
        if path is None:
            return False
        self._outbox.append((data, path))
        return True

    @property
    def path(self) -> IcePath | None:
        """
        By which data leaves; C{None} for by none.
        """
        if self.selected is not None:
            return self.selected.path
        if self._is_consent_lost:
            return None
        best = self._list.best(PairState.SUCCEEDED)
        return None if best is None else best.path

    # ---------------------------------------------------------- the five verbs

    def receive_datagram(self, data: bytes, path: IcePath, now: float) -> None:
        """
        Take a datagram.

        @param path: the address of the socket that it came to, and its source.
        """
        if not is_stun(data):
            pair = self._list.get(path)
            is_known = path in self._heard or (
                pair is not None and pair.state is PairState.SUCCEEDED
            )
            if is_known and len(self.events) < MAX_EVENTS:
                self.events.append(Received(data))
            return
        try:
            message = decode_message(data)
        except DecodeError:
            return
        if message.method != BINDING or path[0] not in self.bases:
            return
        if message.message_class is Class.REQUEST:
            answer = self._request_received(data, message, path, now)
            if answer is not None:
                self._outbox.append((answer, path))
        elif message.is_response:
            self._response_received(data, message, path, now)

    def datagrams_to_send(self, now: float) -> list[tuple[bytes, IcePath]]:
        """
        Hand out data, answers and the checks that are due.
        """
        ready, self._outbox = self._outbox, []
        ready += [(each.data, each.pair.path) for each in self._again]
        self._again.clear()
        selected, consent = self.selected, self._consent
        if selected is not None and consent is not None and now >= consent.due:
            consent.asked(now)
            ready.append((self._check(selected, now, is_consent=True), selected.path))
        if self.remote is not None and now >= self._next_slot:
            pair = self._list.next_pair()
            if pair is not None:
                self._next_slot = now + PACE
                ready.append((self._check(pair, now), pair.path))
        return ready

    def _check(self, pair: Pair, now: float, *, is_consent: bool = False) -> bytes:
        """
        Write a check of a pair, and wait for its answer.
        """
        remote, local = self.remote, self.local
        if is_consent and self._selected_with is not None:
            local, remote = self._selected_with
        assert remote is not None
        is_nominating = pair.is_nominating and self.is_controlling and not is_consent
        transaction_id = self._entropy(TRANSACTION_ID_LENGTH)
        data = encode_check(
            transaction_id,
            username=f"{remote.ufrag}:{local.ufrag}",
            key=remote.key,
            priority=self._reflexive_priority(pair),
            tie_breaker=self._tie_breaker,
            is_controlling=self.is_controlling,
            use_candidate=is_nominating,
        )
        busy = sum(each.state is PairState.IN_PROGRESS for each in self._list)
        rto = CONSENT_EXPIRES if is_consent else max(RTO, PACE * (busy + 1))
        self._transactions.add(
            Transaction(
                transaction_id,
                pair,
                data,
                remote.key,
                self.is_controlling,
                is_nominating,
                now,
                rto,
                is_single=is_consent,
            )
        )
        if not is_consent and pair.state is not PairState.SUCCEEDED:
            pair.state = PairState.IN_PROGRESS
        return data

    def get_timer(self) -> float | None:
        """
        Say when L{handle_timer} wants to be called.
        """
        times = [self._transactions.next_time(), self._nominate_at()]
        if self.remote is not None and self._list.has_work:
            times.append(self._next_slot)
        if self._consent is not None:
            times += [self._consent.due, self._consent.until]
        if self._may_fail():
            times.append(self._started_at + LEAST_PATIENCE)
        return min((each for each in times if each is not None), default=None)

    def handle_timer(self, now: float) -> None:
        """
        Send again, give up, nominate, and see whether the peer still consents.
        """
        again, failed = self._transactions.advance(now)
        self._again += again
        for each in failed:
            self._transaction_failed(each)
        if self._consent is not None and now >= self._consent.until:
            self._consent = self.selected = self._selected_with = None
            self._is_consent_lost = True
            self.events.append(ConsentLost())
        self._nominate(now)
        if self._may_fail() and now >= self._started_at + LEAST_PATIENCE:
            self.has_failed = True
            tried = len(self._list)
            self.events.append(Failed(f"none of {tried} pairs of candidates works"))

    def next_event(self) -> Event | None:
        """
        Hand out the oldest event.
        """
        return self.events.popleft() if self.events else None

    # ---------------------------------------------------------------- insides

    def _may_fail(self) -> bool:
        """
        Say whether nothing is left that could still work. That no check is under way
        does not mean that the peer's will not come, so there is a least patience.
        """
        return (
            self.remote is not None
            and not self.has_failed
            and not self._concluded
            and not any(each.is_pending or each.state is PairState.SUCCEEDED for each in self._list)
            and (self.is_told_all or not len(self._list))
        )

    def _nominate_at(self) -> float | None:
        """
        Say when a pair is nominated, if none of higher priority succeeds before.
        """
        if not self.is_controlling or self._concluded or self._first_valid_at is None:
            return None
        if any(each.is_nominating for each in self._list):
            return None
        best = self._list.best(PairState.SUCCEEDED)
        if best is None:
            return None
        rank = self._list.priority(best)
        has_better = any(
            each.is_pending and self._list.priority(each) > rank for each in self._list
        )
        return self._first_valid_at + (NOMINATION_PATIENCE if has_better else 0)

    @override
    def _nominate(self, now: float) -> None:
        """
        Nominate the best pair that works, if it is time to.
        """
        when = self._nominate_at()
        best = self._list.best(PairState.SUCCEEDED)
        if when is not None and best is not None and now >= when:
            best.is_nominating = True
            self._list.triggered.appendleft(best)

    @override
    def _consent_given(self, now: float) -> None:
        """
        Begin to ask for consent by the pair that was selected.
        """
        self._consent = Consent(now, self._entropy)
        self._is_consent_lost = False
