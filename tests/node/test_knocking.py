"""
Tests for L{atmosphere.node.knocking}: answers and knocks that were not meant well.
"""

from __future__ import annotations

from twisted.internet.defer import CancelledError

from atmosphere.addresses import TransportAddress
from atmosphere.errors import JoinError, NoPathError
from atmosphere.identity import NodeKey
from atmosphere.mesh.answer import make_answer
from atmosphere.mesh.invitation import invitation_of
from atmosphere.mesh.join_code import JoinCode
from atmosphere.mesh.knock import LONGEST, SCHEDULE, KnockCredentials, encode_knock
from atmosphere.network.nat.candidates import CandidateType, make_candidate
from atmosphere.node.answering import MAX_SOURCES

from .answer_case import AnswerCase


class HostileTests(AnswerCase):
    """
    Answers that were not meant well.
    """

    def answer(self, code: str, *addresses: str) -> str:
        """
        Make an answer that names any addresses.
        """
        candidates = [
            make_candidate(CandidateType.SERVER_REFLEXIVE, TransportAddress.from_text(each))
            for each in addresses
        ]
        text, _ = make_answer(
            JoinCode.from_compact(code),
            self.seattle.key.node_id,
            candidates,
            has_stable_port=None,
            wall=self.world.wall(),
        )
        return text

    def test_no_packets(self) -> None:
        """
        What the filter refuses gets no packet, and what it lets pass nine small ones at most.
        """
        self.homes()
        code = self.invite()
        bad = (
            "127.0.0.1:7777",
            "169.254.169.254:7777",
            "224.0.0.1:7777",
            "10.1.2.3:7777",
            "198.51.100.66:53",
            f"{self.portland.host.address}:7777",
            "0.0.0.0:7777",
        )
        trace = self.world.network.record()
        following = self.follow(self.answer(code, *bad, "198.51.100.66:7777"))
        self.assertRaises(NoPathError, self.world.result, following, 90)
        self.world.advance(60)
        own = self.portland.host.address
        sent = [
            each
            for each in trace
            if each.source[0] == own and each.kind == "udp" and each.destination[1] != 3478
        ]
        self.assertEqual({each.destination for each in sent}, {("198.51.100.66", 7777)})
        self.assertEqual(len(sent), len(SCHEDULE))
        self.assertLessEqual(max(each.size for each in sent), LONGEST)
        (told, *_) = self.followed
        self.assertEqual(told["addresses"], ["198.51.100.66:7777"])
        self.assertEqual([each["address"] for each in told["refused"]], list(bad))
        error = self.assertRaises(
            NoPathError, self.world.result, self.follow(self.answer(code, *bad))
        )
        self.assertIn("no address that may be tried", str(error))

    def test_crowd(self) -> None:
        """
        Nine answers at once are one too many; one that ends makes room.
        """
        self.homes()
        code = self.invite(uses=20)
        texts = []
        for number in range(9):
            key = NodeKey(bytes([number + 1]) * 32)
            text, _ = make_answer(
                JoinCode.from_compact(code),
                key.node_id,
                [make_candidate(CandidateType.HOST, TransportAddress("198.51.100.66", 7777))],
                has_stable_port=None,
                wall=self.world.wall(),
            )
            texts.append(text)
        running = [self.follow(text) for text in texts[:8]]
        self.assertIn("8 answers", str(self.failureResultOf(self.follow(texts[8])).value))
        again = self.follow(texts[0])
        self.assertIn("handed in again", str(self.failureResultOf(running[0]).value))
        running[1].cancel()
        self.failureResultOf(running[1], CancelledError)
        running.append(self.follow(texts[8]))
        for each in (*running[2:], again):
            self.assertNoResult(each)
            self.end(each)

    def test_replayed(self) -> None:
        """
        An answer admits nobody, and is worth nothing once it was used.
        """
        self.homes()
        code = self.invite()
        joining = self.join(code)
        self.world.result(self.follow())
        self.world.result(joining)
        error = self.failureResultOf(self.follow()).value
        self.assertIsInstance(error, JoinError)
        self.assertIn("has joined by this code already", str(error))
        self.assertEqual(list(self.portland.states()), ["seattle"])
        for text, words in (("rubbish", "copy all of it"), (code, "is a join code")):
            self.assertIn(words, str(self.failureResultOf(self.follow(text), JoinError).value))

    def wait_for_knocks(self) -> KnockCredentials:
        """
        Have seattle wait for its answer to be carried.

        @return: what knocks for it are known by.
        """
        self.homes()
        code = self.invite()
        self.join(code)
        joining = JoinCode.from_compact(code)
        key = invitation_of(joining).key
        return KnockCredentials.of(key, joining.issuer, self.seattle.key.node_id)

    def test_forged_knocks(self) -> None:
        """
        A joiner takes no notice of what only looks like a knock, and of the right ones from
        everywhere keeps two sources and dials no more often.
        """
        credentials = self.wait_for_knocks()
        ports = self.seattle.service.surroundings.ports
        other = KnockCredentials(credentials.username, b"another")
        assert ports.knocked is not None
        self.assertFalse(
            ports.knocked(encode_knock(other, bytes(12)), TransportAddress("198.51.100.66", 7))
        )
        trace = self.world.network.record()
        for number in range(200):
            source = TransportAddress("198.51.100.66", 2000 + number)
            knock = encode_knock(credentials, number.to_bytes(12, "big"))
            self.assertTrue(ports.knocked(knock, source))
            self.world.advance(0.05)
        sent = [each for each in trace if each.destination[0] == "198.51.100.66"]
        self.assertLessEqual(len({each.destination for each in sent}), 3 * MAX_SOURCES)
        self.assertLessEqual(len(sent), 3 * MAX_SOURCES * 12)

    def test_replayed_knocks(self) -> None:
        """
        A knock that somebody overheard counts once: sent again by others' names it makes
        the joiner neither dial there nor forget where the issuer knocked from.
        """
        credentials = self.wait_for_knocks()
        ports = self.seattle.service.surroundings.ports
        knock = encode_knock(credentials, bytes(12))
        assert ports.knocked is not None
        self.assertTrue(ports.knocked(knock, TransportAddress("198.51.100.66", 2000)))
        self.world.advance(8)
        trace = self.world.network.record()
        for number in range(200):
            source = TransportAddress("198.51.100.67", 2000 + number)
            self.assertTrue(ports.knocked(knock, source))
            self.world.advance(0.05)
        sent = {each.destination for each in trace if each.kind == "udp"}
        self.assertIn(("198.51.100.66", 2000), sent)
        self.assertFalse(any(host == "198.51.100.67" for host, _ in sent))
