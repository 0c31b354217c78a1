"""
Tests for L{atmosphere.services.first_words}.
"""

from __future__ import annotations

from twisted.internet.testing import StringTransport
from twisted.trial.unittest import SynchronousTestCase

from atmosphere.services.first_words import ENOUGH, FirstWords


class FirstWordsTests(SynchronousTestCase):
    """
    What is said on which stream.
    """

    def test_not_said(self) -> None:
        """
        What was not said while the stream was opened is said when it is accepted.
        """
        words, stream = FirstWords(b"one "), StringTransport()
        words.add(b"two")
        self.assertFalse(words.were_said)
        words.finish(stream)
        self.assertEqual(stream.value(), b"one two")

    def test_said(self) -> None:
        """
        What was said is not said again on that stream, and what is added goes at once.
        """
        words, stream = FirstWords(b"one "), StringTransport()
        words.say(stream)
        self.assertTrue(words.were_said)
        words.add(b"two")
        self.assertEqual(stream.value(), b"one two")
        words.finish(stream)
        self.assertEqual(stream.value(), b"one two")

    def test_nothing_to_say(self) -> None:
        """
        A client that lets the other side speak first has said nothing.
        """
        words, stream = FirstWords(), StringTransport()
        words.say(stream)
        self.assertFalse(words.were_said)
        words.add(b"one")
        self.assertTrue(words.were_said)
        self.assertEqual(stream.value(), b"one")

    def test_taken_back(self) -> None:
        """
        All is said once more, on another stream, when nobody read it on the first.
        """
        words, first, second = FirstWords(b"one "), StringTransport(), StringTransport()
        words.say(first)
        words.take_back()
        self.assertFalse(words.were_said)
        words.add(b"two")
        self.assertEqual(first.value(), b"one ")
        words.finish(second)
        self.assertEqual(second.value(), b"one two")

    def test_enough(self) -> None:
        """
        There is an end to what is kept, for those who ask.
        """
        words = FirstWords(bytes(ENOUGH - 1))
        self.assertFalse(words.are_enough)
        words.add(b"1")
        self.assertTrue(words.are_enough)
        words.finish(StringTransport())
        self.assertFalse(words.are_enough)
