"""
Tests for L{atmosphere.network.stun.attributes} and L{atmosphere.network.stun.values}.
"""

from typing import Any

from hypothesis import given, settings, strategies as st
from twisted.trial.unittest import SynchronousTestCase

from atmosphere.addresses import TransportAddress
from atmosphere.errors import DecodeError
from atmosphere.network.stun import attributes
from atmosphere.network.stun.attributes import ATTRIBUTES, RFC8489, Attribute
from atmosphere.network.stun.values import ChangeRequest, ErrorCode, PasswordAlgorithm

ID = bytes(range(12))
IPV4 = TransportAddress("192.0.2.1", 32853)
IPV6 = TransportAddress("2001:db8::7", 1)

#: For every attribute some values, and bytes that are not one.
SAMPLES: dict[Attribute[Any], tuple[list[Any], list[bytes]]] = {
    attributes.MAPPED_ADDRESS: ([IPV4, IPV6], [b"", bytes(8), b"\0\1" + bytes(18), bytes(5)]),
    attributes.XOR_MAPPED_ADDRESS: ([IPV4, IPV6], [b"", b"\0\3" + bytes(6), b"\0\2" + bytes(6)]),
    attributes.ALTERNATE_SERVER: ([IPV4, IPV6], [b""]),
    attributes.RESPONSE_ORIGIN: ([IPV4, IPV6], [b""]),
    attributes.OTHER_ADDRESS: ([IPV4, IPV6], [b""]),
    attributes.USERNAME: (["", "a:b", "é" * 254], [b"\xff", bytes(509)]),
    attributes.REALM: (["", "example.org"], [b"\xff", bytes(764)]),
    attributes.SOFTWARE: (["", "coturn"], [bytes(764)]),
    attributes.ALTERNATE_DOMAIN: (["example.org"], [bytes(256)]),
    attributes.NONCE: ([b"", bytes(763)], [bytes(764)]),
    attributes.MESSAGE_INTEGRITY: ([bytes(20)], [bytes(19), bytes(21), b""]),
    attributes.MESSAGE_INTEGRITY_SHA256: (
        [bytes(16), bytes(20), bytes(32)],
        [bytes(12), bytes(18), bytes(36), b""],
    ),
    attributes.USERHASH: ([bytes(32)], [bytes(31)]),
    attributes.FINGERPRINT: ([0, 2**32 - 1], [b"", bytes(3), bytes(5)]),
    attributes.PRIORITY: ([0, 2**32 - 1], [b"", bytes(8)]),
    attributes.ICE_CONTROLLED: ([0, 2**64 - 1], [b"", bytes(4)]),
    attributes.ICE_CONTROLLING: ([0, 2**64 - 1], [b"", bytes(4)]),
    attributes.USE_CANDIDATE: ([True], [b"\0"]),
    attributes.PADDING: ([b"", bytes(100)], []),
    attributes.CACHE_TIMEOUT: ([bytes(4)], []),
    attributes.RESPONSE_PORT: ([0, 65535], [b"", bytes(3), bytes(5)]),
    attributes.CHANGE_REQUEST: (
        [ChangeRequest(a, b) for a in (False, True) for b in (False, True)],
        [b"", bytes(3), bytes(8)],
    ),
    attributes.ERROR_CODE: (
        [ErrorCode(300), ErrorCode(420, "Unknown Attribute"), ErrorCode(699, "ß")],
        [b"", bytes(3), bytes(4), b"\0\0\2\0", b"\0\0\7\0", b"\0\0\4\x64", bytes(768)],
    ),
    attributes.UNKNOWN_ATTRIBUTES: ([(), (1, 0x7FFF)], [b"\0", bytes(3)]),
    attributes.PASSWORD_ALGORITHM: (
        [PasswordAlgorithm(1), PasswordAlgorithm(2, b"abc")],
        [b"", bytes(8), b"\0\1\0\4", b"\0\1"],
    ),
    attributes.PASSWORD_ALGORITHMS: (
        [(), (PasswordAlgorithm(1, b"x"), PasswordAlgorithm(2))],
        [b"\0", bytes(7), b"\0\1\0\4abc"],
    ),
}

#: Values that an attribute cannot hold.
UNFIT: list[tuple[Attribute[Any], Any]] = [
    (attributes.USERNAME, "é" * 255),
    (attributes.SOFTWARE, "x" * 764),
    (attributes.PRIORITY, 2**32),
    (attributes.PRIORITY, -1),
    (attributes.NONCE, bytes(764)),
    (attributes.MESSAGE_INTEGRITY_SHA256, bytes(18)),
    (attributes.ERROR_CODE, ErrorCode(299)),
    (attributes.ERROR_CODE, ErrorCode(700)),
    (attributes.ERROR_CODE, ErrorCode(400, "x" * 764)),
    (attributes.USE_CANDIDATE, False),
    (attributes.RESPONSE_PORT, 65536),
]


class AttributeTests(SynchronousTestCase):
    """
    Every row of the table.
    """

    def test_every_attribute_has_samples(self) -> None:
        """
        The samples below miss no row, and no number or name is given twice.
        """
        self.assertEqual(set(SAMPLES), set(ATTRIBUTES.values()))
        self.assertEqual(len({each.name for each in SAMPLES}), len(SAMPLES))
        self.assertEqual(len({each.number for each in SAMPLES}), len(SAMPLES))
        self.assertLess(set(RFC8489), set(ATTRIBUTES))

    def test_round_trip(self) -> None:
        """
        What was written is read again.
        """
        for attribute, (values, _) in SAMPLES.items():
            for value in values:
                encoded = attribute.encode(value, ID)
                self.assertEqual(attribute.decode(encoded, ID), value, attribute)

    def test_bad_bytes(self) -> None:
        """
        Bytes that are no value raise L{DecodeError}, and name the clause.
        """
        for attribute, (_, bad) in SAMPLES.items():
            for value in bad:
                with self.assertRaises(DecodeError, msg=f"{attribute} {value!r}") as caught:
                    attribute.decode(value, ID)
                self.assertIsNotNone(caught.exception.section)

    def test_our_mistakes(self) -> None:
        """
        A value that an attribute cannot hold is refused with C{ValueError}.
        """
        for attribute, value in UNFIT:
            with self.assertRaises(ValueError, msg=f"{attribute} {value!r}"):
                attribute.encode(value, ID)

    @settings(derandomize=True, max_examples=200, deadline=None)
    @given(st.sampled_from(list(SAMPLES)), st.binary(max_size=40))
    def test_any_bytes(self, attribute: Attribute[Any], value: bytes) -> None:
        """
        Any bytes are a value or raise L{DecodeError}.
        """
        try:
            attribute.decode(value, ID)
        except DecodeError:
            return

    def test_remarks_are_never_bad(self) -> None:
        """
        Text that is only shown is read even when it is not UTF-8.
        """
        self.assertEqual(attributes.SOFTWARE.decode(b"a\xff", ID), "a\ufffd")
        self.assertEqual(attributes.ERROR_CODE.decode(b"\0\0\4\x14\xff", ID).code, 420)

    def test_names(self) -> None:
        """
        An attribute shows itself by its name in the RFC.
        """
        self.assertEqual(repr(attributes.USE_CANDIDATE), "<USE-CANDIDATE>")
