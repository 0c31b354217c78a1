"""
Tests of L{atmosphere.network.ice.description}.
"""

from __future__ import annotations

from dataclasses import replace

from hypothesis import given, settings, strategies as st
from twisted.trial.unittest import SynchronousTestCase

from atmosphere.addresses import TransportAddress
from atmosphere.errors import DecodeError
from atmosphere.network.ice.candidates import host_candidate
from atmosphere.network.ice.description import (
    IceDescription,
    decode_description,
    encode_description,
)
from atmosphere.network.nat.credentials import Credentials

DESCRIPTION = IceDescription(
    Credentials("abcd", "p" * 22),
    (host_candidate(TransportAddress("192.0.2.1", 5000), 65535),),
    is_complete=True,
)
TEXT = (
    "a=ice-ufrag:abcd\r\n"
    "a=ice-pwd:pppppppppppppppppppppp\r\n"
    "a=ice-options:trickle\r\n"
    f"a=candidate:{DESCRIPTION.candidates[0].foundation}"
    " 1 udp 2130706431 192.0.2.1 5000 typ host\r\n"
    "a=end-of-candidates\r\n"
)


class DescriptionTests(SynchronousTestCase):
    """
    Lines in and out.
    """

    def test_round_trip(self) -> None:
        """
        What is written is read as the same.
        """
        self.assertEqual(encode_description(DESCRIPTION), TEXT)
        for each in (
            DESCRIPTION,
            replace(DESCRIPTION, is_lite=True),
            replace(DESCRIPTION, candidates=(), is_complete=False),
        ):
            self.assertEqual(decode_description(encode_description(each)), each)

    def test_in_other_sdp(self) -> None:
        """
        Lines about other things are passed over, whatever ends a line.
        """
        text = "v=0\no=- 1 1 IN IP4 0.0.0.0\na=mid:0\n" + TEXT.replace("\r\n", "\n")
        self.assertEqual(decode_description(text), DESCRIPTION)

    def test_out_of_form(self) -> None:
        """
        Missing, doubled or broken lines are refused, and too many.
        """
        candidate = TEXT.split("\r\n")[3]
        for text in (
            "",
            TEXT.replace("a=ice-ufrag:abcd\r\n", ""),
            TEXT.replace("abcd", "abc"),
            TEXT.replace("abcd", "ab d"),
            TEXT.replace("ice-pwd", "ice-pw"),
            TEXT.replace("pppp", "p"),
            TEXT + "a=ice-ufrag:abcd\r\n",
            TEXT + "a=candidate:x\r\n",
            TEXT + f"{candidate}\r\n" * 64,
            TEXT + "x" * 70_000,
        ):
            self.assertRaises(DecodeError, decode_description, text)

    def test_not_writable(self) -> None:
        """
        Credentials out of form are not written.
        """
        bad = replace(DESCRIPTION, credentials=Credentials("a", "b"))
        self.assertRaises((DecodeError, ValueError), encode_description, bad)

    @settings(max_examples=200, derandomize=True, deadline=None)
    @given(st.text(max_size=200) | st.text(max_size=60).map(lambda text: TEXT + text))
    def test_any_text(self, text: str) -> None:
        """
        Any text is a description, or a DecodeError.
        """
        try:
            decode_description(text)
        except DecodeError:
            pass
