"""
Tests for L{atmosphere.network.stun.message}.
"""

from typing import Any

from hypothesis import given, settings, strategies as st
from twisted.trial.unittest import SynchronousTestCase

from atmosphere.addresses import TransportAddress
from atmosphere.errors import DecodeError
from atmosphere.network.stun.attributes import (
    ATTRIBUTES,
    ERROR_CODE,
    FINGERPRINT,
    ICE_CONTROLLED,
    ICE_CONTROLLING,
    MESSAGE_INTEGRITY,
    MESSAGE_INTEGRITY_SHA256,
    NONCE,
    PADDING,
    PRIORITY,
    REALM,
    RFC8489,
    SOFTWARE,
    USE_CANDIDATE,
    USERHASH,
    USERNAME,
    XOR_MAPPED_ADDRESS,
    Attribute,
)
from atmosphere.network.stun.integrity import verify_fingerprint, verify_integrity
from atmosphere.network.stun.message import (
    BINDING,
    MAXIMUM_ATTRIBUTES,
    Class,
    Message,
    decode_message,
    encode_check,
    encode_check_error,
    encode_check_response,
    encode_message,
)
from atmosphere.network.stun.values import ErrorCode

from . import vectors

ID = bytes(range(12))
KEY = b"password"

VALUES: dict[Attribute[Any], st.SearchStrategy[Any]] = {
    USERNAME: st.text(max_size=100),
    PRIORITY: st.integers(0, 2**32 - 1),
    ICE_CONTROLLED: st.integers(0, 2**64 - 1),
    USE_CANDIDATE: st.just(True),
    PADDING: st.binary(max_size=50),
    NONCE: st.binary(max_size=50),
    ERROR_CODE: st.builds(ErrorCode, st.integers(300, 699), st.text(max_size=50)),
    XOR_MAPPED_ADDRESS: st.builds(
        TransportAddress, st.ip_addresses().map(str), st.integers(0, 65535)
    ),
}

MESSAGES = st.builds(
    Message,
    st.sampled_from(Class),
    st.binary(min_size=12, max_size=12),
    st.lists(
        st.sampled_from(list(VALUES)).flatmap(lambda a: VALUES[a].map(lambda value: (a, value))),
        max_size=10,
    ).map(tuple),
    st.integers(0, 0xFFF),
)


class VectorTests(SynchronousTestCase):
    """
    The sample messages of the RFCs.
    """

    def test_request(self) -> None:
        """
        RFC 5769 §2.1 is a connectivity check.
        """
        message = decode_message(vectors.REQUEST)
        self.assertEqual((message.message_class, message.method), (Class.REQUEST, BINDING))
        self.assertEqual(message.transaction_id, vectors.TRANSACTION_ID)
        self.assertEqual(message.get(SOFTWARE), "STUN test client")
        self.assertEqual(message.get(PRIORITY), 0x6E0001FF)
        self.assertEqual(message.get(ICE_CONTROLLED), 0x932FF9B151263B36)
        self.assertEqual(message.get(USERNAME), "evtj:h6vY")
        self.assertEqual(message.get(FINGERPRINT), 0xE57A3BCF)
        self.assertFalse(message.has(ICE_CONTROLLING))
        self.assertFalse(message.is_response)

    def test_responses(self) -> None:
        """
        RFC 5769 §2.2 and §2.3 say where the request came from.
        """
        for data, host in (
            (vectors.RESPONSE_IPV4, "192.0.2.1"),
            (vectors.RESPONSE_IPV6, "2001:db8:1234:5678:11:2233:4455:6677"),
        ):
            message = decode_message(data)
            self.assertIs(message.message_class, Class.SUCCESS_RESPONSE)
            self.assertTrue(message.is_response)
            self.assertEqual(message.get(XOR_MAPPED_ADDRESS), TransportAddress(host, 32853))
            self.assertEqual(message.get(SOFTWARE), "test vector")

    def test_long_term(self) -> None:
        """
        RFC 5769 §2.4 and RFC 8489 B.1 name user, realm and nonce.
        """
        message = decode_message(vectors.LONG_TERM_REQUEST)
        self.assertEqual(message.get(USERNAME), vectors.LONG_TERM_USERNAME)
        self.assertEqual(message.get(REALM), vectors.REALM)
        self.assertEqual(message.get(NONCE), b"f//499k954d6OL34oL9FSTvy64sA")
        message = decode_message(vectors.SHA256_REQUEST)
        self.assertEqual(message.get(USERHASH), vectors.SHA256_REQUEST[24:56])
        self.assertEqual(message.get(NONCE), b"obMatJos2AAACf//499k954d6OL34oL9FSTvy64sA")
        self.assertEqual(message.get(MESSAGE_INTEGRITY_SHA256), vectors.SHA256_REQUEST[-32:])

    def test_made_again(self) -> None:
        """
        The messages whose padding is of zeros come out as they stand in the RFC.
        """
        for data in (vectors.LONG_TERM_REQUEST, vectors.SHA256_REQUEST):
            self.assertEqual(encode_message(decode_message(data)), data)


class MessageTests(SynchronousTestCase):
    """
    Any message, and any bytes.
    """

    @settings(derandomize=True, max_examples=200, deadline=None)
    @given(MESSAGES)
    def test_round_trip(self, message: Message) -> None:
        """
        What was written is read again.
        """
        self.assertEqual(decode_message(encode_message(message)), message)

    @settings(derandomize=True, max_examples=200, deadline=None)
    @given(st.binary(max_size=200), st.integers(0, 0x3FFF))
    def test_any_bytes(self, body: bytes, kind: int) -> None:
        """
        Bytes behind a right header are a message or raise L{DecodeError}.
        """
        body = body[: len(body) & ~3]
        header = kind.to_bytes(2, "big") + len(body).to_bytes(2, "big") + b"\x21\x12\xa4\x42" + ID
        for data in (body, header + body):
            try:
                self.assertIsInstance(decode_message(data), Message)
            except DecodeError:
                continue

    @settings(derandomize=True, max_examples=200, deadline=None)
    @given(
        st.sampled_from(
            [
                vectors.REQUEST,
                vectors.RESPONSE_IPV6,
                vectors.LONG_TERM_REQUEST,
                vectors.SHA256_REQUEST,
            ]
        ),
        st.integers(0, 90),
        st.binary(min_size=1, max_size=6),
    )
    def test_damaged(self, data: bytes, start: int, bad: bytes) -> None:
        """
        A damaged message is a message or raises L{DecodeError}, and integrity just says no.
        """
        damaged = data[:start] + bad + data[start + len(bad) :]
        verify_integrity(damaged, KEY)
        verify_fingerprint(damaged)
        try:
            decode_message(damaged)
        except DecodeError:
            return

    def test_classes_and_methods(self) -> None:
        """
        Class and method are woven into the first 14 bits as RFC 8489 §5 draws it.
        """
        for kind, message_class, method in (
            (0x0001, Class.REQUEST, 1),
            (0x0011, Class.INDICATION, 1),
            (0x0101, Class.SUCCESS_RESPONSE, 1),
            (0x0111, Class.ERROR_RESPONSE, 1),
            (0x0113, Class.ERROR_RESPONSE, 3),
            (0x3EEF, Class.REQUEST, 0xFFF),
            (0x3FFF, Class.ERROR_RESPONSE, 0xFFF),
        ):
            data = encode_message(Message(message_class, ID, method=method))
            self.assertEqual(int.from_bytes(data[:2], "big"), kind)
            message = decode_message(data)
            self.assertEqual((message.message_class, message.method), (message_class, method))

    def test_not_stun(self) -> None:
        """
        No cookie, a wrong length or set first bits: not STUN.
        """
        good = encode_message(Message(Class.REQUEST, ID, ((SOFTWARE, "abcd"),)))
        for bad in (
            b"",
            good[:19],
            good[:-1],
            good + b"\0",
            good + bytes(4),
            b"\x40" + good[1:],
            b"\x80" + good[1:],
            good[:4] + bytes(4) + good[8:],
            good[:3] + b"\x07" + good[4:],
            good[:3] + b"\x04" + good[4:-4],
        ):
            self.assertRaises(DecodeError, decode_message, bad)

    def test_unknown_attributes(self) -> None:
        """
        Unknown attributes that must be understood are reported, others are left out.
        """
        body = b"\x7f\x01\x00\x00" + b"\xff\x01\x00\x03abc\0" + b"\x00\x02\x00\x01a\0\0\0"
        data = b"\x00\x01\x00" + bytes((len(body),)) + b"\x21\x12\xa4\x42" + ID + body
        message = decode_message(data)
        self.assertEqual(message.attributes, ())
        self.assertEqual(message.unknown_required, (0x7F01, 0x0002))

    def test_smaller_table(self) -> None:
        """
        What a receiver does not understand is unknown to it, though the table knows it.
        """
        data = encode_check(
            ID, username="a:b", key=KEY, priority=1, tie_breaker=2, is_controlling=True
        )
        self.assertEqual(decode_message(data, RFC8489).unknown_required, (PRIORITY.number,))
        self.assertEqual(decode_message(data, ATTRIBUTES).unknown_required, ())

    def test_after_the_seals(self) -> None:
        """
        Nothing counts behind MESSAGE-INTEGRITY but its stronger sister and FINGERPRINT.
        """
        extra = ((PRIORITY, 7),)
        for seals in (
            ((MESSAGE_INTEGRITY, bytes(20)),),
            ((MESSAGE_INTEGRITY_SHA256, bytes(32)),),
            ((MESSAGE_INTEGRITY, bytes(20)), (FINGERPRINT, 1)),
        ):
            data = encode_message(Message(Class.REQUEST, ID, (*seals, *extra, *seals)))
            self.assertEqual(decode_message(data).attributes, seals)
        late = encode_message(
            Message(Class.REQUEST, ID, ((FINGERPRINT, 1), (MESSAGE_INTEGRITY, bytes(20))))
        )
        self.assertEqual(decode_message(late).attributes, ((FINGERPRINT, 1),))
        data = encode_message(Message(Class.REQUEST, ID, ((PRIORITY, 1),)), key=KEY)
        data += b"\x7f\x01\x00\x00"
        data = data[:3] + bytes((len(data) - 20,)) + data[4:]
        self.assertEqual(decode_message(data).unknown_required, ())

    def test_first_one_counts(self) -> None:
        """
        Of an attribute that is there twice the first is given out.
        """
        message = Message(Class.REQUEST, ID, ((PRIORITY, 1), (PRIORITY, 2)))
        self.assertEqual(decode_message(encode_message(message)).get(PRIORITY), 1)

    def test_too_many_attributes(self) -> None:
        """
        A message of nothing but attribute headers is refused before it costs much.
        """
        for count, is_good in ((MAXIMUM_ATTRIBUTES, True), (MAXIMUM_ATTRIBUTES + 1, False)):
            data = encode_message(Message(Class.REQUEST, ID, ((SOFTWARE, ""),) * count))
            if is_good:
                self.assertEqual(len(decode_message(data).attributes), count)
            else:
                self.assertRaises(DecodeError, decode_message, data)

    def test_our_mistakes(self) -> None:
        """
        A message that cannot be written is refused with C{ValueError}.
        """
        for message in (
            Message(Class.REQUEST, bytes(11)),
            Message(Class.REQUEST, ID, method=0x1000),
            Message(Class.REQUEST, ID, ((PADDING, bytes(0xFFFF)),)),
            Message(Class.REQUEST, ID, ((PRIORITY, -1),)),
        ):
            self.assertRaises(ValueError, encode_message, message)

    def test_all_seals(self) -> None:
        """
        A message may carry both kinds of integrity and a fingerprint.
        """
        data = encode_message(Message(Class.REQUEST, ID), key=KEY, key_sha256=KEY, fingerprint=True)
        self.assertTrue(verify_integrity(data, KEY))
        self.assertTrue(verify_fingerprint(data))
        self.assertEqual(len(decode_message(data).attributes), 3)


class CheckTests(SynchronousTestCase):
    """
    Connectivity checks.
    """

    def test_check(self) -> None:
        """
        A check carries what RFC 8445 §7.1 asks for, and is protected.
        """
        data = encode_check(
            ID,
            username="them:us",
            key=KEY,
            priority=99,
            tie_breaker=2**63,
            is_controlling=True,
            use_candidate=True,
        )
        self.assertTrue(verify_integrity(data, KEY))
        self.assertTrue(verify_fingerprint(data))
        message = decode_message(data)
        self.assertIs(message.message_class, Class.REQUEST)
        self.assertEqual(message.get(USERNAME), "them:us")
        self.assertEqual(message.get(PRIORITY), 99)
        self.assertEqual(message.get(ICE_CONTROLLING), 2**63)
        self.assertTrue(message.has(USE_CANDIDATE))
        self.assertTrue(message.get(USE_CANDIDATE))
        self.assertFalse(message.has(PADDING))
        self.assertLessEqual(len(data), 200)

    def test_controlled(self) -> None:
        """
        The controlled side says so, and nominates nothing.
        """
        data = encode_check(
            ID, username="a:b", key=KEY, priority=1, tie_breaker=5, is_controlling=False
        )
        message = decode_message(data)
        self.assertEqual(message.get(ICE_CONTROLLED), 5)
        self.assertFalse(message.has(ICE_CONTROLLING))
        self.assertFalse(message.has(USE_CANDIDATE))

    def test_size(self) -> None:
        """
        A check and its response are padded to the very size that was asked for.
        """
        source = TransportAddress("192.0.2.7", 7777)
        for size in (200, 1200, 1452):
            check = encode_check(
                ID,
                username="a:b",
                key=KEY,
                priority=1,
                tie_breaker=5,
                is_controlling=True,
                size=size,
            )
            response = encode_check_response(ID, source, KEY, size=size)
            for data in (check, response):
                self.assertEqual(len(data), size)
                self.assertTrue(verify_integrity(data, KEY))
                self.assertTrue(decode_message(data).has(PADDING))

    def test_bad_size(self) -> None:
        """
        A size that cannot be met is refused.
        """
        source = TransportAddress("192.0.2.7", 7777)
        for size in (20, 64, 1201):
            self.assertRaises(ValueError, encode_check_response, ID, source, KEY, size)
        self.assertEqual(len(encode_check_response(ID, source, KEY, 68)), 68)

    def test_responses(self) -> None:
        """
        A response says where the check came from, an error response what was wrong with it.
        """
        source = TransportAddress("2001:db8::7", 7777)
        message = decode_message(encode_check_response(ID, source, KEY))
        self.assertIs(message.message_class, Class.SUCCESS_RESPONSE)
        self.assertEqual(message.get(XOR_MAPPED_ADDRESS), source)
        data = encode_check_error(ID, ErrorCode(487, "Role Conflict"), KEY)
        self.assertTrue(verify_integrity(data, KEY))
        self.assertEqual(decode_message(data).get(ERROR_CODE), ErrorCode(487, "Role Conflict"))
