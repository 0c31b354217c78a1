"""
Tests for L{atmosphere.text}.
"""

from hypothesis import given, settings, strategies as st
from twisted.trial.unittest import SynchronousTestCase

from atmosphere.text import escape_peer_text, is_valid_name, tidy_name, unused_name


class EscapeTests(SynchronousTestCase):
    """
    What strangers wrote cannot move the cursor, hide, or pose as something else.
    """

    def test_harmless_text_stays(self) -> None:
        """
        Letters of any script stay as they are.
        """
        for text in ("portland", "Zürich 2", "東京", ""):
            self.assertEqual(escape_peer_text(text), text)

    def test_harmful_text(self) -> None:
        """
        Escapes, line ends, bidirectional and invisible marks are shown by number.
        """
        for text, shown in (
            ("\x1b[31mred", "\\x1b[31mred"),
            ("a\r\nb", "a\\x0d\\x0ab"),
            ("\x7f\x9b", "\\x7f\\x9b"),
            ("abc\u202edcba", "abc\\u202edcba"),
            ("zero\u200bwidth", "zero\\u200bwidth"),
            ("\ud800", "\\ud800"),
            ("\U000e0041", "\\U000e0041"),
            ("back\\slash", "back\\\\slash"),
        ):
            self.assertEqual(escape_peer_text(text), shown)

    def test_length(self) -> None:
        """
        The limit counts what is shown, and a cut is seen.
        """
        self.assertEqual(escape_peer_text("a" * 64), "a" * 64)
        self.assertEqual(escape_peer_text("a" * 65), "a" * 63 + "…")
        self.assertEqual(escape_peer_text("\x00" * 10, limit=10), "\\x00\\x00…")
        self.assertEqual(escape_peer_text("\x00", limit=3), "…")

    @settings(derandomize=True, max_examples=200, deadline=None)
    @given(st.text(st.characters(), max_size=100), st.integers(1, 80))
    def test_any_text(self, text: str, limit: int) -> None:
        """
        Whatever comes in, what goes out is printable and short enough.
        """
        shown = escape_peer_text(text, limit)
        self.assertTrue(shown.isprintable())
        self.assertLessEqual(len(shown), limit)


class NameTests(SynchronousTestCase):
    """
    Names of nodes are plain, so that two that look the same are the same.
    """

    def test_valid_names(self) -> None:
        """
        Small letters, digits, hyphens, underscores and dots, up to 63.
        """
        for name in ("a", "portland", "n-1.example_2", "7", "x" * 63):
            self.assertTrue(is_valid_name(name), name)
        for name in ("", "-a", ".a", "Portland", "a b", "é", "a\n", "x" * 64, "mañana"):
            self.assertFalse(is_valid_name(name), name)

    def test_tidy(self) -> None:
        """
        The name of a host or a person's wish becomes a valid name.
        """
        for text, name in (
            ("Portland", "portland"),
            ("My MacBook (2)", "my-macbook-2"),
            ("--x--", "x"),
            ("héllo", "h-llo"),
            ("é" * 10, "node"),
            ("", "node"),
            ("a" * 62 + ".b", "a" * 62),
        ):
            self.assertEqual(tidy_name(text), name)

    def test_unused(self) -> None:
        """
        A name that is taken gets a number.
        """
        self.assertEqual(unused_name("Seattle", set()), "seattle")
        self.assertEqual(unused_name("seattle", {"seattle", "seattle-2"}), "seattle-3")
        long = "x" * 63
        self.assertEqual(unused_name(long, {long}), "x" * 61 + "-2")

    @settings(derandomize=True, max_examples=200, deadline=None)
    @given(st.text(st.characters(), max_size=300))
    def test_any_wish(self, text: str) -> None:
        """
        Any wish gives a valid name.
        """
        self.assertTrue(is_valid_name(tidy_name(text)))
        self.assertTrue(is_valid_name(unused_name(text, {tidy_name(text)})))
