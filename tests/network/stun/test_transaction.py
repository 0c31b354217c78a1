"""
Tests for L{atmosphere.network.stun.transaction}.
"""

from hypothesis import given, settings, strategies as st
from twisted.trial.unittest import SynchronousTestCase

from atmosphere.addresses import TransportAddress
from atmosphere.engine import Engine
from atmosphere.network.stun.attributes import ERROR_CODE, SOFTWARE, XOR_MAPPED_ADDRESS
from atmosphere.network.stun.integrity import verify_integrity
from atmosphere.network.stun.message import Class, Message, decode_message, encode_message
from atmosphere.network.stun.transaction import (
    Answered,
    Event,
    Failed,
    Refused,
    TimedOut,
    Transactions,
)
from atmosphere.network.stun.values import ErrorCode

SERVER = TransportAddress("192.0.2.1", 3478)
OURS = TransportAddress("198.51.100.7", 40000)


def counting() -> "Transactions":
    """
    Make an engine whose transaction IDs are 1, 2, 3 …
    """
    numbers = iter(range(1, 1000))
    return Transactions(lambda length: next(numbers).to_bytes(length, "big"))


def events_of(engine: Transactions) -> list[Event]:
    """
    Take all events.
    """
    found = []
    while (event := engine.next_event()) is not None:
        found.append(event)
    return found


def success(transaction_id: bytes, key: bytes | None = None) -> bytes:
    """
    Write the usual response.
    """
    message = Message(Class.SUCCESS_RESPONSE, transaction_id, ((XOR_MAPPED_ADDRESS, OURS),))
    return encode_message(message, key=key)


class ScheduleTests(SynchronousTestCase):
    """
    When requests go out, with nobody answering.
    """

    def run_to_end(self, engine: Transactions, start: float) -> tuple[list[float], float]:
        """
        Follow the engine's timer.

        @return: when requests went out and when the engine wanted nothing more.
        """
        now = start
        sent = [now - start for _ in engine.datagrams_to_send(now)]
        while (due := engine.get_timer()) is not None:
            now = due
            engine.handle_timer(now)
            sent += [now - start for _ in engine.datagrams_to_send(now)]
        return sent, now - start

    def test_rfc_schedule(self) -> None:
        """
        «0 ms, 500 ms, 1500 ms, 3500 ms, 7500 ms, 15500 ms, 31500 ms … timed out at 39500 ms.»
        """
        engine = counting()
        transaction_id = engine.request(SERVER, 100.0)
        sent, end = self.run_to_end(engine, 100.0)
        self.assertEqual(sent, [0, 0.5, 1.5, 3.5, 7.5, 15.5, 31.5])
        self.assertEqual(end, 39.5)
        self.assertEqual(events_of(engine), [TimedOut(transaction_id, 7)])
        self.assertFalse(engine.owns(transaction_id))

    def test_other_figures(self) -> None:
        """
        RTO, Rc and Rm are the caller's to choose.
        """
        engine = counting()
        engine.request(SERVER, 0.0, rto=0.25, rc=3, rm=4)
        self.assertEqual(self.run_to_end(engine, 0.0), ([0, 0.25, 0.75], 1.75))
        engine.request(SERVER, 0.0, rc=1, rm=1)
        self.assertEqual(self.run_to_end(engine, 0.0), ([0], 0.5))

    def test_same_bytes(self) -> None:
        """
        A retransmission is the same request with the same transaction ID.
        """
        engine = counting()
        engine.request(SERVER, 0.0, attributes=((SOFTWARE, "x"),))
        first = engine.datagrams_to_send(0.0)
        engine.handle_timer(0.5)
        self.assertEqual(engine.datagrams_to_send(0.5), first)

    def test_late_timer(self) -> None:
        """
        After a long sleep a request goes out once, not as often as was missed.
        """
        engine = counting()
        engine.request(SERVER, 0.0)
        engine.datagrams_to_send(0.0)
        engine.handle_timer(1000.0)
        self.assertEqual(len(engine.datagrams_to_send(1000.0)), 1)
        self.assertEqual(engine.get_timer(), 1001.0)

    def test_early_timer(self) -> None:
        """
        A timer that is handled early changes nothing.
        """
        engine = counting()
        engine.request(SERVER, 0.0)
        engine.datagrams_to_send(0.0)
        engine.handle_timer(0.4)
        self.assertEqual(engine.datagrams_to_send(0.4), [])
        self.assertEqual(engine.get_timer(), 0.5)

    def test_many_at_once(self) -> None:
        """
        Transactions do not disturb each other.
        """
        engine = counting()
        first = engine.request(SERVER, 0.0, rc=1, rm=1)
        second = engine.request(SERVER, 0.1, rc=1, rm=1)
        self.assertEqual(len(engine.datagrams_to_send(0.1)), 2)
        engine.handle_timer(0.5)
        self.assertEqual(events_of(engine), [TimedOut(first, 1)])
        self.assertTrue(engine.owns(second))
        engine.cancel(second)
        engine.cancel(second)
        self.assertIsNone(engine.get_timer())
        self.assertEqual(events_of(engine), [])


class ResponseTests(SynchronousTestCase):
    """
    What ends a transaction, and what does not.
    """

    def test_is_an_engine(self) -> None:
        """
        The transactions fit into the driver of all engines.
        """
        self.assertIsInstance(counting(), Engine)

    def test_answered(self) -> None:
        """
        A success response ends the transaction; a second copy of it is dropped.
        """
        engine = counting()
        transaction_id = engine.request(SERVER, 0.0)
        engine.receive_datagram(success(transaction_id), SERVER, 0.1)
        engine.receive_datagram(success(transaction_id), SERVER, 0.2)
        (event,) = events_of(engine)
        assert isinstance(event, Answered)
        self.assertEqual((event.transaction_id, event.source), (transaction_id, SERVER))
        self.assertEqual(event.message.get(XOR_MAPPED_ADDRESS), OURS)
        self.assertEqual(engine.dropped, 1)
        self.assertIsNone(engine.get_timer())

    def test_refused(self) -> None:
        """
        An error response ends it too; 300 is one like all others.
        """
        for code in (300, 420, 500):
            engine = counting()
            transaction_id = engine.request(SERVER, 0.0)
            error = ((ERROR_CODE, ErrorCode(code, "no")),)
            message = Message(Class.ERROR_RESPONSE, transaction_id, error)
            engine.receive_datagram(encode_message(message), SERVER, 0.1)
            self.assertEqual(events_of(engine), [Refused(transaction_id, code, "no")])

    def test_demands_the_unknown(self) -> None:
        """
        «If the success response contains unknown comprehension-required attributes … the
        transaction is considered to have failed.»
        """
        engine = counting()
        transaction_id = engine.request(SERVER, 0.0)
        data = success(transaction_id) + b"\x7f\x01\x00\x00"
        engine.receive_datagram(data[:3] + bytes((len(data) - 20,)) + data[4:], SERVER, 0.1)
        (event,) = events_of(engine)
        assert isinstance(event, Failed)
        self.assertIn("0x7f01", event.reason)

    def test_not_a_response(self) -> None:
        """
        Strangers, echoes, damaged and foreign messages end nothing.
        """
        engine = counting()
        transaction_id = engine.request(SERVER, 0.0)
        request = engine.datagrams_to_send(0.0)[0][0]
        good = success(transaction_id)
        other = Message(Class.SUCCESS_RESPONSE, transaction_id, method=3)
        wordless = Message(Class.ERROR_RESPONSE, transaction_id)
        stranger = TransportAddress("192.0.2.1", 3479)
        attempts = (
            (good, stranger),
            (success(bytes(12)), SERVER),
            (request, SERVER),
            (good[:-1], SERVER),
            (good[:4] + bytes(4) + good[8:], SERVER),
            (encode_message(other), SERVER),
            (encode_message(wordless), SERVER),
            (b"", SERVER),
        )
        for data, source in attempts:
            engine.receive_datagram(data, source, 0.1)
        self.assertEqual(events_of(engine), [])
        self.assertEqual(engine.dropped, len(attempts))
        self.assertTrue(engine.owns(transaction_id))

    def test_protected(self) -> None:
        """
        A protected request takes no response that does not hold under its key.
        """
        engine = counting()
        transaction_id = engine.request(SERVER, 0.0, key=b"key")
        self.assertTrue(verify_integrity(engine.datagrams_to_send(0.0)[0][0], b"key"))
        for forged in (success(transaction_id), success(transaction_id, b"other")):
            engine.receive_datagram(forged, SERVER, 0.1)
        self.assertEqual(events_of(engine), [])
        engine.receive_datagram(success(transaction_id, b"key"), SERVER, 0.1)
        self.assertEqual(len(events_of(engine)), 1)

    @settings(derandomize=True, max_examples=200, deadline=None)
    @given(st.binary(max_size=60), st.booleans())
    def test_any_bytes(self, data: bytes, is_ours: bool) -> None:
        """
        Whatever comes, it is dropped or ends the transaction; nothing is raised.
        """
        engine = counting()
        transaction_id = engine.request(SERVER, 0.0)
        if is_ours:
            data = data[:8].ljust(8, b"\0") + transaction_id + data[8:]
        engine.receive_datagram(data, SERVER, 0.1)
        self.assertEqual(engine.dropped + len(events_of(engine)), 1)

    def test_request(self) -> None:
        """
        A plain request is 20 bytes: nothing is told that need not be.
        """
        engine = counting()
        transaction_id = engine.request(SERVER, 0.0)
        ((data, destination),) = engine.datagrams_to_send(0.0)
        self.assertEqual((len(data), destination), (20, SERVER))
        self.assertEqual(decode_message(data), Message(Class.REQUEST, transaction_id))
