# -*- test-case-name: tests.mesh.test_gossip -*-
"""
How members tell each other of members: one exchange for each link.

An exchange compares what both sides hold by hashes, then by digests, and each
side pulls what is newer at the other as fast as it can check it. Everything
is signed by those that it is about, so the neighbour need not be trusted. The
format stands in C{docs/protocols/gossip.md}.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field

from atmosphere.errors import DecodeError, MembershipError
from atmosphere.identity import NodeID
from atmosphere.rate import TokenBucket
from atmosphere.statements import Fields

from .framing import MAXIMUM_MESSAGE, MessageReader, encode_message
from .gossip_digest import BUCKETS, HASH_LENGTH, Entry, Index, decode_entry
from .roster import Change, Joined, Member, Revoked, Roster, Updated

__all__ = ["Gossip", "GossipExchange", "Received"]

SERVICE = "atmosphere.gossip"

RECORDS_PER_SECOND = 20.0
RECORDS_AT_ONCE = 200.0
MESSAGES_PER_SECOND = 20.0
MESSAGES_AT_ONCE = 200.0
ROUNDS_PER_SECOND = 0.5
ROUNDS_AT_ONCE = 8.0
#: Bytes with which we answer.
REPLIES_PER_SECOND = 256 * 1024.0
REPLIES_AT_ONCE = 4 * 1024 * 1024.0
VERIFIES_PER_SECOND = 200.0
#: What an entry may cost at most: two certificates and a record.
VERIFIES_PER_ENTRY = 3

MAXIMUM_PULL = 64
MAXIMUM_PUSH = 1024
MAXIMUM_WANTED = 10_000
#: Neighbours whose allowances are remembered.
MAXIMUM_NEIGHBOURS = 4096
MAXIMUM_CHAIN = 4096
MAXIMUM_RECORD = 2048
MAXIMUM_LIST = 32 * 1024


@dataclass(frozen=True, slots=True)
class Received:
    """
    What came of some bytes.

    @ivar replies: to be sent on the same stream.
    @ivar changes: what is new here: to be kept, and pushed to other neighbours.
    @ivar error: why the stream is to be reset; C{None} while all is well.
    """

    replies: bytes = field(default=b"", repr=False)
    changes: tuple[Change, ...] = ()
    error: str | None = None


class Allowance:
    """
    What one neighbour may make us do, on however many streams.
    """

    def __init__(self) -> None:
        self.entries = TokenBucket(RECORDS_PER_SECOND, RECORDS_AT_ONCE)
        self.replied = TokenBucket(REPLIES_PER_SECOND, REPLIES_AT_ONCE)
        self.messages = TokenBucket(MESSAGES_PER_SECOND, MESSAGES_AT_ONCE)
        self.rounds = TokenBucket(ROUNDS_PER_SECOND, ROUNDS_AT_ONCE)


class Gossip:
    """
    What all exchanges of a node share.

    @ivar roster: is read and changed by the exchanges.
    @ivar index: it in short.
    @ivar budget: how many signatures are checked.
    """

    def __init__(self, roster: Roster) -> None:
        self.roster = roster
        self.index = Index(roster)
        self.budget = TokenBucket(VERIFIES_PER_SECOND, 2 * VERIFIES_PER_SECOND)
        self._allowances: dict[NodeID, Allowance] = {}

    def allowance_of(self, neighbour: NodeID) -> Allowance:
        """
        Find what a neighbour may make us do; it outlives the neighbour's streams.
        """
        found = self._allowances.pop(neighbour, None) or Allowance()
        self._allowances[neighbour] = found
        if len(self._allowances) > MAXIMUM_NEIGHBOURS:
            del self._allowances[next(iter(self._allowances))]
        return found


class GossipExchange:
    """
    One side of the gossip between two neighbours.

    @ivar dropped: entries that came faster than agreed.
    @ivar refused: entries that did not hold.
    """

    def __init__(self, gossip: Gossip, neighbour: NodeID | None = None) -> None:
        """
        @param neighbour: who is at the other end; its exchanges share one allowance.
        """
        allowance = Allowance() if neighbour is None else gossip.allowance_of(neighbour)
        self._roster = gossip.roster
        self._index = gossip.index
        self._budget = gossip.budget
        self._reader = MessageReader("gossip", MAXIMUM_MESSAGE)
        self._entries = allowance.entries
        self._replied = allowance.replied
        self._messages = allowance.messages
        self._rounds = allowance.rounds
        self._wanted: dict[NodeID, None] = {}
        self._asked: set[NodeID] = set()
        self._is_broken = False
        self.dropped = 0
        self.refused = 0

    # ------------------------------------------------------------- speaking

    def start(self, wall: float) -> bytes:
        """
        Begin a round: when the stream is new, and every half minute or so.
        """
        self._asked.clear()
        held = self._roster.revocations
        return encode_message(
            {
                "summary": self._index.summary(wall),
                "epoch": 0 if held is None else held.epoch,
                "list": b"" if held is None else held.rank[1][:HASH_LENGTH],
            }
        )

    def push(self, changes: Iterable[Change]) -> bytes:
        """
        Tell of what is new, the revocation list first.
        """
        written: list[bytes] = []
        members: list[Member] = []
        for change in changes:
            match change:
                case Revoked(revocations):
                    written.insert(0, encode_message({"revocations": revocations.encoded}))
                case Joined(member) | Updated(member):
                    members.append(member)
                case _:
                    continue
        return b"".join([*written, *_pushes(members)])

    def tick(self, now: float) -> bytes:
        """
        Pull a little more of what is wanted; call it every second or so.
        """
        affordable = min(
            MAXIMUM_PULL,
            int(self._entries.level(now)),
            int(self._budget.level(now)) // VERIFIES_PER_ENTRY,
        )
        nodes = list(self._wanted)[: max(0, affordable)]
        if not nodes:
            return b""
        self._entries.take(len(nodes), now)
        for node in nodes:
            del self._wanted[node]
        self._asked.update(nodes)
        return encode_message({"pull": [node.raw for node in nodes], "revocations": False})

    # ------------------------------------------------------------ listening

    def receive(self, data: bytes, now: float, wall: float) -> Received:
        """
        Take bytes from the neighbour.

        @param now: engine time, for the limits.
        @param wall: POSIX time, for the statements.
        """
        if self._is_broken:
            return Received()
        replies: list[bytes] = []
        changes: list[Change] = []
        try:
            for message in self._reader.receive(data):
                if self._replied.level(now) <= 0 or not self._messages.take(1, now):
                    self.dropped += 1
                    continue
                before = len(replies)
                self._take(message, replies, changes, now, wall)
                message.finish()
                self._replied.charge(sum(map(len, replies[before:])), now)
        except DecodeError as failure:
            self._is_broken = True
            return Received(b"", tuple(changes), str(failure))
        replies.append(self.tick(now))
        return Received(b"".join(replies), tuple(changes))

    def _take(
        self,
        message: Fields,
        replies: list[bytes],
        changes: list[Change],
        now: float,
        wall: float,
    ) -> None:
        """
        Act on one message.

        @raise DecodeError: it is none of ours.
        """
        if message.has("summary"):
            self._take_summary(message, replies, now, wall)
        elif message.has("digest"):
            self._take_digest(message, replies, wall)
        elif message.has("pull"):
            self._take_pull(message, replies)
        elif message.has("push"):
            self._take_push(message, changes, now, wall)
        else:
            encoded = message.octets("revocations", MAXIMUM_LIST, 1)
            self._take_list(encoded, changes, now, wall)

    def _take_summary(self, message: Fields, replies: list[bytes], now: float, wall: float) -> None:
        """
        Compare hashes; answer with what differs.
        """
        theirs = message.octets("summary", BUCKETS * HASH_LENGTH)
        rank = (message.number("epoch", 2**63 - 1), message.octets("list", HASH_LENGTH, 0))
        if not self._rounds.take(1, now):
            self.dropped += 1
            return
        held = self._roster.revocations
        ours = (0, b"") if held is None else (held.epoch, held.rank[1][:HASH_LENGTH])
        if held is not None and ours > rank:
            replies.append(encode_message({"revocations": held.encoded}))
        elif rank > ours:
            replies.append(encode_message({"pull": [], "revocations": True}))
        differing = self._index.differing(theirs, wall)
        replies += self._index.digests(differing, wall, is_answer=False)

    def _take_digest(self, message: Fields, replies: list[bytes], wall: float) -> None:
        """
        Note what is newer at the neighbour; list the same buckets in return.
        """
        for item in message.items("digest", MAXIMUM_PUSH):
            entry = decode_entry(item)
            if len(self._wanted) < MAXIMUM_WANTED and self._is_newer(entry, wall):
                self._wanted[entry.node] = None
        buckets = message.octets("buckets", BUCKETS, 0)
        if not message.flag("answer"):
            replies += self._index.digests(sorted(set(buckets)), wall, is_answer=True)

    def _is_newer(self, entry: Entry, wall: float) -> bool:
        """
        Say whether the neighbour holds something newer of a member.
        """
        held = self._roster.get(entry.node)
        revocations = self._roster.revocations
        if entry.node in self._asked or (
            revocations is not None and entry.node in revocations.keys
        ):
            return False
        if held is None:
            return entry.not_after >= wall
        ours = Entry.of(held)
        return entry.age > ours.age or entry.sequence > ours.sequence

    def _take_pull(self, message: Fields, replies: list[bytes]) -> None:
        """
        Hand out what the neighbour asks for.
        """
        nodes = message.nodes("pull", MAXIMUM_PULL)
        if message.flag("revocations") and self._roster.revocations is not None:
            replies.append(encode_message({"revocations": self._roster.revocations.encoded}))
        members = [member for node in nodes if (member := self._roster.get(node)) is not None]
        replies += _pushes(members)

    def _take_push(self, message: Fields, changes: list[Change], now: float, wall: float) -> None:
        """
        Take chains and records in, what is new of them.
        """
        for item in message.items("push", MAXIMUM_PUSH):
            match item:
                case [bytes() | None as chain, bytes() | None as record] if (
                    len(chain or b"") <= MAXIMUM_CHAIN and len(record or b"") <= MAXIMUM_RECORD
                ):
                    self._merge(chain, record, changes, now, wall)
                case _:
                    raise DecodeError("gossip: an entry is not a chain and a record")

    def _merge(
        self,
        chain: bytes | None,
        record: bytes | None,
        changes: list[Change],
        now: float,
        wall: float,
    ) -> None:
        """
        Take one member's statements in: what we hold is recognised first, then
        the limits are asked, then signatures are checked.
        """
        roster = self._roster
        try:
            node = None if chain is None else roster.wants_chain(chain)
            news = None if record is None else roster.wants_record(record)
            about = node or (None if news is None else news.node)
            if about is None:
                return
            if about in self._asked:
                self._asked.discard(about)
            elif not self._entries.take(1, now):
                self.dropped += 1
                return
            if not self._budget.take(2 * (node is not None) + (news is not None), now):
                self.dropped += 1
                return
            if chain is not None and node is not None:
                changes += roster.merge_chain(chain, wall)
            if record is not None and news is not None:
                changes += roster.merge_record(record, wall)
        except (DecodeError, MembershipError):
            self.refused += 1

    def _take_list(self, encoded: bytes, changes: list[Change], now: float, wall: float) -> None:
        """
        Take a revocation list in.
        """
        held = self._roster.revocations
        if held is not None and held.encoded == encoded:
            return
        # Never refused for want of budget: nothing is more urgent. The limit
        # on messages bounds what it can cost.
        self._budget.charge(2, now)
        try:
            changes += self._roster.merge_revocations(encoded, wall)
        except MembershipError:
            self.refused += 1


def _pushes(members: Iterable[Member]) -> list[bytes]:
    """
    Write messages that carry members' statements, each as full as it may be.
    """
    written: list[bytes] = []
    batch: list[list[bytes | None]] = []
    size = 0
    for member in members:
        record = None if member.record is None else member.record.encoded
        length = len(member.chain) + len(record or b"") + 16
        if size + length > MAXIMUM_MESSAGE - 64:
            written.append(encode_message({"push": batch}))
            batch, size = [], 0
        batch.append([member.chain, record])
        size += length
    if batch:
        written.append(encode_message({"push": batch}))
    return written
