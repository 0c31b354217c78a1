"""
Tests for L{atmosphere.network.relay.reader}: any bytes become a frame or a DecodeError.
"""

from collections.abc import Mapping

from hypothesis import given, settings, strategies as st
from twisted.trial.unittest import SynchronousTestCase

from atmosphere import wire
from atmosphere.addresses import TransportAddress
from atmosphere.errors import DecodeError
from atmosphere.identity import NodeKey
from atmosphere.network.relay.batches import encode_batches
from atmosphere.network.relay.frames import (
    MAX_MESSAGE,
    Absent,
    Challenge,
    Deliver,
    Drain,
    Frame,
    FrameType,
    Hello,
    HelloCredentials,
    Notice,
    Ping,
    Pong,
    Refused,
    Send,
    Unknown,
    Welcome,
)
from atmosphere.network.relay.reader import decode

NODE = NodeKey(b"k" * 32).node_id
SETTINGS = settings(derandomize=True, max_examples=200, deadline=None)

text = st.text(st.characters(codec="utf-8"), max_size=60)
moment = st.integers(0, 1 << 50).map(lambda milliseconds: milliseconds / 1000)
frames = st.one_of(
    st.builds(Challenge, st.binary(min_size=32, max_size=32), moment),
    st.builds(
        Hello,
        st.just(NODE),
        st.text(st.characters(codec="ascii"), min_size=1, max_size=255),
        st.binary(min_size=16, max_size=16),
        st.builds(
            HelloCredentials,
            st.text(st.characters(codec="ascii"), max_size=64),
            st.binary(max_size=4096),
            st.binary(max_size=2048),
        ),
        st.binary(min_size=64, max_size=64),
    ),
    st.builds(
        Welcome,
        st.just(TransportAddress("2001:db8::1", 7777)),
        st.lists(st.integers(1, 65535), max_size=16).map(tuple),
        moment,
        st.integers(0, 1 << 50),
        st.integers(0, 1 << 50),
        st.booleans(),
        st.text(st.characters(codec="ascii"), max_size=64),
    ),
    st.just(Absent(NODE)),
    st.builds(Drain, st.integers(0, 86_400), st.lists(text, max_size=8).map(tuple)),
    st.builds(Notice, st.integers(0, 65535), text),
    st.builds(Refused, st.integers(0, 65535), text),
    st.builds(Ping, st.binary(min_size=8, max_size=8)),
    st.builds(Pong, st.binary(min_size=8, max_size=8)),
)

HELLO = {
    "node": NODE.raw,
    "authority": "relay:1",
    "instance": bytes(16),
    "mesh": "",
    "chain": b"",
    "ticket": b"",
    "signature": bytes(64),
}
WELCOME = {
    "observed": "192.0.2.1:7",
    "stun": [3478],
    "time": 1,
    "rate": 0,
    "burst": 0,
    "open": True,
    "mesh": "",
}


class RoundTripTests(SynchronousTestCase):
    """
    What is written can be read.
    """

    @SETTINGS
    @given(frames)
    def test_round_trip(self, frame: Frame) -> None:
        """
        Every frame comes back as it was.
        """
        assert not isinstance(frame, (Send, Deliver, Unknown))
        self.assertEqual(decode(frame.encode()), frame)

    def test_batches(self) -> None:
        """
        A send and a deliver give the peer and the datagrams.
        """
        [send] = encode_batches(FrameType.SEND, NODE.raw, [b"aa", b"b"])
        self.assertEqual(decode(send), Send(NODE, 2, b"aab"))
        [deliver] = encode_batches(FrameType.DELIVER, NODE.raw, [b"aa", b"b"])
        self.assertEqual(decode(deliver), Deliver(NODE, 2, b"aab"))

    def test_unknown_types(self) -> None:
        """
        A type that does not exist yet is told, not refused.
        """
        self.assertEqual(decode(b"\x7fwhatever"), Unknown(0x7F))


class BadInputTests(SynchronousTestCase):
    """
    What is broken is refused, and nothing else happens.
    """

    @SETTINGS
    @given(st.binary(max_size=300))
    def test_any_bytes(self, message: bytes) -> None:
        """
        Any bytes are a frame or a DecodeError.
        """
        try:
            decode(message)
        except DecodeError:
            pass

    @SETTINGS
    @given(frames, st.data())
    def test_mutations(self, frame: Frame, data: st.DataObject) -> None:
        """
        A frame with some bytes changed, cut or added is a frame or a DecodeError.
        """
        assert not isinstance(frame, (Send, Deliver, Unknown))
        mutated = bytearray(frame.encode())
        for _ in range(data.draw(st.integers(1, 4))):
            if mutated:
                at = data.draw(st.integers(0, len(mutated) - 1))
                mutated[at : at + data.draw(st.integers(0, 2))] = data.draw(st.binary(max_size=2))
        try:
            decode(bytes(mutated))
        except DecodeError:
            pass

    def refuse(self, message: bytes) -> None:
        """
        Expect that a frame is refused.
        """
        with self.assertRaises(DecodeError):
            decode(message)

    def test_sizes(self) -> None:
        """
        Frames of fixed size have it; none is empty or longer than the limit.
        """
        for message in (
            b"",
            bytes([FrameType.CHALLENGE]) + bytes(39),
            bytes([FrameType.CHALLENGE]) + bytes(41),
            bytes([FrameType.ABSENT]) + bytes(31),
            bytes([FrameType.PING]) + bytes(7),
            bytes([FrameType.PONG]) + bytes(9),
            bytes([FrameType.NOTICE]) + bytes(1),
            bytes([FrameType.REFUSED]) + bytes(515),
            b"\x7f" + bytes(MAX_MESSAGE),
        ):
            self.refuse(message)

    def test_text_that_is_not_utf8(self) -> None:
        """
        A notice whose text is not UTF-8 is refused.
        """
        self.refuse(b"\x21\x00\x00\xff")

    def test_keys_that_name_no_node(self) -> None:
        """
        A key of small order is no destination.
        """
        self.refuse(bytes([FrameType.ABSENT]) + bytes(32))
        self.refuse(bytes([FrameType.SEND]) + bytes(32) + b"\x00\x01x")

    def refuse_with(self, kind: int, fields: Mapping[str, object], **changes: object) -> None:
        """
        Expect that each change makes a good map a bad one.
        """
        for name, value in changes.items():
            changed = {key: each for key, each in fields.items() if key != name}
            self.refuse(bytes([kind]) + wire.encode(changed))
            self.refuse(bytes([kind]) + wire.encode({**changed, name: value}))

    def test_hello_fields(self) -> None:
        """
        Each field of a hello has to be there, of its type and length.
        """
        decode(b"\x02" + wire.encode(HELLO))
        self.refuse_with(
            FrameType.HELLO,
            HELLO,
            node=bytes(31),
            authority="",
            instance=bytes(15),
            mesh="m" * 65,
            chain=bytes(4097),
            ticket="text",
            signature=bytes(65),
        )
        self.refuse_with(FrameType.HELLO, HELLO, authority="h" * 256)
        self.refuse(b"\x02" + wire.encode({**HELLO, "more": bytes(8192)}))

    def test_welcome_fields(self) -> None:
        """
        Each field of a welcome has to be there, of its type and in its range.
        """
        decode(b"\x03" + wire.encode(WELCOME))
        self.refuse_with(
            FrameType.WELCOME,
            WELCOME,
            observed="somewhere",
            stun=[1] * 17,
            time=-1,
            rate=True,
            burst=1 << 60,
            mesh=b"bytes",
        )

    def test_what_is_no_port_is_left_out(self) -> None:
        """
        Of a welcome's ports only those count that are ports, of a drain's URLs those that are text.
        """
        welcome = decode(b"\x03" + wire.encode({**WELCOME, "stun": [0, "x", 70000, 3478]}))
        assert isinstance(welcome, Welcome)
        self.assertEqual(welcome.stun_ports, (3478,))
        drain = decode(b"\x20" + wire.encode({"seconds": 1, "alternatives": ["a", 5, "b" * 257]}))
        self.assertEqual(drain, Drain(1, ("a",)))

    def test_maps_that_are_none(self) -> None:
        """
        Something else than a map, and a map of too many fields, are refused.
        """
        self.refuse(b"\x03" + wire.encode([1]))
        self.refuse(b"\x03" + wire.encode({str(number): 0 for number in range(17)}))

    def test_unknown_fields_are_left_alone(self) -> None:
        """
        A field that a later version adds does no harm.
        """
        self.assertIsInstance(decode(b"\x03" + wire.encode({**WELCOME, "later": 1})), Welcome)
