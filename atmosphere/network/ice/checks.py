# -*- test-case-name: tests.network.ice.test_agent -*-
"""
How an ICE agent judges what comes: requests (RFC 8445 §7.3) and responses (§7.2.5),
roles and their conflicts, and which pair is selected (§8).
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections import deque
from collections.abc import Callable

from atmosphere.addresses import TransportAddress
from atmosphere.network.nat.candidates import AddressRules, CandidateType, candidate_priority
from atmosphere.network.nat.credentials import Credentials
from atmosphere.network.stun.attributes import (
    ERROR_CODE,
    ICE_CONTROLLED,
    ICE_CONTROLLING,
    PRIORITY,
    USE_CANDIDATE,
    USERNAME,
    XOR_MAPPED_ADDRESS,
)
from atmosphere.network.stun.integrity import verify_fingerprint, verify_integrity
from atmosphere.network.stun.message import (
    Class,
    Message,
    encode_check_error,
    encode_check_response,
)
from atmosphere.network.stun.values import ROLE_CONFLICT
from atmosphere.rate import TokenBucket

from .candidates import IceCandidate, reflexive_candidate
from .consent import Consent
from .events import Event, RoleChanged, Selected
from .pairs import CheckList, IcePath, Pair, PairState
from .transactions import Transaction, Transactions

__all__ = ["IceChecks"]

#: Checks of the peer that are kept until its credentials are known.
MAX_EARLY = 16

#: The most checks of the peer that are answered, and of those the ones that were answered
#: before; the others are dropped.
ANSWERS_PER_SECOND = 100.0
REPEATED_PER_SECOND = 50.0

#: Checks of the peer that are remembered. It makes 20 a second while it looks for a pair
#: and one in five seconds when it has one.
MAX_ANSWERED = 1024


class IceChecks(ABC):
    """
    The state of an ICE agent, and what messages of the peer do to it.

    @ivar is_controlling: our role at present.
    @ivar local: our credentials.
    @ivar remote: the peer's; C{None} before it has told them.
    @ivar local_candidates: ours, by address.
    @ivar bases: the candidate of each socket, by its address.
    @ivar remote_candidates: the peer's, by address.
    @ivar is_gathered: all of ours are there.
    @ivar is_told_all: the peer has no more.
    @ivar selected: the pair that data goes by.
    @ivar has_failed: no pair worked.
    @ivar events: what is to be handed out.
    """

    #: Addresses of the peer, told and seen.
    MAX_REMOTE = 64

    def __init__(
        self,
        *,
        is_controlling: bool,
        entropy: Callable[[int], bytes],
        rules: AddressRules | None = None,
    ) -> None:
        self.is_controlling = is_controlling
        self.local = Credentials.from_entropy(entropy)
        self.remote: Credentials | None = None
        self.local_candidates: dict[TransportAddress, IceCandidate] = {}
        self.bases: dict[TransportAddress, IceCandidate] = {}
        self.remote_candidates: dict[TransportAddress, IceCandidate] = {}
        self.is_gathered = self.is_told_all = self.has_failed = False
        self.selected: Pair | None = None
        self.events: deque[Event] = deque()
        self._entropy = entropy
        self._rules = AddressRules(allow_private=True) if rules is None else rules
        self._tie_breaker = int.from_bytes(entropy(8), "big")
        self._list = CheckList(is_controlling=is_controlling)
        self._transactions = Transactions()
        self._again: list[Transaction] = []
        self._answers = TokenBucket(ANSWERS_PER_SECOND, ANSWERS_PER_SECOND)
        self._repeated = TokenBucket(REPEATED_PER_SECOND, REPEATED_PER_SECOND)
        self._answered: dict[bytes, tuple[IcePath, bool]] = {}
        self._early: deque[tuple[IcePath, int, bool]] = deque(maxlen=MAX_EARLY)
        self._heard: set[IcePath] = set()
        self._previous: Credentials | None = None
        self._selected_with: tuple[Credentials, Credentials] | None = None
        self._consent: Consent | None = None
        self._is_consent_lost = False
        self._concluded = False
        self._first_valid_at: float | None = None
        self._started_at = 0.0

    @abstractmethod
    def _nominate(self, now: float) -> None:
        """
        Nominate the best pair that works, if it is time to.
        """

    @abstractmethod
    def _consent_given(self, now: float) -> None:
        """
        Begin to ask for consent by the pair that was selected.
        """

    # -------------------------------------------------------------- candidates

    def _refusal(self, address: TransportAddress) -> str | None:
        """
        Say why an address of the peer's is not tried.
        """
        if address in self.bases:
            return "it is this machine's own address too"
        return self._rules.refusal(address)

    def _pair(
        self, local: IceCandidate, base: TransportAddress, remote: IceCandidate
    ) -> Pair | None:
        """
        Make a pair, if the two fit together.
        """
        address = remote.address
        if address is None or address.is_ipv6 != base.is_ipv6:
            return None
        return self._list.add(local, remote, (base, address))

    def _reflexive_priority(self, pair: Pair) -> int:
        """
        Rank the peer-reflexive candidate that a check would make of us.
        """
        preference = pair.local.priority >> 8 & 0xFFFF
        return candidate_priority(CandidateType.PEER_REFLEXIVE, preference)

    # ------------------------------------------------------------------- roles

    def _switch_role(self) -> None:
        """
        Take the other role, and rank all pairs by it.
        """
        self.is_controlling = self._list.is_controlling = not self.is_controlling
        for pair in self._list:
            pair.is_nominating = pair.is_wanted = False
        self.events.append(RoleChanged(self.is_controlling))

    def _is_conflict(self, message: Message) -> bool:
        """
        Settle who controls, if a request says what we say of ourselves.

        @return: whether the peer is to be told that it has to change.
        """
        theirs = message.get(ICE_CONTROLLING if self.is_controlling else ICE_CONTROLLED)
        if theirs is None:
            return False
        if (self._tie_breaker >= theirs) == self.is_controlling:
            return True
        self._switch_role()
        return False

    # ---------------------------------------------------------------- requests

    def _request_received(
        self, data: bytes, message: Message, path: IcePath, now: float
    ) -> bytes | None:
        """
        Judge a check of the peer.

        One that was answered already, by the same path, is a retransmission and answered
        again, and nothing else follows from it (RFC 8489 §6.3.1). By another path it
        was overheard: else who repeats a few could use up what new ones need.

        @return: the answer; C{None} for silence, which is what strangers get.
        """
        answered = self._answered.get(message.transaction_id)
        if answered is not None and answered[0] != path:
            return None
        recipient, _, sender = (message.get(USERNAME) or "").partition(":")
        known = [each for each in (self.local, self._previous) if each is not None]
        local = next((each for each in known if each.ufrag == recipient), None)
        priority = message.get(PRIORITY)
        if local is None or priority is None or message.unknown_required:
            return None
        is_current = local is self.local
        if is_current and self.remote is not None and sender != self.remote.ufrag:
            return None
        if not (verify_fingerprint(data) and verify_integrity(data, local.key)):
            return None
        if not self._may_answer(now, is_again=answered is not None):
            return None
        if answered is None:
            is_refused = is_current and self._is_conflict(message)
            self._remember(message.transaction_id, path, is_refused)
            if is_current and not is_refused:
                is_wanted = message.has(USE_CANDIDATE) and not self.is_controlling
                self._take(path, priority, is_wanted, now)
        else:
            is_refused = answered[1]
        if is_refused:
            return encode_check_error(message.transaction_id, ROLE_CONFLICT, local.key)
        return encode_check_response(message.transaction_id, path[1], local.key)

    def _may_answer(self, now: float, *, is_again: bool) -> bool:
        """
        Say whether a check may be answered, and count it.

        @param is_again: it was answered before.
        """
        if is_again and not self._repeated.take(1, now):
            return False
        return self._answers.take(1, now)

    def _remember(self, transaction_id: bytes, path: IcePath, is_refused: bool) -> None:
        """
        Remember a check that is answered now, and that data may come by its path.
        """
        if len(self._heard) < self.MAX_REMOTE:
            self._heard.add(path)
        self._answered[transaction_id] = path, is_refused
        if len(self._answered) > MAX_ANSWERED:
            del self._answered[next(iter(self._answered))]

    def _take(self, path: IcePath, priority: int, is_wanted: bool, now: float) -> None:
        """
        Act on a check that is new, or keep it until the peer's credentials are known.
        """
        if self.remote is None:
            self._early.append((path, priority, is_wanted))
        else:
            self._checked(path, priority, is_wanted, now)

    def _take_early(self, now: float) -> None:
        """
        Act on the checks that came before the peer's credentials.
        """
        early = list(self._early)
        self._early.clear()
        for path, priority, is_wanted in early:
            self._checked(path, priority, is_wanted, now)

    def _checked(self, path: IcePath, priority: int, is_wanted: bool, now: float) -> None:
        """
        The peer has checked a path: check it in turn (triggered check).

        @param priority: of its candidate, if nobody told that.
        @param is_wanted: the peer nominates the pair.
        """
        base, source = path
        local = self.bases.get(base)
        if local is None or self._refusal(source) is not None:
            return
        remote = self.remote_candidates.get(source)
        if remote is None:
            if len(self.remote_candidates) >= self.MAX_REMOTE or not 0 < priority < 2**31:
                return
            foundation = self._entropy(8).hex()
            remote = IceCandidate(foundation, 1, "udp", priority, source.host, source.port, "prflx")
            self.remote_candidates[source] = remote
        pair = self._list.get(path)
        if pair is None:
            pair = self._pair(local, base, remote)
        if pair is None:
            return
        pair.is_wanted |= is_wanted
        if pair.state is PairState.SUCCEEDED:
            if is_wanted:
                self._nominated(pair, now)
            return
        if pair.state is PairState.IN_PROGRESS:
            self._transactions.cancel(pair)
        self._list.trigger(pair)

    # --------------------------------------------------------------- responses

    def _response_received(self, data: bytes, message: Message, path: IcePath, now: float) -> None:
        """
        Judge the answer to a check of ours; one that is not rightly signed has not come.
        """
        transaction = self._transactions.get(message.transaction_id)
        if transaction is None or not verify_integrity(data, transaction.key):
            return
        self._transactions.end(transaction)
        pair = transaction.pair
        if path != pair.path:
            self._check_failed(transaction)  # not symmetric (§7.2.5.2.1)
        elif message.message_class is Class.ERROR_RESPONSE:
            error = message.get(ERROR_CODE)
            if error is not None and error.code == ROLE_CONFLICT.code:
                self._conflict_told(transaction)
            else:
                self._check_failed(transaction)
        else:
            mapped = message.get(XOR_MAPPED_ADDRESS)
            if mapped is not None:
                self._check_succeeded(transaction, mapped, now)

    def _conflict_told(self, transaction: Transaction) -> None:
        """
        The peer insists on the role that a check of ours claimed.
        """
        if transaction.is_controlling == self.is_controlling:
            self._switch_role()
            self._tie_breaker = int.from_bytes(self._entropy(8), "big")
        if not transaction.is_single:
            self._list.trigger(transaction.pair)

    def _transaction_failed(self, transaction: Transaction) -> None:
        """
        A check had no answer; one that another took the place of matters no more.
        """
        if not transaction.is_cancelled:
            self._check_failed(transaction)

    def _check_failed(self, transaction: Transaction) -> None:
        """
        A check has failed, and its pair with it; consent has a time of its own.
        """
        pair = transaction.pair
        if transaction.is_single or self._list.get(pair.path) is not pair:
            return
        if pair is not self.selected:
            self._list.failed(pair)

    def _check_succeeded(
        self, transaction: Transaction, mapped: TransportAddress, now: float
    ) -> None:
        """
        A check was answered.

        @param mapped: where the peer saw it come from.
        """
        pair = transaction.pair
        if transaction.sends == 1:
            pair.rtt = now - transaction.sent_at
        if pair is self.selected and self._consent is not None:
            self._consent.given(now)
        if transaction.is_single or self._list.get(pair.path) is not pair:
            return
        seen_as = self.local_candidates.get(mapped)
        if seen_as is None:
            kind = CandidateType.PEER_REFLEXIVE
            seen_as = reflexive_candidate(mapped, pair.local, kind=kind)
        pair.seen_as = seen_as
        self._transactions.cancel(pair)
        self._list.succeeded(pair)
        if self._first_valid_at is None:
            self._first_valid_at = now
        is_ours = transaction.is_nominating and self.is_controlling
        if is_ours or (pair.is_wanted and not self.is_controlling):
            self._nominated(pair, now)
        self._nominate(now)

    def _nominated(self, pair: Pair, now: float) -> None:
        """
        A pair that works was nominated: select it, unless one of higher priority was.
        """
        pair.is_nominated = True
        pair.is_nominating = pair.is_wanted = False
        best = max((each for each in self._list if each.is_nominated), key=self._list.priority)
        if not self._concluded:
            self._concluded = True
            self._list.conclude()
            for transaction in self._transactions:
                if transaction.pair is not best and not transaction.is_single:
                    transaction.is_cancelled = True
        if best is self.selected:
            return
        self.selected = best
        assert self.remote is not None
        self._selected_with = (self.local, self.remote)
        self._consent_given(now)
        seen_as = best.local if best.seen_as is None else best.seen_as
        self.events.append(Selected(best.path, seen_as, best.remote))
