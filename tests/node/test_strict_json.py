"""
Tests for L{atmosphere.node.strict_json}.
"""

from __future__ import annotations

import json

from hypothesis import given, settings, strategies
from twisted.trial.unittest import SynchronousTestCase

from atmosphere.errors import DecodeError
from atmosphere.node.strict_json import decode_json, encode_json

LIMIT = 64 * 1024

values = strategies.recursive(
    strategies.none()
    | strategies.booleans()
    | strategies.integers(-(2**60), 2**60)
    | strategies.floats(allow_nan=False, allow_infinity=False)
    | strategies.text(max_size=10),
    lambda inner: (
        strategies.lists(inner, max_size=3)
        | strategies.dictionaries(strategies.text(max_size=5), inner, max_size=3)
    ),
    max_leaves=6,
)


class StrictJSONTests(SynchronousTestCase):
    """
    What is read, and what is not.
    """

    @given(values)
    @settings(derandomize=True, max_examples=200, deadline=None)
    def test_round_trip(self, value: object) -> None:
        """
        What was written is read, from one line of ASCII.
        """
        data = encode_json(value)
        self.assertTrue(data.isascii() and b"\n" not in data)
        self.assertEqual(decode_json(data, maximum_length=LIMIT, maximum_depth=99), value)

    @given(strategies.binary(max_size=100) | strategies.text('[]{}",:0123eE-+.', max_size=40))
    @settings(derandomize=True, max_examples=200, deadline=None)
    def test_any_bytes(self, data: bytes | str) -> None:
        """
        Any bytes are JSON or refused in our own words.
        """
        given = data if isinstance(data, bytes) else data.encode("ascii")
        try:
            value = decode_json(given, maximum_length=LIMIT)
        except DecodeError:
            return
        self.assertEqual(json.loads(given), value)

    def test_refused(self) -> None:
        """
        Liberties of the library beneath are not taken.
        """
        for data in (
            b'{"a":1,"a":1}',
            b"NaN",
            b"-Infinity",
            b"1e999",
            b"[" * 9 + b"]" * 9,
            b'{"a":' * 9 + b"1" + b"}" * 9,
            b"1" * 5000,
            b'"' + b"x" * LIMIT + b'"',
            b"\xef\xbb\xbf1",
            b"",
        ):
            self.assertRaises(DecodeError, decode_json, data, maximum_length=LIMIT)

    def test_deep(self) -> None:
        """
        64 KiB of brackets are refused, and exhaust nothing.
        """
        for bracket in (b"[", b'{"":'):
            data = (bracket * LIMIT)[:LIMIT]
            self.assertRaises(DecodeError, decode_json, data, maximum_length=LIMIT)
