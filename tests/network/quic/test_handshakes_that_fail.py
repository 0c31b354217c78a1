"""
Handshakes that must fail: a hostile dialler at our listener.

Each kind is tried by a peer that speaks QUIC and keeps no other rule, and sends
an application's bytes along with it; L{RefusedCase} says what must hold each
time. The same kinds from the other side are in
L{tests.network.quic.test_handshakes_that_fail_for_diallers}. Where a kind has no
exact counterpart here, the nearest is taken::

    no proof                    no proof; no chain; something else in the proof's place
    wrong key                   a proof in another node's name
    other algorithm             a TLS dialler without Ed25519; a P-256 key in the proof
    several, oversized          in the chain of the proof: a dialler shows no TLS certificate
"""

from __future__ import annotations

from dataclasses import replace

import qh3.tls
from qh3.quic import events as quic_events
from typing_extensions import override

from atmosphere import wire
from atmosphere.identity import NodeKey
from atmosphere.membership import decode_chain, encode_chain
from atmosphere.network.path.ways import DirectWay
from atmosphere.network.quic.credentials import make_credentials
from atmosphere.network.quic.handshake import Credit, Offer, Proof, Refused, Welcome

from . import bad_chains
from .refused_case import (
    OURS,
    STRANGER,
    Member,
    RefusedCase,
    chain_for,
)
from .strangers import HostileConnection, Stranger

SMALL_ORDER = b"\x01" + bytes(31)
#: R the neutral element and S zero: under a key of small order it holds for every message.
ANY_MESSAGE = SMALL_ORDER + bytes(32)

OTHER = NodeKey(bytes([5]) * 32)


class ProofTests(RefusedCase):
    """
    A dialler is who it proves to be, on this connection and to this listener, or nobody.
    """

    def test_no_proof(self) -> None:
        """
        Without a proof it ends after 5 s.
        """
        self.dials(lambda stranger, event: None)
        self.refused("no proof came within 5 s", within=5.0)

    def test_something_else_first(self) -> None:
        """
        Nothing else takes the proof's place.
        """
        for message in (Welcome(b"s" * 16, b""), Refused("no"), Offer(b"o"), Credit(4, 2**40)):
            self.begin()
            self.dials(lambda stranger, event, message=message: stranger.say(message))  # type: ignore[misc]
            self.refused("has no place here")

    def test_wrong_key(self) -> None:
        """
        Who names another node than the one whose key signed is refused.
        """
        self.dials(lambda s, _: s.say(replace(self.proof(chain_for(5)), node=OTHER.node_id)))
        self.refused("the proof does not hold")

    def test_small_order_key(self) -> None:
        """
        A key with which one signature holds for every message is no key.
        """
        body = wire.encode([1, SMALL_ORDER, b"s" * 16, b"", 1, ANY_MESSAGE])
        self.dials(lambda stranger, _: stranger.say_bytes(body))
        self.refused("small order")

    def test_replayed_proof(self) -> None:
        """
        A proof that let a member in does not let anybody in again.
        """
        kept: list[Proof] = []

        def prove(stranger: Stranger, _: object) -> None:
            """
            Prove, and keep the proof.
            """
            kept.append(self.proof(chain_for(STRANGER)))
            stranger.say(kept[0])

        self.dials(prove)
        self.world.run(1.0)
        self.assertEqual(len(self.node.connected), 1)
        self.stranger.speaking.close(0, "until later")
        self.stranger.pump()
        self.world.run(40.0)
        self.stranger.stop()
        for seen in (
            self.node.connected, self.node.closed, self.node.accepted, self.node.asked,
            self.node.datagrams, self.stranger.seen, self.stranger.heard,
        ):  # fmt: skip
            seen.clear()
        began = self.world.clock.seconds()
        self.dials(lambda stranger, _: stranger.say(kept[0]))
        self.refused("the proof does not hold", within=began + 0.2)

    def test_reflected_proof(self) -> None:
        """
        Our own proof, which we gave to a node that we dialled, is not taken from it.
        """
        self.passes_on(self.node)

    def test_proof_for_another_listener(self) -> None:
        """
        A proof that a member gave to another listener, who passes it on, is worth nothing here.
        """
        self.passes_on(Member(self.world, 7))

    def passes_on(self, victim: Member) -> None:
        """
        Have the stranger dial us with the proof that somebody gave to another node.
        """
        heard: list[bytes] = []
        middle = Stranger(self.world, 6)
        middle.script = lambda stranger, event: (
            heard.append(event.data) if isinstance(event, quic_events.StreamDataReceived) else None
        )
        dialling = victim.endpoint.dial(middle.key.node_id, [DirectWay(middle.address)])
        self.world.run(1.0, lambda: heard)
        self.dials(lambda stranger, _: stranger.speaking.send_stream(0, heard[0]))
        self.world.run(1.0)
        dialling.cancel()
        self.failureResultOf(dialling)
        self.world.run(30.0)
        middle.stop()
        self.assertIn("nobody waits", self.lines.pop()[1])
        self.said_in_log.pop()
        self.refused("the proof does not hold")

    def test_proof_naming_another_listener(self) -> None:
        """
        Nor is one for this connection that names another listener.
        """
        self.dials(lambda s, _: s.say(self.proof(chain_for(STRANGER), OTHER.node_id)))
        self.refused("the proof does not hold")

    def test_proof_of_the_listener(self) -> None:
        """
        Who has our own key is not let in as ourselves.
        """
        self.stranger.key = self.node.key
        self.dials(lambda s, _: s.say(self.proof(chain_for(OURS))))
        self.refused("the proof does not hold")

    def test_truncated_proof(self) -> None:
        """
        A proof that breaks off is none, whether the stream ends or not.
        """

        def break_off(stranger: Stranger, _: object) -> None:
            """
            Say half of a proof.
            """
            whole = wire.encode([1, OTHER.node_id.raw, b"s" * 16, b"", 1, bytes(64)])
            stranger.speaking.send_stream(0, len(whole).to_bytes(2, "big") + whole[:50], fin=True)

        self.dials(break_off)
        self.refused("the control stream ended")
        self.begin()
        self.dials(lambda s, _: s.say_bytes(bytes([0x86, 1]), 100))
        self.refused("no proof came within 5 s", within=5.0)
        self.begin()
        self.dials(lambda s, _: s.say_bytes(wire.encode([1, OTHER.node_id.raw, b"s" * 16])))
        self.refused("malformed proof")

    def test_oversized_proof(self) -> None:
        """
        A proof longer than a message, or with a chain longer than one, is not read.
        """
        self.dials(lambda s, _: s.say_bytes(b"", 65_535))
        self.refused("control")
        self.begin()
        body = wire.encode([1, OTHER.node_id.raw, b"s" * 16, bytes(4_097), 1, bytes(64)])
        self.dials(lambda s, _: s.say_bytes(body))
        self.refused("a field of the proof has a wrong length")


class AlgorithmTests(RefusedCase):
    """
    Ed25519 and nothing else, one small certificate after the other.
    """

    def test_other_algorithm(self) -> None:
        """
        A dialler that takes certificates of other algorithms only finds none with us.
        """
        quic = HostileConnection(make_credentials(self.stranger.key))
        quic.configuration.signature_algorithms = [
            qh3.tls.SignatureAlgorithm.ECDSA_SECP256R1_SHA256
        ]
        self.stranger.dial(self.node, quic)
        self.refused("No supported signature algorithm", within=2.0)

    def test_key_of_another_algorithm(self) -> None:
        """
        A point of P-256, however it is written, names no node.
        """
        for key in (b"\x02" + bytes(range(32)), b"\x04" + bytes(64)):
            self.begin()
            body = wire.encode([1, key, b"s" * 16, b"", 1, bytes(64)])
            self.dials(lambda s, _, body=body: s.say_bytes(body))  # type: ignore[misc]
            self.refused("a node's key has 32 bytes")

    def test_several_certificates(self) -> None:
        """
        A chain has two certificates at most.
        """
        whole = decode_chain(chain_for(STRANGER))
        chain = encode_chain(whole.genesis.encoded, [whole.leaf.encoded] * 3)
        self.dials(lambda s, _: s.say(self.proof(chain)))
        self.refused("the chain cannot be read", who=self.stranger.key.node_id.short)

    def test_oversized_certificate(self) -> None:
        """
        A certificate has 1 KiB at most.
        """
        whole = decode_chain(chain_for(STRANGER))
        chain = encode_chain(whole.genesis.encoded, [whole.leaf.encoded + bytes(1_024)])
        self.dials(lambda s, _: s.say(self.proof(chain)))
        self.refused("the chain cannot be read", who=self.stranger.key.node_id.short)


class MembershipTests(bad_chains.BadChains):
    """
    A dialler that has proven its key still has to be a member, now and of our mesh.
    """

    @override
    def shows(self, chain: bytes, why: str) -> None:
        """
        Have a dialler prove its key, and show a chain.
        """
        self.dials(lambda s, _: s.say(self.proof(chain), Offer(b"offer")))
        self.refused(why, who=self.stranger.key.node_id.short)

    def test_no_chain(self) -> None:
        """
        Who shows nothing is no guest of a node that cannot admit anybody.
        """
        self.shows(b"", "cannot admit others")


class TransportTests(RefusedCase):
    """
    What is not our QUIC does not become a link.
    """

    def test_garbage_after_initial(self) -> None:
        """
        After garbage in the place of the handshake's end, it is given up after 15 s.
        """
        sent: list[bytes] = []

        def mangle(data: bytes) -> bytes:
            """
            Leave the first flight as it is, and spoil all that follows.
            """
            sent.append(data)
            if len(sent) <= 2:
                return data
            return data[:7] + bytes(each ^ 0x5A for each in data[7:])

        self.stranger.mangle = mangle
        self.stranger.dial(self.node)
        self.refused("the handshake did not end within 15 s", within=15.0, is_told=False)

    def test_no_initial(self) -> None:
        """
        What looks like an Initial and is not encrypted as one gets no answer, no
        place among the half-open links and no line in the log.
        """
        self.stranger.mangle = lambda data: data[:60] + bytes(each ^ 0x5A for each in data[60:])
        self.stranger.dial(self.node)
        self.world.run(0.1)
        self.assertEqual(self.node.endpoint._links, {})
        self.assertGreaterEqual(self.node.endpoint.counters.dropped, 1)
        self.stranger.stop()
        self._nothing_was_delivered()
        self._nothing_is_left()
        self.assertEqual((self.lines, self.stranger.heard), ([], []))

    def test_no_initial_with_a_token(self) -> None:
        """
        The same from one who has answered a Retry, so that his address is known.
        """
        self.node.endpoint._acceptance._initials.charge(1_000, 0.0)

        def mangle(data: bytes) -> bytes:
            """
            Spoil what comes after the token.
            """
            has_token = bool(self.stranger.heard)
            return data[:120] + bytes(each ^ 0x5A for each in data[120:]) if has_token else data

        self.stranger.mangle = mangle
        self.stranger.dial(self.node)
        self.world.run(0.1)
        self.assertEqual(self.node.endpoint.counters.retries_sent, 2)
        self.assertGreaterEqual(self.node.endpoint.counters.dropped, 1)
        self.stranger.stop()
        self._nothing_was_delivered()
        self._nothing_is_left()
        self.assertEqual(self.lines, [])

    def test_garbage_in_initial(self) -> None:
        """
        An Initial that is well encrypted and holds no ClientHello ends at once.
        """
        for garbage, why, within in (
            (b"\x01\x00\x00\x04abcd", "ClientHello version is not 1.2", 2.0),
            (b"\x02\x00\x00\x00", "TLS: unexpected message", 2.0),
            (b"\x01\x00\xff\xff" + bytes(3_000), "the handshake did not end within 15 s", 15.0),
        ):
            self.begin()
            quic = HostileConnection(make_credentials(self.stranger.key), first_words=garbage)
            self.stranger.dial(self.node, quic)
            self.refused(why, within=within)

    def test_version_mismatch(self) -> None:
        """
        Who speaks another version is told ours, and nothing is kept.
        """
        self.stranger.mangle = lambda data: data[:1] + b"\x1a\x2a\x3a\x4a" + data[5:]
        self.stranger.dial(self.node)
        self.world.run(0.1)
        self.assertEqual(self.stranger.heard[0][1:5], bytes(4))
        self.assertEqual(self.stranger.heard[0][-4:], bytes([0, 0, 0, 1]))
        self.assertEqual(self.node.endpoint._links, {})
        self.stranger.stop()
        self.lines, self.said_in_log = self.lines[:1], self.said_in_log[:1]
        self.refused("it speaks version 0x1a2a3a4a of QUIC, not 1", is_told=False)

    def test_alpn_mismatch(self) -> None:
        """
        Another protocol over QUIC, or none named, is not ours.
        """
        for alpn in (["h3"], ["atmosphere/2"], None):
            self.begin()
            quic = HostileConnection(make_credentials(self.stranger.key))
            quic.configuration.alpn_protocols = alpn
            self.stranger.dial(self.node, quic)
            self.refused("No common ALPN protocols", within=2.0)


class LogTests(RefusedCase):
    """
    A stranger cannot fill our log.
    """

    def test_rate(self) -> None:
        """
        After twenty lines there is one every other second, which says how many are missing.
        """
        self.node.endpoint.warm_up()
        for _ in range(60):
            self.stranger.mangle = lambda data: data[:1] + b"\x1a\x2a\x3a\x4a" + data[5:]
            self.stranger.dial(self.node)
            self.stranger.stop()
            self.world.run(0.1)
        self.assertIn(len(self.lines), range(20, 25))
        self.world.run(4.0)
        texts = [text for _, text in self.lines]
        self.assertIn(len(texts), range(22, 28))
        self.assertRegex(texts[-1] + texts[-2], r"\(and \d+ more were left out here\)")
        self.stranger.stop()
