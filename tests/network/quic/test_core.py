"""
Tests for L{atmosphere.network.quic.core}: scripts of times and inputs.
"""

from __future__ import annotations

from atmosphere import wire
from atmosphere.addresses import TransportAddress
from atmosphere.errors import DecodeError
from atmosphere.network.path.ways import DirectWay
from atmosphere.network.quic import core_events as events
from atmosphere.network.quic.adapter import QUICConnection
from atmosphere.network.quic.core import CloseCode, Phase
from atmosphere.network.quic.handshake import (
    Credit,
    Message,
    Offer,
    Proof,
    Refused,
    Welcome,
    encode_message,
    make_proof,
)
from atmosphere.network.quic.stream_state import INITIAL_CREDIT, header_bytes

from .core_case import (
    DIALLER,
    LATENCY,
    LISTENER,
    OTHER,
    TO_DIALLER,
    TO_LISTENER,
    CoreCase,
    make_dialler,
    make_listener,
)

PROOF = make_proof(DIALLER, LISTENER.node_id, b"d" * 16, b"", 0, bytes(32))


class ConnectTests(CoreCase):
    """
    A link comes about in steps, each of which the other side waits for.
    """

    def test_script(self) -> None:
        """
        Proof, welcome, agreement: each is reported once, at its time.
        """
        dialler, listener = self.pair(chain=b"chain")
        begun = self.now
        self.run_for(3.5 * LATENCY)
        (proved,) = self.saw(listener, events.Proved)
        self.assertEqual(proved.proof.node, DIALLER.node_id)
        self.assertEqual((proved.proof.instance, proved.proof.chain), (b"d" * 16, b"chain"))
        self.assertEqual((dialler.phase, listener.phase), (Phase.WELCOME_AWAITED, Phase.PROVED))
        self.assertEqual(listener.peer, DIALLER.node_id)
        listener.welcome(b"theirs")
        self.assertIs(listener.phase, Phase.CONNECTED)
        self.run_for(2 * LATENCY)
        (welcomed,) = self.saw(dialler, events.Welcomed)
        self.assertEqual(welcomed.welcome, Welcome(b"l" * 16, b"theirs"))
        self.assertIs(dialler.phase, Phase.PROVED)
        dialler.confirm()
        self.assertIs(dialler.phase, Phase.CONNECTED)
        self.assertLess(self.now - begun, 6 * LATENCY)
        self.run_for(60)
        for end in (dialler, listener):
            self.assertIs(end.phase, Phase.CONNECTED)
            self.assertEqual(self.saw(end, events.Closed), [])

    def test_refused(self) -> None:
        """
        One that is turned away reads why; both ends are over soon.
        """
        dialler, listener = self.pair()
        self.run_for(10 * LATENCY)
        listener.refuse("no member of this mesh")
        self.run_for(10)
        reason = "no member of this mesh"
        for end, text in ((dialler, f"it refused: {reason}"), (listener, reason)):
            self.assertEqual(self.saw(end, events.Closed), [events.Closed(text)])
            self.assertEqual(len(self.saw(end, events.Ended)), 1)
            self.assertIsNone(end.get_timer())

    def test_not_confirmed(self) -> None:
        """
        A dialler that does not like the listener's chain closes; nothing was opened.
        """
        dialler, listener = self.pair()
        self.run_for(10 * LATENCY)
        listener.welcome(b"chain of another mesh")
        listener.streams.open("eager")
        self.run_for(5 * LATENCY)
        dialler.close(CloseCode.REFUSED, "another mesh")
        self.run_for(5)
        self.assertEqual(self.saw(dialler, events.StreamOpened), [])
        self.assertEqual(self.saw(listener, events.Closed), [events.Closed("another mesh")])

    def test_other_listener(self) -> None:
        """
        A listener with another key learns nothing, not even who dials.
        """
        dialler, listener = self.pair(key=OTHER)
        self.run_for(10)
        (closed,) = self.saw(dialler, events.Closed)
        self.assertIn("another node", closed.reason)
        self.assertEqual(self.saw(listener, events.Proved), [])
        self.assertIsNone(listener.peer)

    def test_answers_out_of_turn(self) -> None:
        """
        What only makes sense in one phase does nothing in another.
        """
        dialler, listener = self.pair()
        for end in (dialler, listener):
            end.welcome(b"")
            end.confirm()
            end.refuse("no")
            end.send_offer(b"offer")
            self.assertFalse(end.send_datagram("news", b"x"))
            self.assertIs(end.phase, Phase.HANDSHAKE)

    def test_nobody_answers(self) -> None:
        """
        A dial without an answer ends after 15 s, and then stands still.
        """
        dialler, _ = self.pair()
        self._wire.clear()
        self.lost = lambda sender, data: True
        self.run_for(14.9)
        self.assertIs(dialler.phase, Phase.HANDSHAKE)
        self.run_for(0.2)
        (closed,) = self.saw(dialler, events.Closed)
        self.assertIn("time is up", closed.reason)
        self.run_for(10)
        self.assertEqual(len(self.saw(dialler, events.Ended)), 1)

    def test_other_way(self) -> None:
        """
        Until the handshake is done a listener takes datagrams by the first way alone.
        """
        dialler = make_dialler(self.now)
        flight = [data for data, _ in dialler.datagrams_to_send(self.now)]
        listener = make_listener(self.now, flight[0])
        listener.receive_datagram(flight[0], TO_LISTENER, self.now)
        elsewhere = DirectWay(TransportAddress("203.0.113.9", 9999))
        listener.receive_datagram(flight[-1], elsewhere, self.now)
        self.assertEqual(len(listener._pending), 1)
        sent = listener.datagrams_to_send(self.now)
        self.assertEqual({way for _, way in sent}, {TO_LISTENER})
        self.assertLessEqual(sum(len(data) for data, _ in sent), 3 * len(flight[0]))


class ControlTests(CoreCase):
    """
    Every message of the control stream, in every phase.
    """

    MESSAGES: tuple[Message, ...] = (
        PROOF,
        Welcome(b"l" * 16, b""),
        Refused("no"),
        Offer(b"offer"),
        Credit(4, 1),
    )
    HANDLED = (
        (Proof, Phase.PROOF_AWAITED),
        (Welcome, Phase.WELCOME_AWAITED),
        (Refused, Phase.WELCOME_AWAITED),
        (Offer, Phase.PROVED),
        (Offer, Phase.CONNECTED),
        (Credit, Phase.PROVED),
        (Credit, Phase.CONNECTED),
        *((kind, Phase.CLOSED) for kind in (Proof, Welcome, Refused, Offer, Credit)),
    )

    def test_table(self) -> None:
        """
        A message is acted on where it belongs, and breaks the protocol elsewhere.
        """
        for message in self.MESSAGES:
            for phase in Phase:
                _, listener = self.link_up()
                listener.phase = phase
                if (type(message), phase) in self.HANDLED:
                    listener._control_message(message)
                else:
                    self.assertRaises(DecodeError, listener._control_message, message)

    def test_out_of_place(self) -> None:
        """
        What breaks the protocol closes the link, with the code for that.
        """
        for message in (PROOF, Welcome(b"l" * 16, b""), Refused("no")):
            bare, listener = self.bare_link_up()
            bare.say(message)
            self.run_for(1)
            self.assertIn("no place", self.saw(listener, events.Closed)[0].reason)
            self.assertIn("no place", str(bare.seen[-1]))

    def test_unknown_kind(self) -> None:
        """
        A kind of message that we do not know is passed over.
        """
        bare, listener = self.bare_link_up()
        body = wire.encode([99, "what will be"])
        bare.quic.send_stream(0, len(body).to_bytes(2, "big") + body)
        bare.say(Offer(b"offer"))
        self.run_for(1)
        self.assertEqual(self.saw(listener, events.OfferReceived)[-1].payload, b"offer")
        self.assertEqual(self.saw(listener, events.Closed), [])

    def test_malformed(self) -> None:
        """
        Bytes that are no message end the link, as does the control stream's end.
        """
        for data in (
            b"\x00\x01\xff",
            b"\xff\xff",
            b"\x00\x00",
            encode_message(PROOF)[:2] + bytes(400),
        ):
            bare, listener = self.bare_link_up()
            bare.quic.send_stream(0, data)
            self.run_for(1)
            self.assertEqual(len(self.saw(listener, events.Closed)), 1, data[:8])

    def test_given_up(self) -> None:
        """
        The control stream can be neither ended, nor reset, nor stopped.
        """

        def end(quic: QUICConnection) -> None:
            quic.send_stream(0, b"", fin=True)

        def reset(quic: QUICConnection) -> None:
            quic.reset_stream(0, 1)

        def stop(quic: QUICConnection) -> None:
            quic.stop_stream(0, 1)

        for give_up in (end, reset, stop):
            bare, listener = self.bare_link_up()
            give_up(bare.quic)
            self.run_for(1)
            self.assertIn("control stream", self.saw(listener, events.Closed)[0].reason)

    def test_offers(self) -> None:
        """
        Offers reach the other side's path layer, from either end.
        """
        dialler, listener = self.link_up()
        dialler.send_offer(b"one")
        listener.send_offer(b"two")
        self.run_for(5 * LATENCY)
        self.assertEqual(self.saw(listener, events.OfferReceived), [events.OfferReceived(b"one")])
        self.assertEqual(self.saw(dialler, events.OfferReceived), [events.OfferReceived(b"two")])


class CreditTests(CoreCase):
    """
    A peer sends no more than it was given credit for.
    """

    def test_exceeded(self) -> None:
        """
        One byte beyond the credit closes the link.
        """
        bare, listener = self.bare_link_up()
        bare.quic.send_stream(4, header_bytes("echo") + bytes(INITIAL_CREDIT))
        self.run_for(3)
        self.assertEqual(self.saw(listener, events.Closed), [])
        got = sum(len(each.data) for each in self.saw(listener, events.StreamData))
        self.assertEqual(got, INITIAL_CREDIT)
        bare.quic.send_stream(4, b"x")
        self.run_for(1)
        self.assertIn("credit", self.saw(listener, events.Closed)[0].reason)

    def test_kept(self) -> None:
        """
        Our own side stops at its credit, and goes on when it is raised.
        """
        dialler, listener = self.link_up()
        stream = dialler.streams.open("sink")
        dialler.streams.write(stream, bytes(2 * INITIAL_CREDIT))
        self.run_for(3)
        self.assertEqual(dialler.streams.waiting(stream), INITIAL_CREDIT)
        got = [len(each.data) for each in self.saw(listener, events.StreamData)]
        self.assertEqual(sum(got), INITIAL_CREDIT)
        listener.streams.consumed(stream, INITIAL_CREDIT)
        listener.streams.grant(stream, self.now)
        self.run_for(3)
        got = [len(each.data) for each in self.saw(listener, events.StreamData)]
        self.assertEqual(sum(got), 2 * INITIAL_CREDIT)

    def test_of_no_stream(self) -> None:
        """
        Credit for a stream that is not, or not any more, does nothing.
        """
        bare, listener = self.bare_link_up()
        bare.say(Credit(4, 10**9), Credit(2, 5), Credit(1 << 61, 1 << 61))
        self.run_for(1)
        self.assertEqual(self.saw(listener, events.Closed), [])
        self.assertEqual(len(listener.streams), 0)


class CloseTests(CoreCase):
    """
    A link ends once, for both.
    """

    def test_closed(self) -> None:
        """
        The reason is read by the other side; then both engines stand still.
        """
        dialler, listener = self.link_up()
        listener.close(CloseCode.DONE, "enough")
        listener.close(CloseCode.DONE, "again")
        self.run_for(10)
        for end in (dialler, listener):
            self.assertEqual(self.saw(end, events.Closed), [events.Closed("enough")])
            self.assertEqual(self.seen[end][-1], events.Ended())
            self.assertIsNone(end.get_timer())
            self.assertEqual(end.datagrams_to_send(self.now), [])
        self.assertFalse(dialler.send_datagram("news", b"x"))

    def test_closed_while_busy(self) -> None:
        """
        The peer hears of the end even if there was still something to write,
        or to grant.
        """
        dialler, listener = self.link_up()
        stream = dialler.streams.open("sink")
        dialler.streams.write(stream, b"x")
        self.run_for(5 * LATENCY)
        dialler.streams.write(stream, bytes(1000))
        dialler.streams.open("another")
        dialler.close(CloseCode.DONE, "enough")
        dialler.streams.write(stream, bytes(1000))
        dialler.streams.abort(stream)
        dialler.streams.open("too late")
        dialler._grant(stream, 1 << 20)
        dialler.nudge()
        self.assertFalse(dialler.send_datagram("news", b"x"))
        self.run_for(5)
        self.assertEqual(self.saw(listener, events.Closed), [events.Closed("enough")])

    def test_unheard(self) -> None:
        """
        A close that the peer never hears ends all the same, within 3 s.
        """
        dialler, _ = self.link_up()
        self.lost = lambda sender, data: True
        dialler.close(CloseCode.DONE, "enough")
        self.run_for(3.1)
        self.assertEqual(len(self.saw(dialler, events.Ended)), 1)

    def test_flood(self) -> None:
        """
        Between two turns no more than so many datagrams wait.
        """
        dialler, _ = self.link_up()
        for _ in range(20_000):
            dialler.receive_datagram(b"\x40" + bytes(20), TO_LISTENER, self.now)
        self.assertEqual(len(dialler._pending), 16_384)


class NudgeTests(CoreCase):
    """
    After a change of way QUIC learns at once what was lost.
    """

    def test_nudged(self) -> None:
        """
        Data that was lost for ten seconds flows within three round trips of
        the path's return, though the first acknowledgement is lost as well.
        """
        dialler, listener = self.link_up()
        stream = dialler.streams.open("sink")
        dialler.streams.write(stream, b"before")
        self.run_for(1)
        self.lost = lambda sender, data: True
        dialler.streams.write(stream, b"behind")
        self.run_for(10)
        self.lost = lambda sender, data: sender is listener
        dialler.nudge()
        self.run_for(2 * LATENCY)
        self.lost = lambda sender, data: False
        listener.nudge()
        self.run_for(6 * LATENCY)
        data = b"".join(each.data for each in self.saw(listener, events.StreamData))
        self.assertEqual(data, b"beforebehind")
        self.assertEqual(dialler.streams.waiting(stream), 0)

    def window_full(self, seconds: float) -> None:
        """
        Lose all for a while in the midst of a bulk transfer, all acknowledgements having
        arrived; then nudge both ends, one of which has an offer to send as well.
        """
        dialler, listener = self.link_up()
        stream = dialler.streams.open("sink")
        dialler.streams.write(stream, bytes(200_000))
        self.run_for(5 * LATENCY)
        self.lost = lambda sender, data: sender is dialler
        self.run_for(3 * LATENCY)
        self.lost = lambda sender, data: True
        self.run_for(seconds)
        before = sum(len(each.data) for each in self.saw(listener, events.StreamData))
        self.assertLess(before, 200_000)
        self.lost = lambda sender, data: False
        dialler.send_offer(b"another")
        for each in (dialler, listener):
            each.nudge()
        self.run_for(6 * LATENCY)
        after = sum(len(each.data) for each in self.saw(listener, events.StreamData))
        self.assertGreater(after, before)

    def test_window_full(self) -> None:
        """
        So it does when the whole congestion window was lost, and QUIC has waited a minute,
        for which a PING would have to wait as well.
        """
        self.window_full(60)

    def test_window_full_for_long(self) -> None:
        """
        So it does after ten minutes, when QUIC would next give up altogether.
        """
        self.window_full(600)


class BeliefTests(CoreCase):
    """
    A way counts as the peer's when something came by it that the peer alone can send.
    """

    ELSEWHERE = DirectWay(TransportAddress("203.0.113.9", 9999))

    def test_garbage(self) -> None:
        """
        Noise that bears our connection ID, and what was heard before, teach no way.
        """
        dialler, listener = self.link_up()
        before = listener.paths.snapshot()
        dialler.streams.open("echo")
        sent = [data for data, _ in dialler.datagrams_to_send(self.now)]
        for data in sent:
            listener.receive_datagram(data, TO_DIALLER, self.now)
        listener.next_event()
        for data in sent:
            listener.receive_datagram(data[:-1] + bytes([data[-1] ^ 1]), self.ELSEWHERE, self.now)
            listener.receive_datagram(data[:9] + bytes(50), self.ELSEWHERE, self.now)
            listener.receive_datagram(data, self.ELSEWHERE, self.now)
        listener.next_event()
        ways = [each.way for each in listener.paths.snapshot()]
        self.assertEqual(ways, [each.way for each in before])
        self.assertEqual(listener._pending, [])

    def test_real(self) -> None:
        """
        A datagram of the peer's does, though noise came with it.
        """
        dialler, listener = self.link_up()
        dialler.streams.open("echo")
        for data, _ in dialler.datagrams_to_send(self.now):
            listener.receive_datagram(data[:9] + bytes(50), self.ELSEWHERE, self.now)
            listener.receive_datagram(data, self.ELSEWHERE, self.now)
        listener.next_event()
        self.assertIn(self.ELSEWHERE, [each.way for each in listener.paths.snapshot()])
