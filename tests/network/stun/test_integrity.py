"""
Tests for L{atmosphere.network.stun.integrity}.
"""

import hmac

from twisted.trial.unittest import SynchronousTestCase

from atmosphere.network.stun.attributes import SOFTWARE, USERNAME
from atmosphere.network.stun.integrity import (
    add_fingerprint,
    add_integrity,
    add_integrity_sha256,
    long_term_key,
    short_term_key,
    verify_fingerprint,
    verify_integrity,
)
from atmosphere.network.stun.message import Class, Message, encode_message

from . import vectors

KEY = short_term_key(vectors.PASSWORD)
PLAIN = encode_message(Message(Class.REQUEST, bytes(12), ((USERNAME, "a:b"),)))


class VectorTests(SynchronousTestCase):
    """
    The sample messages of the RFCs.
    """

    def test_short_term(self) -> None:
        """
        RFC 5769 §2.1 to §2.3 hold under their password, and under no other.
        """
        for data in (vectors.REQUEST, vectors.RESPONSE_IPV4, vectors.RESPONSE_IPV6):
            self.assertTrue(verify_integrity(data, KEY))
            self.assertTrue(verify_fingerprint(data))
            self.assertFalse(verify_integrity(data, KEY + b"!"))

    def test_long_term(self) -> None:
        """
        RFC 5769 §2.4 holds under the key made of username, realm and password.
        """
        key = long_term_key(vectors.LONG_TERM_USERNAME, vectors.REALM, vectors.LONG_TERM_PASSWORD)
        self.assertTrue(verify_integrity(vectors.LONG_TERM_REQUEST, key))
        self.assertFalse(verify_fingerprint(vectors.LONG_TERM_REQUEST))

    def test_sha256(self) -> None:
        """
        RFC 8489 B.1, set right, holds under the MD5 key.
        """
        key = long_term_key(vectors.LONG_TERM_USERNAME, vectors.REALM, vectors.LONG_TERM_PASSWORD)
        self.assertTrue(verify_integrity(vectors.SHA256_REQUEST, key))

    def test_sha256_as_printed(self) -> None:
        """
        The HMAC that RFC 8489 B.1 prints is that of the length it prints, under a SHA-256 key.
        """
        key = long_term_key(
            vectors.LONG_TERM_USERNAME,
            vectors.REALM,
            vectors.LONG_TERM_PASSWORD,
            is_sha256=True,
        )
        covered = vectors.SHA256_REQUEST[:-36]
        printed = b"\xe4\x68\x6c\x8f\x0e\xde\xb5\x90\x13\xe0\x70\x90\x01\x0a\x93\xef"
        wrong = covered[:2] + b"\x00\x9c" + covered[4:]
        self.assertEqual(hmac.digest(key, wrong, "sha256")[:16], printed)

    def test_made_again(self) -> None:
        """
        What stands before the seals gives the same seals when sealed again.
        """
        data = vectors.REQUEST
        self.assertEqual(add_fingerprint(add_integrity(data[:-32], KEY)), data)


class IntegrityTests(SynchronousTestCase):
    """
    What protects a message, and what only seems to.
    """

    def test_every_changed_bit_is_seen(self) -> None:
        """
        A message with any one bit changed before the end of its integrity does not hold.
        """
        for sealed in (add_integrity(PLAIN, KEY), add_integrity_sha256(PLAIN, KEY, 16)):
            for position in range(len(sealed)):
                if position in (2, 3):
                    continue  # the length is set anew before the check
                changed = bytearray(sealed)
                changed[position] ^= 1
                self.assertFalse(verify_integrity(bytes(changed), KEY), position)

    def test_unprotected(self) -> None:
        """
        A message without integrity, and bytes that are none, do not hold.
        """
        for data in (PLAIN, add_fingerprint(PLAIN), b"", PLAIN[:19], PLAIN[:-1], PLAIN[:22]):
            self.assertFalse(verify_integrity(data, KEY))

    def test_wrong_lengths(self) -> None:
        """
        An HMAC that is cut off more than allowed does not hold, even if what is left is right.
        """
        good = add_integrity_sha256(PLAIN, KEY, 32)
        self.assertTrue(verify_integrity(good, KEY))
        for size in (0, 4, 12, 17, 36):
            value = good[-32:][:size].ljust(size, b"\0")
            bad = good[:-36] + b"\x00\x1c\x00" + bytes((size,)) + value + bytes(-size & 3)
            self.assertFalse(verify_integrity(bad, KEY), size)
        self.assertFalse(verify_integrity(PLAIN + b"\x00\x08\x00\x00", KEY))

    def test_truncated_sha256(self) -> None:
        """
        MESSAGE-INTEGRITY-SHA256 may have 16 to 32 bytes in steps of 4.
        """
        for size in (16, 20, 24, 28, 32):
            self.assertTrue(verify_integrity(add_integrity_sha256(PLAIN, KEY, size), KEY))
        for size in (0, 12, 17, 36):
            self.assertRaises(ValueError, add_integrity_sha256, PLAIN, KEY, size)

    def test_stronger_one_counts(self) -> None:
        """
        Where both are there the stronger decides, and MESSAGE-INTEGRITY alone is not enough.
        """
        both = add_integrity_sha256(add_integrity(PLAIN, KEY), KEY)
        self.assertTrue(verify_integrity(both, KEY))
        self.assertTrue(verify_integrity(add_fingerprint(both), KEY))
        bad = both[:-1] + bytes((both[-1] ^ 1,))
        self.assertFalse(verify_integrity(bad, KEY))

    def test_what_follows_does_not_count(self) -> None:
        """
        Attributes that somebody appends to a protected message change nothing.
        """
        appended = add_integrity(PLAIN, KEY) + b"\x80\x22\x00\x04evil"
        self.assertTrue(verify_integrity(appended, KEY))
        message = Message(Class.REQUEST, bytes(12), ((SOFTWARE, "evil"),))
        self.assertFalse(verify_integrity(encode_message(message), KEY))

    def test_fingerprint(self) -> None:
        """
        FINGERPRINT holds as the last attribute of an unchanged message only.
        """
        good = add_fingerprint(PLAIN)
        self.assertTrue(verify_fingerprint(good))
        for bad in (PLAIN, good[:-1], good + bytes(4), good[:-1] + b"\xff", b"", bytes(28)):
            self.assertFalse(verify_fingerprint(bad))

    def test_too_long(self) -> None:
        """
        A message that its length field cannot express is refused.
        """
        self.assertRaises(ValueError, add_integrity, bytes(20 + 0xFFFF), KEY)
