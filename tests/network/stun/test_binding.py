"""
Tests for L{atmosphere.network.stun.binding}.
"""

from typing import Any

from hypothesis import given, settings, strategies as st
from twisted.trial.unittest import SynchronousTestCase

from atmosphere.addresses import TransportAddress
from atmosphere.network.stun.attributes import (
    CHANGE_REQUEST,
    ERROR_CODE,
    OTHER_ADDRESS,
    PADDING,
    PRIORITY,
    RESPONSE_ORIGIN,
    RESPONSE_PORT,
    SOFTWARE,
    UNKNOWN_ATTRIBUTES,
    USERNAME,
    XOR_MAPPED_ADDRESS,
)
from atmosphere.network.stun.binding import (
    DIAL_BACK_LIMITS,
    FORBIDDEN_PORTS,
    PRIMARY,
    SECOND_PORT,
    BindingLimits,
    BindingResponder,
    Corner,
    SourceLimits,
)
from atmosphere.network.stun.message import Class, Message, decode_message, encode_message
from atmosphere.network.stun.values import ChangeRequest

from . import vectors

ID = bytes(range(12))
IPV4 = TransportAddress("192.0.2.7", 40000)
IPV6 = TransportAddress("2001:db8::7", 40000)
REQUEST = encode_message(Message(Class.REQUEST, ID))

#: Headers of IP and UDP, which a forger pays for as well.
WIRE = {IPV4: 28, IPV6: 48}


class AnswerTests(SynchronousTestCase):
    """
    What is answered, and with how much.
    """

    def test_plain(self) -> None:
        """
        A Binding request is answered with the source address and nothing else.
        """
        for source, size in ((IPV4, 32), (IPV6, 44)):
            responder = BindingResponder()
            answer = responder.respond(REQUEST, source, 0.0)
            assert answer is not None
            self.assertEqual(len(answer), size)
            expected = Message(Class.SUCCESS_RESPONSE, ID, ((XOR_MAPPED_ADDRESS, source),))
            self.assertEqual(decode_message(answer), expected)
            self.assertEqual(answer, encode_message(expected))
            self.assertEqual(responder.counters["answered"], 1)

    def test_with_attributes(self) -> None:
        """
        Attributes that everybody understands change nothing, credentials included.
        """
        responder = BindingResponder()
        for attributes in (((SOFTWARE, "x"),), ((USERNAME, "a"),)):
            data = encode_message(Message(Class.REQUEST, ID, attributes), key=b"k")
            answer = responder.respond(data, IPV4, 0.0)
            self.assertEqual(len(answer or b""), 32)

    def test_unknown_attributes(self) -> None:
        """
        Who demands what this server does not do is told so: 420, and what.
        """
        responder = BindingResponder()
        attributes = (
            (CHANGE_REQUEST, ChangeRequest(True, True)),
            (RESPONSE_PORT, 53),
            (PADDING, b"abcd"),
            (PRIORITY, 1),
            (PRIORITY, 2),
        )
        data = encode_message(Message(Class.REQUEST, ID, attributes))
        answer = decode_message(responder.respond(data, IPV4, 0.0) or b"")
        self.assertIs(answer.message_class, Class.ERROR_RESPONSE)
        error = answer.get(ERROR_CODE)
        assert error is not None
        self.assertEqual(error.code, 420)
        self.assertEqual(answer.get(UNKNOWN_ATTRIBUTES), (3, 0x27, 0x26, 0x24))
        self.assertEqual(responder.counters["refused"], 1)

    def test_amplification(self) -> None:
        """
        On the wire no answer is more than 1.4 times its request, success or error.
        """
        for source, header in WIRE.items():
            for unknown in range(20):
                body = b"".join(
                    number.to_bytes(2, "big") + b"\0\0"
                    for number in range(0x7000, 0x7000 + unknown)
                )
                data = b"\x00\x01" + len(body).to_bytes(2, "big") + REQUEST[4:] + body
                answer = BindingResponder().respond(data, source, 0.0)
                assert answer is not None
                self.assertLessEqual(len(answer) + header, 1.4 * (len(data) + header))

    def test_never_answered(self) -> None:
        """
        Responses, indications, other methods, STUN without cookie and no STUN at all.
        """
        responder = BindingResponder()
        for data in (
            encode_message(Message(Class.INDICATION, ID)),
            encode_message(Message(Class.SUCCESS_RESPONSE, ID)),
            encode_message(Message(Class.ERROR_RESPONSE, ID)),
            encode_message(Message(Class.REQUEST, ID, method=3)),
            vectors.RESPONSE_IPV4,
            REQUEST[:4] + bytes(4) + REQUEST[8:],
            REQUEST[:19],
            b"",
            b"\xc0" + bytes(1199),
        ):
            self.assertIsNone(responder.respond(data, IPV4, 0.0))
        self.assertEqual(responder.counters["ignored"], 9)
        answer = responder.respond(REQUEST, IPV4, 0.0)
        self.assertIsNone(responder.respond(answer or b"", IPV4, 0.0))

    def test_malformed(self) -> None:
        """
        A request that is not well-formed gets no answer.
        """
        responder = BindingResponder()
        for data in (REQUEST + b"\0", REQUEST[:3] + b"\x04" + REQUEST[4:], REQUEST + bytes(3)):
            self.assertIsNone(responder.respond(data, IPV4, 0.0))
        self.assertEqual(responder.counters["malformed"], 3)

    def test_forbidden_ports(self) -> None:
        """
        Nothing is sent to ports where another service would answer the answer.
        """
        responder = BindingResponder()
        self.assertEqual(FORBIDDEN_PORTS, {0, 19, 53, 123, 161, 389, 1900, 11211})
        for port in FORBIDDEN_PORTS:
            source = TransportAddress("192.0.2.7", port)
            self.assertIsNone(responder.respond(REQUEST, source, 0.0))
        self.assertEqual(responder.counters["forbidden_port"], 8)

    @settings(derandomize=True, max_examples=200, deadline=None)
    @given(st.binary(max_size=80))
    def test_any_bytes(self, body: bytes) -> None:
        """
        Whatever comes is counted once, and never answered with more than 1.4 times its size.
        """
        for data in (body, b"\x00\x01" + len(body).to_bytes(2, "big") + REQUEST[4:] + body):
            responder = BindingResponder()
            answer = responder.respond(data, IPV4, 0.0)
            self.assertEqual(sum(responder.counters.values()), 1)
            if answer is not None:
                self.assertLessEqual(len(answer) + 28, 1.4 * (len(data) + 28))


class LimitTests(SynchronousTestCase):
    """
    How much is answered.
    """

    def flood(self, responder: BindingResponder, hosts: list[str], now: float) -> int:
        """
        Send a request from each host.

        @return: how many were answered.
        """
        sources = [TransportAddress(host, 40000) for host in hosts]
        return sum(responder.respond(REQUEST, source, now) is not None for source in sources)

    def test_one_address(self) -> None:
        """
        One address gets 100 answers at once and then 50 a second; others are not disturbed.
        """
        responder = BindingResponder()
        self.assertEqual(self.flood(responder, ["192.0.2.7"] * 500, 0.0), 100)
        self.assertEqual(responder.counters["limited"], 400)
        self.assertEqual(self.flood(responder, ["192.0.2.7"] * 500, 1.0), 50)
        self.assertEqual(self.flood(responder, ["192.0.2.8"] * 500, 1.0), 100)

    def test_one_ipv6_network(self) -> None:
        """
        A /64 counts as one address.
        """
        responder = BindingResponder()
        hosts = [f"2001:db8::{number:x}" for number in range(500)]
        self.assertEqual(self.flood(responder, hosts, 0.0), 100)
        self.assertEqual(self.flood(responder, ["2001:db8:0:1::1"], 0.0), 1)

    def test_all_together(self) -> None:
        """
        All addresses together get 5,000 answers a second.
        """
        responder = BindingResponder()
        hosts = [f"10.{number >> 8}.{number & 255}.1" for number in range(6000)]
        self.assertEqual(self.flood(responder, hosts, 0.0), 5000)
        self.assertEqual(self.flood(responder, hosts, 0.5), 2500)

    def test_bounded_memory(self) -> None:
        """
        The table of sources does not grow, and forgets whom it has not heard for longest.
        """
        limits = SourceLimits(BindingLimits(rate=1, burst=1, sources=3))
        for number in range(100):
            self.assertEqual(limits.allow(b"hit!", 0.0), number == 0)
            limits.allow(number.to_bytes(4, "big"), 0.0)
        self.assertEqual(len(limits), 3)


FIRST, SECOND = TransportAddress("203.0.113.1", 3478), TransportAddress("203.0.113.1", 3479)


def padded(*attributes: Any, size: int = 128) -> bytes:
    """
    Make a request that is padded to a size.
    """
    short = encode_message(Message(Class.REQUEST, ID, attributes))
    padding = (PADDING, bytes(size - len(short) - 4))
    return encode_message(Message(Class.REQUEST, ID, (*attributes, padding)))


def change(*, address: bool = False, port: bool = False) -> Any:
    """
    Make CHANGE-REQUEST.
    """
    return CHANGE_REQUEST, ChangeRequest(address, port)


class DialBackTests(SynchronousTestCase):
    """
    A server with more than one socket.
    """

    def responder(self) -> BindingResponder:
        """
        Make a server with two ports.
        """
        return BindingResponder(corners={PRIMARY: FIRST, SECOND_PORT: SECOND})

    def assert_refused(self, responder: BindingResponder, data: bytes) -> None:
        """
        See that a request is answered by 420 for CHANGE-REQUEST, from where it came in.
        """
        answer = responder.answer(data, IPV4, 0.0)
        assert answer is not None
        message = decode_message(answer.data)
        self.assertEqual(message.get(UNKNOWN_ATTRIBUTES), (CHANGE_REQUEST.number,))
        self.assertEqual(answer.corner, PRIMARY)
        self.assertLessEqual(len(answer.data) + 28, 1.4 * (len(data) + 28))

    def test_plain(self) -> None:
        """
        Who does not ask for more gets the plain answer of 32 bytes.
        """
        answer = self.responder().answer(REQUEST, IPV4, 0.0)
        assert answer is not None
        self.assertEqual((len(answer.data), answer.corner), (32, PRIMARY))

    def test_padded(self) -> None:
        """
        Who pads is told of the other socket.
        """
        for source in (IPV4, IPV6):
            responder = self.responder()
            answer = responder.answer(padded(), source, 0.0)
            assert answer is not None
            message = decode_message(answer.data)
            self.assertEqual(answer.corner, PRIMARY)
            self.assertEqual(message.get(XOR_MAPPED_ADDRESS), source)
            host = "::" if source is IPV6 else FIRST.host
            self.assertEqual(message.get(RESPONSE_ORIGIN), TransportAddress(host, 3478))
            self.assertEqual(message.get(OTHER_ADDRESS), TransportAddress(host, 3479))
            self.assertEqual(len(answer.data), 92 if source is IPV6 else 56)
            self.assertEqual(responder.counters["dialled_back"], 1)

    def test_change_port(self) -> None:
        """
        An answer comes from the other port, whichever was asked.
        """
        for asked, other in ((PRIMARY, SECOND_PORT), (SECOND_PORT, PRIMARY)):
            answer = self.responder().answer(padded(change(port=True)), IPV4, 0.0, asked)
            assert answer is not None
            self.assertEqual(answer.corner, other)
            origin = decode_message(answer.data).get(RESPONSE_ORIGIN)
            self.assertEqual(origin, SECOND if other == SECOND_PORT else FIRST)

    def test_change_nothing(self) -> None:
        """
        CHANGE-REQUEST without a wish is answered from where it came in.
        """
        answer = self.responder().answer(padded(change()), IPV4, 0.0, SECOND_PORT)
        assert answer is not None
        self.assertEqual(answer.corner, SECOND_PORT)

    def to_port(self, port: int, *more: Any) -> bytes:
        """
        Make a request for an answer to another port, as long as the answer.
        """
        attributes = ((RESPONSE_PORT, port), (SOFTWARE, "s" * 28), *more)
        return encode_message(Message(Class.REQUEST, ID, attributes))

    def test_response_port(self) -> None:
        """
        An answer goes to another port of the address that asked, from the socket that
        was asked, and is no longer than the request.
        """
        for source in (IPV4, IPV6):
            responder = self.responder()
            data = self.to_port(40_001)
            answer = responder.answer(data, source, 0.0, SECOND_PORT)
            assert answer is not None
            self.assertEqual((answer.corner, answer.port), (SECOND_PORT, 40_001))
            self.assertEqual(decode_message(answer.data).get(XOR_MAPPED_ADDRESS), source)
            self.assertLessEqual(len(answer.data), len(data))
            self.assertEqual(responder.counters["dialled_back"], 1)

    def test_response_port_refused(self) -> None:
        """
        What would be longer than the request, asks for more besides, is over the rate
        or comes to a server with one socket is refused, to the port that asked; ports
        of other services get nothing.
        """
        short = encode_message(Message(Class.REQUEST, ID, ((RESPONSE_PORT, 40_001),)))
        responder = self.responder()
        limit = int(DIAL_BACK_LIMITS.burst)
        over = [responder.answer(self.to_port(40_001), IPV4, 0.0) for _ in range(limit + 1)]
        for answer in (
            self.responder().answer(short, IPV4, 0.0),
            self.responder().answer(self.to_port(40_001, change(port=True)), IPV4, 0.0),
            self.responder().answer(self.to_port(40_001, (PADDING, bytes(40))), IPV4, 0.0),
            BindingResponder().answer(self.to_port(40_001), IPV4, 0.0),
            over[-1],
        ):
            assert answer is not None
            self.assertIsNone(answer.port)
            unknown = decode_message(answer.data).get(UNKNOWN_ATTRIBUTES) or ()
            self.assertIn(RESPONSE_PORT.number, unknown)
        self.assertEqual({each and each.port for each in over[:-1]}, {40_001})
        for port in FORBIDDEN_PORTS:
            responder = self.responder()
            self.assertIsNone(responder.answer(self.to_port(port), IPV4, 0.0))
            self.assertEqual(responder.counters["forbidden_port"], 1)

    def test_no_other_address(self) -> None:
        """
        A server with one address refuses to answer from another, and does not keep silent.
        """
        for wish in (change(address=True), change(address=True, port=True)):
            self.assert_refused(self.responder(), padded(wish))

    def test_four_sockets(self) -> None:
        """
        With a second address the other socket is the one that differs in both.
        """
        corners = {
            Corner(address, port): TransportAddress(f"203.0.113.{1 + address}", 3478 + port)
            for address in (False, True)
            for port in (False, True)
        }
        for asked in corners:
            responder = BindingResponder(corners=dict(corners))
            answer = responder.answer(padded(change(address=True, port=True)), IPV4, 0.0, asked)
            assert answer is not None
            across = Corner(not asked.is_other_address, not asked.is_other_port)
            self.assertEqual(answer.corner, across)
            self.assertEqual(decode_message(answer.data).get(OTHER_ADDRESS), corners[across])

    def test_too_short(self) -> None:
        """
        No answer is longer than its request: short requests get the plain one, or a refusal.
        """
        for size in range(28, 60, 4):
            answer = self.responder().answer(padded(size=size), IPV4, 0.0)
            assert answer is not None
            self.assertEqual(len(answer.data), 56 if size >= 56 else 32)
        unpadded = encode_message(Message(Class.REQUEST, ID, (change(port=True),)))
        self.assert_refused(self.responder(), unpadded)
        self.assert_refused(self.responder(), padded(change(port=True), size=52))

    def test_rate(self) -> None:
        """
        After 20 at once an address gets 10 a second; what is over is refused, not
        dropped, lest it be taken for a filter.
        """
        responder = self.responder()
        request = padded(change(port=True))
        for now, good in ((0.0, 20), (1.0, 10)):
            for _ in range(40):
                responder.answer(request, IPV4, now)
            self.assertEqual(responder.counters["dialled_back"], good)
            responder.counters["dialled_back"] = 0
        self.assertEqual(responder.counters["refused"], 50)
        answer = responder.answer(padded(), IPV4, 1.0)
        assert answer is not None
        self.assertEqual(len(answer.data), 32)

    @settings(derandomize=True, max_examples=200, deadline=None)
    @given(
        st.lists(
            st.one_of(
                st.builds(lambda a, p: change(address=a, port=p), st.booleans(), st.booleans()),
                st.builds(lambda n: (PADDING, bytes(n)), st.integers(0, 120)),
                st.just((SOFTWARE, "x")),
            ),
            max_size=4,
        ),
        st.sampled_from((IPV4, IPV6)),
    )
    def test_no_amplification(self, attributes: list[Any], source: TransportAddress) -> None:
        """
        However a request is put together, its answer is at most 1.4 times as long on
        the wire, and no longer at all if it goes out by another socket.
        """
        data = encode_message(Message(Class.REQUEST, ID, tuple(attributes)))
        answer = self.responder().answer(data, source, 0.0)
        assert answer is not None
        header = WIRE[source]
        self.assertLessEqual(len(answer.data) + header, 1.4 * (len(data) + header))
        if answer.corner != PRIMARY:
            self.assertLessEqual(len(answer.data), len(data))
