"""
Tests for L{atmosphere.network.quic.core}: what one who proves nothing may do.
"""

from __future__ import annotations

from atmosphere.network.quic import core_events as events
from atmosphere.network.quic.core import LinkCore, Phase
from atmosphere.network.quic.handshake import Proof, Welcome, make_proof
from atmosphere.network.quic.limits import MAX_BEFORE_PROOF
from atmosphere.network.quic.stream_state import header_bytes

from .core_case import DIALLER, LATENCY, LISTENER, OTHER, Bare, CoreCase


class ProofTests(CoreCase):
    """
    Only the right proof, in time, opens a link.
    """

    def refused(self, bare: Bare, listener: LinkCore, reason: str) -> None:
        """
        Check that a dialler was turned away, and nothing of its streams was opened.
        """
        self.run_for(5)
        (closed,) = self.saw(listener, events.Closed)
        self.assertIn(reason, closed.reason)
        self.assertEqual(self.saw(listener, events.Proved), [])
        self.assertEqual(self.saw(listener, events.StreamOpened), [])
        self.assertEqual(bare.said, {})

    def test_none(self) -> None:
        """
        A dialler that proves nothing is cut after 5 s.
        """
        bare, listener = self.bare_dialler()
        bare.quic.send_stream(4, header_bytes("echo") + b"data")
        self.run_for(4.8)
        self.assertIs(listener.phase, Phase.PROOF_AWAITED)
        self.refused(bare, listener, "time is up")

    def test_for_another_listener(self) -> None:
        """
        A proof that was made for another listener is worth nothing.
        """
        bare, listener = self.bare_dialler()
        bare.prove(listener=OTHER.node_id)
        self.refused(bare, listener, "does not hold")

    def test_of_another_connection(self) -> None:
        """
        A proof that was heard elsewhere cannot be used again.
        """
        first, listener = self.bare_dialler()
        binding = first.quic.channel_binding()
        bare, listener = self.bare_dialler()
        bare.prove(binding=binding)
        self.refused(bare, listener, "does not hold")

    def test_of_the_listener(self) -> None:
        """
        Nobody can be linked to himself.
        """
        bare, listener = self.bare_dialler()
        bare.prove(key=LISTENER)
        self.refused(bare, listener, "does not hold")

    def test_tampered(self) -> None:
        """
        A proof in which anything was changed does not hold.
        """
        changes = (
            {"node": OTHER.node_id},
            {"instance": b"x" * 16},
            {"generation": 1},
            {"signature": bytes(64)},
        )
        for change in changes:
            bare, listener = self.bare_dialler()
            good = make_proof(
                DIALLER, LISTENER.node_id, b"d" * 16, b"", 0, bare.quic.channel_binding()
            )
            fields = {name: getattr(good, name) for name in Proof.__slots__}
            bare.say(Proof(**{**fields, **change}))
            self.refused(bare, listener, "does not hold")

    def test_twice(self) -> None:
        """
        A second proof ends the link.
        """
        bare, listener = self.bare_dialler()
        bare.prove()
        self.run_for(5 * LATENCY)
        listener.welcome(b"")
        bare.prove()
        self.run_for(5)
        self.assertEqual(len(self.saw(listener, events.Proved)), 1)
        self.assertIn("no place", self.saw(listener, events.Closed)[0].reason)


class HeldTests(CoreCase):
    """
    What comes on streams before the link is agreed on waits, within bounds.
    """

    def test_kept(self) -> None:
        """
        Streams in the proof's flight are opened by the welcome, not before.
        """
        bare, listener = self.bare_dialler()
        bare.prove()
        for number in range(1, 9):
            bare.quic.send_stream(4 * number, header_bytes("echo") + bytes([number]) * 100)
        self.run_for(5 * LATENCY)
        self.assertEqual(self.saw(listener, events.StreamOpened), [])
        listener.welcome(b"")
        self.run_for(5 * LATENCY)
        self.assertEqual(len(self.saw(listener, events.StreamOpened)), 8)
        data = [each.data for each in self.saw(listener, events.StreamData)]
        self.assertEqual(data, [bytes([number]) * 100 for number in range(1, 9)])

    def test_too_long(self) -> None:
        """
        More than 4 KiB before the proof ends the link.
        """
        bare, listener = self.bare_dialler()
        bare.quic.send_stream(4, header_bytes("echo") + bytes(4000))
        self.run_for(5 * LATENCY)
        self.assertIs(listener.phase, Phase.PROOF_AWAITED)
        bare.quic.send_stream(4, bytes(200))
        self.run_for(5 * LATENCY)
        self.assertIn("too much", self.saw(listener, events.Closed)[0].reason)
        self.assertEqual(listener._held.take(), [])

    def test_too_many(self) -> None:
        """
        A ninth stream before the proof ends the link.
        """
        bare, listener = self.bare_dialler()
        bare.quic.send_stream(36, header_bytes("echo"))
        self.run_for(5 * LATENCY)
        self.assertIn("too much", self.saw(listener, events.Closed)[0].reason)

    def test_many_small(self) -> None:
        """
        Nor can empty events be heaped up: each counts.
        """
        bare, listener = self.bare_dialler()
        for _ in range(300):
            bare.quic.send_stream(4, b"x")
            self.run_for(LATENCY)
        self.assertEqual(len(self.saw(listener, events.Closed)), 1)

    def test_unseen(self) -> None:
        """
        Nor what QUIC keeps to itself, which is all that follows a gap in a stream: what
        comes before the proof is counted whether or not QUIC reports any of it.
        """
        bare, listener = self.bare_dialler()
        for _ in range(100):
            bare.quic.send_datagram(b"\x04news" + bytes(1000))
            self.run_for(LATENCY)
            if listener.phase is not Phase.PROOF_AWAITED:
                break
        self.assertIn("too much", self.saw(listener, events.Closed)[0].reason)
        self.assertLess(listener._held._received, MAX_BEFORE_PROOF + 16_384)

    def test_gap(self) -> None:
        """
        Bytes behind a gap are such: nothing is reported, and they are counted.
        """
        bare, listener = self.bare_dialler()
        sent = 0

        def lost(sender: object, data: bytes) -> bool:
            nonlocal sent
            sent += sender is bare
            return sent == 1

        self.lost = lost
        before = listener._held._received
        bare.quic.send_stream(4, b"x")
        self.turn(bare)
        bare.quic.send_stream(4, bytes(100_000))
        self.run_for(LATENCY)
        self.assertEqual(listener._held._length, 0)
        self.assertGreater(listener._held._received, before + 8_192)

    def test_malformed(self) -> None:
        """
        A malformed stream that was held closes the link when it is read; no
        exception reaches whoever let the peer in.
        """
        bare, listener = self.bare_dialler()
        bare.prove()
        bare.quic.send_stream(4, b"\x00nameless")
        bare.quic.send_stream(8, header_bytes("echo"))
        self.run_for(5 * LATENCY)
        listener.welcome(b"")
        self.run_for(1)
        self.assertIn("without a service", self.saw(listener, events.Closed)[0].reason)
        self.assertEqual(self.saw(listener, events.StreamOpened), [])

    def test_eager_listener(self) -> None:
        """
        A listener's streams wait for its welcome, and for our agreement.
        """
        dialler, bare = self.bare_listener()
        bare.quic.send_stream(1, header_bytes("echo") + b"early")
        self.run_for(5 * LATENCY)
        self.assertIs(dialler.phase, Phase.WELCOME_AWAITED)
        self.assertEqual(self.saw(dialler, events.StreamOpened), [])
        bare.say(Welcome(b"l" * 16, b""))
        self.run_for(5 * LATENCY)
        self.assertEqual(self.saw(dialler, events.StreamOpened), [])
        dialler.confirm()
        self.run_for(5 * LATENCY)
        self.assertEqual(self.saw(dialler, events.StreamOpened), [events.StreamOpened(1, "echo")])
        self.assertEqual(self.saw(dialler, events.StreamData), [events.StreamData(1, b"early")])

    def test_endless_listener(self) -> None:
        """
        A listener that never welcomes cannot make us keep more than a megabyte.
        """
        dialler, bare = self.bare_listener()
        for _ in range(40):
            bare.quic.send_stream(1, bytes(65_536))
            self.run_for(0.2)
        self.assertIn("too much", self.saw(dialler, events.Closed)[0].reason)

    def test_datagrams(self) -> None:
        """
        Datagrams before the welcome are lost, malformed ones always.
        """
        bare, listener = self.bare_dialler()
        bare.quic.send_datagram(b"\x04newsearly")
        bare.prove()
        self.run_for(5 * LATENCY)
        listener.welcome(b"")
        self.run_for(5 * LATENCY)
        for data in (b"\x00x", b"\x04new", b"\x01\xffx", b"\x04newslate"):
            bare.quic.send_datagram(data)
        self.run_for(5 * LATENCY)
        self.assertEqual(
            self.saw(listener, events.DatagramReceived), [events.DatagramReceived("news", b"late")]
        )
        self.assertEqual(self.saw(listener, events.Closed), [])
