# -*- test-case-name: tests.network.nat.test_punching -*-
"""
Punching holes: two sides send checks at each other until one comes through.

A check is a STUN Binding request (RFC 8489) with FINGERPRINT. It opens our own
NAT for what its target sends, even if it never arrives there; once both
sides have sent some, one arrives, is answered, and the answer shows that both
directions work. Then datagrams travel raw between the two.

Nobody gave the two a secret to share, so the integrity of checks is under a
key that everybody knows: it tells this protocol from a STUN server, and
nothing more. What keeps strangers out is that answers repeat 96 random bits, and
that only those addresses are listened to that the caller named. Whoever needs
more encrypts what is sent.
"""

from __future__ import annotations

from collections import OrderedDict, deque
from collections.abc import Callable
from dataclasses import dataclass, field

from atmosphere.addresses import TransportAddress
from atmosphere.errors import DecodeError
from atmosphere.network.stun.attributes import USERNAME, XOR_MAPPED_ADDRESS
from atmosphere.network.stun.integrity import verify_fingerprint, verify_integrity
from atmosphere.network.stun.message import (
    BINDING,
    TRANSACTION_ID_LENGTH,
    Class,
    Message,
    decode_message,
    encode_message,
)
from atmosphere.network.udp.demultiplex import is_stun
from atmosphere.rate import TokenBucket

__all__ = [
    "MAX_DATAGRAM",
    "Established",
    "Event",
    "Failed",
    "Lost",
    "PunchLimits",
    "Punching",
    "Received",
    "is_check",
]

#: What fits into one UDP datagram over IPv4.
MAX_DATAGRAM = 65_507

_NAME = "atmosphere.punch.1"
_KEY = _NAME.encode("ascii")


@dataclass(frozen=True, slots=True)
class PunchLimits:
    """
    The measures of punching; seconds unless a name says otherwise.

    @ivar first_interval: between the first two checks; doubled each time.
    @ivar interval: between checks at last.
    @ivar least_interval: between checks that the peer's checks call forth.
    @ivar grace: for which a try goes on after its time if the peer's checks
        still come: the peer may hold that the hole is there.
    @ivar keepalive: between checks once the hole is there, so that no NAT forgets it.
    @ivar silence: without an answer, after which the hole is gone.
    @ivar peers: how many addresses one socket punches towards or holds holes to.
    @ivar answers: how many checks of a peer are answered in a second; twice as many at once.
    @ivar early_datagrams: how many datagrams are kept that come before the
        answer to our check, as may happen when the peer is first.
    @ivar early_size: of all those, in bytes.
    @ivar checks_remembered: of how many checks the answers are waited for.
    """

    first_interval: float = 0.1
    interval: float = 0.5
    least_interval: float = 0.05
    grace: float = 0.6
    keepalive: float = 15.0
    silence: float = 50.0
    peers: int = 256
    answers: float = 20.0
    early_datagrams: int = 64
    early_size: int = 64 * 1024
    checks_remembered: int = 32


@dataclass(frozen=True, slots=True)
class Established:
    """
    A check of ours was answered: the hole is there.

    @ivar remote: the peer.
    @ivar mapped: how it sees us; C{None} if nobody but the caller said so.
    @ivar rtt: seconds for there and back; C{None} likewise.
    """

    remote: TransportAddress
    mapped: TransportAddress | None
    rtt: float | None


@dataclass(frozen=True, slots=True)
class Failed:
    """
    No check was answered in time.

    @ivar checks: how many were sent.
    @ivar was_heard: whether any check of the peer's came through.
    """

    remote: TransportAddress
    checks: int
    was_heard: bool


@dataclass(frozen=True, slots=True)
class Received:
    """
    The peer sent a datagram.
    """

    remote: TransportAddress
    data: bytes


@dataclass(frozen=True, slots=True)
class Lost:
    """
    A peer answers no more.
    """

    remote: TransportAddress


Event = Established | Failed | Received | Lost


def is_check(data: bytes) -> bool:
    """
    Say whether a datagram is STUN with FINGERPRINT: such are ours, never the
    application's.
    """
    return is_stun(data) and verify_fingerprint(data)


@dataclass(slots=True)
class _Peer:
    """
    What is known of one peer.

    @ivar until: when the try ends; C{None} once the hole is there.
    @ivar latest: beyond which no grace goes.
    @ivar due: when the next check is.
    @ivar sent: when the last checks were sent, by their transaction IDs.
    @ivar answered: when the last answer came.
    """

    remote: TransportAddress
    bucket: TokenBucket
    until: float | None
    latest: float
    due: float
    interval: float
    sent: OrderedDict[bytes, float] = field(default_factory=OrderedDict)
    checks: int = 0
    sent_at: float | None = None
    heard: float | None = None
    answered: float = 0.0
    early: list[bytes] = field(default_factory=list)
    early_size: int = 0


class Punching:
    """
    All punching from one socket, as an engine.

    @ivar dropped: how many datagrams came from strangers, or beyond the limits.
    """

    def __init__(self, entropy: Callable[[int], bytes], limits: PunchLimits | None = None) -> None:
        self.dropped = 0
        self._entropy = entropy
        self._limits = limits if limits is not None else PunchLimits()
        self._peers: dict[TransportAddress, _Peer] = {}
        self._outgoing: deque[tuple[bytes, TransportAddress]] = deque()
        self._events: deque[Event] = deque()

    # ------------------------------------------------------------ what callers want

    def punch(self, remote: TransportAddress, now: float, timeout: float) -> bool:
        """
        Begin to send checks at a peer; where it is done already, the longer time counts.

        @return: whether it was begun, or the hole is there: C{False} beyond
            the limit of peers.
        """
        limits = self._limits
        peer = self._peers.get(remote)
        if peer is None:
            if len(self._peers) >= limits.peers:
                return False
            peer = self._peers[remote] = _Peer(
                remote,
                TokenBucket(limits.answers, 2 * limits.answers),
                now + timeout,
                now + timeout + limits.grace,
                now,
                limits.first_interval,
            )
            self._check(peer, now)
        elif peer.until is not None:
            peer.until = max(peer.until, now + timeout)
            peer.latest = peer.until + limits.grace
        return True

    def establish(self, remote: TransportAddress, now: float) -> None:
        """
        Believe the caller that a hole is there which is being punched.
        """
        peer = self._peers.get(remote)
        if peer is not None and peer.until is not None:
            self._establish(peer, None, None, now)

    def is_established(self, remote: TransportAddress) -> bool:
        """
        Say whether there is a hole to a peer.
        """
        peer = self._peers.get(remote)
        return peer is not None and peer.until is None

    def forget(self, remote: TransportAddress) -> None:
        """
        Send no more checks to a peer, answer none, and take nothing from it.
        """
        self._peers.pop(remote, None)

    def send(self, remote: TransportAddress, data: bytes) -> bool:
        """
        Send a datagram through a hole.

        @return: whether there is one.
        @raise ValueError: too long for a datagram, or it looks like a check.
        """
        if len(data) > MAX_DATAGRAM:
            raise ValueError(f"{len(data)} bytes do not fit into a datagram")
        if is_check(data):
            raise ValueError("what is STUN with a fingerprint would be taken for a check")
        if not self.is_established(remote):
            return False
        self._outgoing.append((data, remote))
        return True

    # ------------------------------------------------------------------ the five verbs

    def receive_datagram(self, data: bytes, path: TransportAddress, now: float) -> None:
        """
        Take a check, an answer, or a datagram of the application's.
        """
        peer = self._peers.get(path)
        if peer is None:
            self.dropped += 1
        elif is_check(data):
            self._receive_check(peer, data, now)
        elif peer.until is None:
            self._events.append(Received(path, data))
        elif (
            len(peer.early) < self._limits.early_datagrams
            and peer.early_size + len(data) <= self._limits.early_size
        ):
            peer.early.append(data)
            peer.early_size += len(data)
        else:
            self.dropped += 1

    def _receive_check(self, peer: _Peer, data: bytes, now: float) -> None:
        """
        Answer a request, or take an answer.
        """
        transaction_id = data[8:20]
        if data[0] & 1:  # a response
            if transaction_id not in peer.sent:
                self.dropped += 1
                return
        elif transaction_id in peer.sent or not peer.bucket.take(1, now):
            self.dropped += 1  # our own, sent back to us; or too many
            return
        message = self._read(data)
        if message is None:
            self.dropped += 1
        elif message.message_class is Class.REQUEST:
            peer.heard = now
            self._answer(peer, transaction_id)
            if peer.until is not None and (
                peer.sent_at is None or now - peer.sent_at >= self._limits.least_interval
            ):
                self._check(peer, now)
        else:
            self._answered(peer, message, now)

    def _read(self, data: bytes) -> Message | None:
        """
        Read a message of this protocol.

        @return: C{None} if it is none.
        """
        if not verify_integrity(data, _KEY):
            return None
        try:
            message = decode_message(data)
        except DecodeError:
            return None
        if message.method != BINDING or message.unknown_required:
            return None
        if message.message_class is Class.REQUEST:
            return message if message.get(USERNAME) == _NAME else None
        return message if message.message_class is Class.SUCCESS_RESPONSE else None

    def _answer(self, peer: _Peer, transaction_id: bytes) -> None:
        """
        Answer a check; the answer is shorter than the check.
        """
        attributes = ((XOR_MAPPED_ADDRESS, peer.remote),)
        message = Message(Class.SUCCESS_RESPONSE, transaction_id, attributes)
        self._outgoing.append((encode_message(message, key=_KEY, fingerprint=True), peer.remote))

    def _answered(self, peer: _Peer, message: Message, now: float) -> None:
        """
        Note that a check of ours was answered.
        """
        sent_at = peer.sent.pop(message.transaction_id)
        peer.answered = now
        if peer.until is not None:
            mapped = message.get(XOR_MAPPED_ADDRESS)
            self._establish(peer, mapped, max(0.0, now - sent_at), now)

    def _establish(
        self, peer: _Peer, mapped: TransportAddress | None, rtt: float | None, now: float
    ) -> None:
        """
        Go from punching to holding.
        """
        peer.until = None
        peer.answered = now
        peer.due = now + self._limits.keepalive
        self._events.append(Established(peer.remote, mapped, rtt))
        early, peer.early, peer.early_size = peer.early, [], 0
        self._events.extend(Received(peer.remote, data) for data in early)

    def _check(self, peer: _Peer, now: float) -> None:
        """
        Send a check.
        """
        transaction_id = self._entropy(TRANSACTION_ID_LENGTH)
        request = Message(Class.REQUEST, transaction_id, ((USERNAME, _NAME),))
        self._outgoing.append((encode_message(request, key=_KEY, fingerprint=True), peer.remote))
        peer.sent[transaction_id] = peer.sent_at = now
        if len(peer.sent) > self._limits.checks_remembered:
            peer.sent.popitem(last=False)
        peer.checks += 1
        if peer.until is None:
            peer.due = now + self._limits.keepalive
        else:
            peer.due = now + peer.interval
            peer.interval = min(2 * peer.interval, self._limits.interval)

    def datagrams_to_send(self, now: float) -> list[tuple[bytes, TransportAddress]]:
        """
        Hand out what is to be sent.
        """
        datagrams = list(self._outgoing)
        self._outgoing.clear()
        return datagrams

    def _end_of(self, peer: _Peer) -> float:
        """
        Say when a peer is given up.
        """
        if peer.until is None:
            return peer.answered + self._limits.silence
        if peer.heard is None:
            return peer.until
        return max(peer.until, min(peer.heard + self._limits.grace, peer.latest))

    def get_timer(self) -> float | None:
        """
        Say when the next check, or the end of something, is due.
        """
        return min(
            (min(each.due, self._end_of(each)) for each in self._peers.values()), default=None
        )

    def handle_timer(self, now: float) -> None:
        """
        Send the checks that are due, and give up whom it is time for.
        """
        for remote, peer in list(self._peers.items()):
            if now >= self._end_of(peer):
                del self._peers[remote]
                if peer.until is None:
                    self._events.append(Lost(remote))
                else:
                    self._events.append(Failed(remote, peer.checks, peer.heard is not None))
            elif now >= peer.due:
                self._check(peer, now)

    def next_event(self) -> Event | None:
        """
        Hand out the oldest event that was not yet handed out.
        """
        return self._events.popleft() if self._events else None
