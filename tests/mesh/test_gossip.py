"""
Tests for L{atmosphere.mesh.gossip} and L{atmosphere.mesh.gossip_digest}.
"""

from hypothesis import given, settings, strategies as st
from twisted.trial.unittest import SynchronousTestCase

from atmosphere.errors import DecodeError
from atmosphere.identity import NodeKey
from atmosphere.membership import found_mesh, issue_revocations
from atmosphere.mesh.framing import encode_message
from atmosphere.mesh.gossip import Gossip, GossipExchange, Received
from atmosphere.mesh.gossip_digest import (
    BUCKETS,
    ENTRIES_PER_MESSAGE,
    HASH_LENGTH,
    Entry,
    Index,
    decode_entry,
)
from atmosphere.mesh.record import sign_record
from atmosphere.mesh.roster import Change, Cloned, Joined, Left, Revoked, Roster, Updated
from tests.mesh_fixtures import (
    ADMIN_CHAIN,
    ADMIN_KEY,
    ALICE,
    ALICE_CHAIN,
    BOB,
    MESH,
    STRANGER,
    WALL,
    Counted,
    admit,
)

DAY = 86400
KEYS = [NodeKey(number.to_bytes(32, "little")) for number in range(100, 160)]
CHAINS = [admit(key.node_id, f"n{number}") for number, key in enumerate(KEYS)]


def record(key: NodeKey, sequence: int, version: str = "") -> bytes:
    """
    Sign a record.
    """
    return sign_record(key, MESH, sequence, wall=WALL, version=version).encoded


class Side:
    """
    One node with one neighbour, and what has changed there.
    """

    def __init__(self, *chains: bytes, records: tuple[bytes, ...] = ()) -> None:
        self.roster = Roster(MESH)
        for chain in chains:
            self.roster.merge_chain(chain, WALL)
        for one in records:
            self.roster.merge_record(one, WALL)
        self.gossip = Gossip(self.roster)
        self.exchange = GossipExchange(self.gossip)
        self.changes: list[Change] = []
        self.octets = 0

    def receive(self, data: bytes, now: float = 0.0) -> Received:
        """
        Take bytes, note changes.
        """
        self.octets += len(data)
        found = self.exchange.receive(data, now, WALL)
        self.changes += found.changes
        return found

    def held(self) -> set[tuple[object, ...]]:
        """
        Say what is held, for comparison.
        """
        return {
            (member.chain, None if member.record is None else member.record.encoded)
            for member in self.roster
        }


def run(one: Side, other: Side, data: bytes, now: float = 0.0) -> None:
    """
    Carry bytes to the second side, and all answers, until nobody speaks.
    """
    sides = [other, one]
    for turn in range(50):
        if not data:
            return
        found = sides[turn % 2].receive(data, now)
        assert found.error is None, found.error
        data = found.replies
    raise AssertionError("they never stop")


class RoundTests(SynchronousTestCase):
    """
    After a round both sides hold the same.
    """

    def test_both_learn(self) -> None:
        """
        Each side gets the chains and records that only the other had.
        """
        one = Side(ADMIN_CHAIN, *CHAINS[:20], records=(record(KEYS[0], 3),))
        other = Side(ADMIN_CHAIN, *CHAINS[10:30], records=(record(KEYS[10], 2),))
        run(one, other, one.exchange.start(WALL))
        self.assertEqual(len(one.roster), 31)
        self.assertEqual(one.held(), other.held())
        joined = [change for change in one.changes if isinstance(change, Joined)]
        self.assertEqual(len(joined), 10)
        self.assertIn(Updated, {type(change) for change in other.changes})
        self.assertEqual(one.exchange.dropped + other.exchange.dropped, 0)

    def test_newer_wins(self) -> None:
        """
        A newer certificate and a newer record travel towards the older ones.
        """
        newer = admit(KEYS[0].node_id, "new", wall=WALL + 60, serial=9)
        one = Side(newer, CHAINS[1], records=(record(KEYS[1], 1),))
        other = Side(CHAINS[0], CHAINS[1], records=(record(KEYS[1], 2), record(KEYS[0], 1)))
        run(other, one, other.exchange.start(WALL))
        self.assertEqual(one.held(), other.held())
        self.assertEqual(one.roster.find("new").node, KEYS[0].node_id)

    def test_equal_sides_say_little(self) -> None:
        """
        When nothing differs a round is one message, whatever the size of the mesh.
        """
        one, other = Side(*CHAINS), Side(*CHAINS)
        run(one, other, one.exchange.start(WALL))
        self.assertEqual(one.octets, 0)
        self.assertLess(other.octets, 2200)

    def test_revocations_go_both_ways(self) -> None:
        """
        The newer list travels, whoever began, before anything else, and takes effect.
        """
        revoked = issue_revocations(
            ADMIN_KEY, ADMIN_CHAIN, wall=WALL, current=None, keys=[ALICE.node_id]
        )
        for begins in (0, 1):
            one, other = Side(ADMIN_CHAIN), Side(ADMIN_CHAIN, ALICE_CHAIN)
            one.roster.merge_revocations(revoked.encoded, WALL)
            sides = (one, other) if begins == 0 else (other, one)
            run(*sides, sides[0].exchange.start(WALL))
            self.assertEqual(other.roster.revocations, revoked)
            self.assertEqual([type(change) for change in other.changes], [Revoked, Left])
            self.assertEqual(one.held(), other.held())
            self.assertEqual(one.changes, [])

    def test_the_ended_are_not_passed_on(self) -> None:
        """
        Members whose certificate has ended count nowhere.
        """
        short = admit(BOB.node_id, "bob", lifetime=3600)
        one, other = Side(ADMIN_CHAIN, short), Side(ADMIN_CHAIN)
        later = WALL + 3 * 3600
        found = other.exchange.receive(one.exchange.start(later), 0.0, later)
        self.assertEqual(found.replies, b"")

    def test_push(self) -> None:
        """
        News goes out at once, the revocation list first; the neighbour knows it only once.
        """
        revoked = issue_revocations(
            ADMIN_KEY, ADMIN_CHAIN, wall=WALL, current=None, keys=[ALICE.node_id]
        )
        one = Side(ADMIN_CHAIN, *CHAINS[:3])
        members = [Joined(member) for member in one.roster]
        known = sign_record(BOB, MESH, 1, wall=WALL)
        others: list[Change] = [
            Left(ALICE.node_id, "alice", "was revoked"),
            Cloned(BOB.node_id, known, known),
            Revoked(revoked),
        ]
        data = one.exchange.push([*members, *others])
        self.assertTrue(data[2:].startswith(b"\xa1\x6brevocations"))
        other = Side(ADMIN_CHAIN)
        self.assertEqual(other.receive(data).replies, b"")
        self.assertEqual(len(other.changes), 4)
        self.assertEqual(other.receive(data).changes, ())
        self.assertEqual(one.exchange.push(others[:2]), b"")


class LimitTests(SynchronousTestCase):
    """
    A neighbour cannot keep us busy.
    """

    def test_pushed_entries(self) -> None:
        """
        What was not asked for comes at 20 a second; the next round brings the rest.
        """
        one, other = Side(*CHAINS), Side()
        other.exchange._entries.charge(190, 0.0)
        data = one.exchange.push(Joined(member) for member in one.roster)
        other.receive(data)
        self.assertEqual(len(other.roster), 10)
        self.assertEqual(other.exchange.dropped, 50)
        run(one, other, one.exchange.start(WALL))
        self.assertEqual(len(other.roster), 10)
        for now in range(1, 6):
            run(other, one, other.exchange.tick(float(now)), float(now))
        self.assertEqual(other.held(), one.held())

    def test_signatures(self) -> None:
        """
        All neighbours together make us check 200 signatures a second.
        """
        one, other = Side(*CHAINS), Side()
        other.gossip.budget.charge(380, 0.0)
        other.receive(one.exchange.push(Joined(member) for member in one.roster))
        self.assertEqual(len(other.roster), 10)
        self.assertEqual(other.exchange.tick(0.0), b"")

    def test_long_pushes(self) -> None:
        """
        What does not fit into one message goes in several.
        """
        one, other = Side(*CHAINS), Side()
        members = [Joined(member) for member in one.roster]
        data = one.exchange.push(members * 3)
        self.assertGreater(len(data), 65536)
        self.assertIsNone(other.receive(data).error)
        self.assertEqual(other.held(), one.held())

    def test_known_things_cost_nothing(self) -> None:
        """
        What we hold is recognised before any limit is touched.
        """
        one, other = Side(*CHAINS), Side(*CHAINS)
        other.exchange._entries.charge(200, 0.0)
        other.receive(one.exchange.push(Joined(member) for member in one.roster))
        self.assertEqual(other.exchange.dropped, 0)

    def test_rounds_and_messages(self) -> None:
        """
        Summaries and messages beyond the limit are not answered.
        """
        one, other = Side(*CHAINS), Side()
        answers = [other.receive(one.exchange.start(WALL)).replies for _ in range(10)]
        self.assertEqual([bool(answer) for answer in answers], [True] * 8 + [False] * 2)
        other.receive(encode_message({"pull": [], "revocations": False}) * 300)
        self.assertGreater(other.exchange.dropped, 90)

    def test_one_allowance(self) -> None:
        """
        However many streams a neighbour opens, it has one allowance; another
        neighbour has its own.
        """
        one, other = Side(*CHAINS), Side()
        start = one.exchange.start(WALL)
        answered = 0
        for _ in range(20):
            exchange = GossipExchange(other.gossip, ALICE.node_id)
            answered += bool(exchange.receive(start, 0.0, WALL).replies)
        self.assertEqual(answered, 8)
        exchange = GossipExchange(other.gossip, BOB.node_id)
        self.assertTrue(exchange.receive(start, 0.0, WALL).replies)

    def test_answers(self) -> None:
        """
        Who asks for much more than it takes in is not answered any more.
        """
        side = Side(*CHAINS)
        side.exchange._replied.charge(4 * 1024 * 1024, 0.0)
        pull = encode_message({"pull": [KEYS[0].node_id.raw], "revocations": False})
        self.assertEqual(side.receive(pull).replies, b"")
        self.assertNotEqual(side.receive(pull, 1.0).replies, b"")

    def test_unknown_nodes(self) -> None:
        """
        Promises of members are forgotten when nothing comes; revoked ones are not asked for.
        """
        side = Side(ADMIN_CHAIN)
        revoked = issue_revocations(
            ADMIN_KEY, ADMIN_CHAIN, wall=WALL, current=None, keys=[ALICE.node_id]
        )
        side.roster.merge_revocations(revoked.encoded, WALL)
        entries = [
            Entry(node.node_id, 0, int(WALL + end), bytes(16), 0).listed()
            for node, end in ((ALICE, 5), (BOB, 5), (STRANGER, -5))
        ]
        message = {"digest": entries, "buckets": b"", "answer": True}
        replies = side.receive(encode_message(message)).replies
        expected = encode_message({"pull": [BOB.node_id.raw], "revocations": False})
        self.assertEqual(replies, expected)
        self.assertEqual(side.receive(encode_message(message)).replies, b"")
        side.exchange.start(WALL)
        self.assertEqual(side.receive(encode_message(message)).replies, expected)


class HostileTests(SynchronousTestCase):
    """
    A neighbour that lies gets nowhere.
    """

    def test_forged_statements(self) -> None:
        """
        What does not hold is counted and changes nothing; the exchange goes on.
        """
        own = found_mesh(STRANGER, STRANGER.node_id, "x", wall=WALL, entropy=Counted())
        bad_list = issue_revocations(STRANGER, own, wall=WALL, current=None).encoded
        side = Side(ADMIN_CHAIN)
        for entry in (
            [own, None],
            [ALICE_CHAIN[:-1] + b"\0", None],
            [None, record(BOB, 1)],
            [b"", None],
            [None, b"x" * 100],
        ):
            side.receive(encode_message({"push": [entry]}))
        side.receive(encode_message({"revocations": bad_list}))
        self.assertEqual(side.exchange.refused, 6)
        self.assertEqual(side.changes, [])
        side.receive(encode_message({"push": [[ALICE_CHAIN, record(ALICE, 1)]]}))
        self.assertEqual([type(change) for change in side.changes], [Joined, Updated])

    def test_cloned_key(self) -> None:
        """
        Two records with one sequence are reported.
        """
        side = Side(ALICE_CHAIN, records=(record(ALICE, 1, "a"),))
        side.receive(encode_message({"push": [[None, record(ALICE, 1, "b")]]}))
        self.assertEqual([type(change) for change in side.changes], [Cloned])

    def test_bad_messages(self) -> None:
        """
        What is no message ends the stream, and nothing after it is read.
        """
        summary = bytes(BUCKETS * HASH_LENGTH)
        bad: tuple[dict[str, object], ...] = (
            {},
            {"hello": 1},
            {"summary": summary[1:], "epoch": 0, "list": b""},
            {"summary": summary, "epoch": -1, "list": b""},
            {"summary": summary, "epoch": 0, "list": b"", "more": 1},
            {"digest": [], "buckets": b""},
            {"digest": [[]], "buckets": b"", "answer": True},
            {"digest": [[bytes(32), 0, 0, bytes(16), 0]], "buckets": b"", "answer": True},
            {"digest": {}, "buckets": b"", "answer": True},
            {"pull": [BOB.node_id.raw] * 2, "revocations": False},
            {"pull": [bytes(32)], "revocations": False},
            {"pull": [key.node_id.raw for key in KEYS] * 2, "revocations": False},
            {"push": [[bytes(4097), None]]},
            {"push": [1]},
            {"revocations": b""},
        )
        for message in bad:
            side = Side(ADMIN_CHAIN)
            found = side.receive(encode_message(message))
            self.assertIsNotNone(found.error, message)
            self.assertEqual(found.replies, b"")
            self.assertEqual(side.receive(encode_message(message)), Received())

    @settings(derandomize=True, max_examples=200, deadline=None)
    @given(st.binary(max_size=100), st.booleans())
    def test_any_bytes(self, data: bytes, is_framed: bool) -> None:
        """
        Any bytes are an error or wait for more; they never change anything.
        """
        if is_framed:
            data = len(data).to_bytes(2, "big") + data
        found = Side(ADMIN_CHAIN).receive(data)
        self.assertEqual(found.changes, ())

    @settings(derandomize=True, max_examples=200, deadline=None)
    @given(
        st.sampled_from(["summary", "digest", "pull", "push", "revocations", "epoch", "answer"]),
        st.recursive(
            st.none() | st.booleans() | st.integers(0, 2**63) | st.binary(max_size=40),
            lambda inner: st.lists(inner, max_size=4),
        ),
    )
    def test_any_values(self, key: str, value: object) -> None:
        """
        Any value under any name is an error or an answer.
        """
        self.assertEqual(Side(ADMIN_CHAIN).receive(encode_message({key: value})).changes, ())


class DigestTests(SynchronousTestCase):
    """
    A roster in short.
    """

    def test_full_buckets(self) -> None:
        """
        Any number of members fits, each message within its limit.
        """
        roster = Roster(MESH)
        index = Index(roster)
        index.summary(WALL)
        entry = Entry(BOB.node_id, 2**33, 2**33, bytes(16), 2**62)
        count = ENTRIES_PER_MESSAGE + 10
        index._buckets = {2: [entry], 3: [entry] * count, 4: [entry] * 5, 9: [entry]}
        messages = index.digests([2, 3, 4, 5, 9], WALL, is_answer=False)
        self.assertEqual(len(messages), 3)
        self.assertEqual(index.digests([], WALL, is_answer=True), [])

    def test_entries(self) -> None:
        """
        An entry is five values of the right kinds.
        """
        entry = Entry(BOB.node_id, 1, 2, bytes(16), 3)
        good = entry.listed()
        self.assertEqual(decode_entry(good), entry)
        for place, value in (
            (0, bytes(32)),
            (0, b"short"),
            (0, 1),
            (1, -1),
            (2, 2**60),
            (3, b"short"),
            (4, 2**63),
            (4, None),
        ):
            changed = [*good[:place], value, *good[place + 1 :]]
            self.assertRaises(DecodeError, decode_entry, changed)
        self.assertRaises(DecodeError, decode_entry, good[:4])
        self.assertRaises(DecodeError, decode_entry, 5)

    def test_index_follows_the_roster(self) -> None:
        """
        The hashes change with the roster, and with nothing else.
        """
        roster = Roster(MESH)
        index = Index(roster)
        empty = index.summary(WALL)
        roster.merge_chain(ALICE_CHAIN, WALL)
        first = index.summary(WALL)
        self.assertEqual(index.differing(empty, WALL), [ALICE.node_id.raw[0]])
        roster.saw(ALICE.node_id, WALL)
        self.assertEqual(index.summary(WALL), first)
        roster.merge_record(record(ALICE, 1), WALL)
        self.assertNotEqual(index.summary(WALL), first)
        self.assertEqual(index.summary(WALL + 31 * DAY), empty)
