"""
Tests for L{atmosphere.network.quic.refusals}.
"""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase
from typing_extensions import override

from atmosphere.addresses import TransportAddress
from atmosphere.identity import NodeKey
from atmosphere.network.path.ways import DirectWay, RelayedWay
from atmosphere.network.quic.refusals import LINES_AT_ONCE, Refusals, stranger_text

PEER = NodeKey(b"\x03" * 32).node_id
DIRECT = DirectWay(TransportAddress("192.0.2.7", 4000))
RELAYED = RelayedWay("wss://relay.example", PEER)


class RefusalsTests(SynchronousTestCase):
    """
    One line for each link that came to nothing, as long as there are not too many.
    """

    @override
    def setUp(self) -> None:
        """
        Keep what is written.
        """
        self.lines: list[str] = []
        self.aside: list[str] = []
        self.refusals = Refusals(
            lambda text, **told: self.lines.append(text.format(**told)),
            lambda text, **told: self.aside.append(text.format(**told)),
        )

    def test_who(self) -> None:
        """
        A peer is named by the key that it proved, else by its way; what a relay
        says of it is the relay's word.
        """
        self.assertEqual(stranger_text(None, DIRECT), "a stranger at 192.0.2.7:4000")
        self.assertEqual(stranger_text(PEER, DIRECT), f"{PEER.short} at 192.0.2.7:4000")
        self.assertEqual(
            stranger_text(None, RELAYED),
            f"a stranger at relay wss://relay.example, which calls it {PEER.short}",
        )

    def test_lines(self) -> None:
        """
        Each line says in which direction, who and why.
        """
        self.refusals.refused(None, DIRECT, "why", 0.0)
        self.refusals.refused(PEER, DIRECT, "why not", 0.0, is_ours=True)
        self.assertEqual(
            self.lines,
            [
                "no link from a stranger at 192.0.2.7:4000: why",
                f"no link to {PEER.short} at 192.0.2.7:4000: why not",
            ],
        )

    def test_nobody_there(self) -> None:
        """
        That nobody answered is an everyday thing, and goes aside.
        """
        self.refusals.refused(PEER, None, "no answer", 0.0, is_ours=True)
        self.assertEqual(self.lines, [])
        self.assertEqual(self.aside, [f"no link to {PEER.short}: no answer"])

    def test_safe(self) -> None:
        """
        Whatever a reason is made of, it is one line of bounded length.
        """
        self.refusals.refused(None, DIRECT, "a\nb\x1b" + "x" * 1_000, 0.0)
        self.assertIn("a\\x0ab\\x1bx", self.lines[0])
        self.assertTrue(self.lines[0].isprintable())
        self.assertLess(len(self.lines[0]), 300)

    def test_rate(self) -> None:
        """
        Of too many lines some are left out, and counted in the next; strangers
        do not use up the lines of our own dials.
        """
        for _ in range(100):
            self.refusals.refused(None, DIRECT, "why", 0.0)
        self.assertEqual(len(self.lines), LINES_AT_ONCE)
        self.refusals.refused(PEER, DIRECT, "why", 0.0, is_ours=True)
        self.assertNotIn("more", self.lines[-1])
        self.refusals.refused(None, DIRECT, "why", 2.0)
        self.assertIn("(and 80 more were left out here)", self.lines[-1])
        self.refusals.refused(None, DIRECT, "why", 4.0)
        self.assertNotIn("more", self.lines[-1])
