"""
Tests for L{atmosphere.node.advice}: each situation has its words, and its remedy.
"""

from __future__ import annotations

from dataclasses import replace

from twisted.trial.unittest import SynchronousTestCase

from atmosphere.addresses import TransportAddress
from atmosphere.network.stun.behavior import Behavior, Dependence, DialBack
from atmosphere.network.stun.discovery import Server
from atmosphere.node.advice import (
    advise,
    filtering_words,
    mapping_words,
    notes,
    reachable_words,
    seconds_words,
)
from atmosphere.node.measuring import Measurement
from atmosphere.node.relay_facts import RelayFacts

from .test_report import answer, measured

RELAY = RelayFacts("ws://relay:8080", True, 0.02)
DEAD = RelayFacts("ws://dead:8080", False, None, "dead:8080 refuses connections")
OUTSIDE = "192.0.2.1:7777"


class AdviceTests(SynchronousTestCase):
    """
    What would help.
    """

    def advice(
        self,
        measurement: Measurement | None,
        *relays: RelayFacts,
        clock_offset: float | None = None,
        advertised: tuple[str, ...] = (),
    ) -> list[str]:
        """
        Ask for advice.
        """
        is_working = None if measurement is None else measurement.is_udp_working
        return advise(
            measurement,
            relays or (RELAY,),
            port=7777,
            clock_offset=clock_offset,
            is_udp_working=is_working,
            advertised=advertised,
        )

    def assert_advice(self, given: list[str], *words: str) -> None:
        """
        See that each piece of advice is one line with the words that it should have.
        """
        self.assertEqual(len(given), len(words), given)
        for text, word in zip(given, words, strict=True):
            self.assertIn(word, text)
            self.assertNotIn("\n", text)

    def test_all_is_well(self) -> None:
        """
        Who is reachable needs no advice.
        """
        found = measured(answer(OUTSIDE, dial_back=DialBack.ARRIVED), local=OUTSIDE)
        self.assert_advice(self.advice(found))

    def test_nat(self) -> None:
        """
        Behind an easy NAT a forwarded port would help, and is not pressing.
        """
        found = measured(answer(OUTSIDE, dial_back=DialBack.SILENT, seen=7777))
        self.assert_advice(self.advice(found), "forward UDP port 7777")
        self.assertIn("hole punching", self.advice(found)[0])

    def test_hard_nat(self) -> None:
        """
        Behind a hard one it is.
        """
        found = measured(answer(OUTSIDE, dial_back=DialBack.SILENT, seen=8888))
        self.assert_advice(self.advice(found), "makes direct connections hard")

    def test_firewall(self) -> None:
        """
        A firewall without a NAT is to be opened.
        """
        found = measured(answer(OUTSIDE, dial_back=DialBack.SILENT), local=OUTSIDE)
        self.assert_advice(self.advice(found), "open UDP port 7777")

    def test_no_dial_back(self) -> None:
        """
        Where no server can dial back a relay is named that could.
        """
        self.assert_advice(self.advice(measured(answer(OUTSIDE))), "can dial back")

    def test_half_known(self) -> None:
        """
        Where no server could say more there is no advice.
        """
        self.assert_advice(self.advice(measured(answer(OUTSIDE, dial_back=DialBack.ARRIVED))))

    def test_loopback(self) -> None:
        """
        Nor is there any about a server on this machine.
        """
        self.assert_advice(self.advice(measured(answer("127.0.0.1:7777", server="127.0.0.1"))))

    def test_advertised(self) -> None:
        """
        Who has forwarded a port, and named it, is not told to do so.
        """
        for found in (
            measured(answer(OUTSIDE, dial_back=DialBack.SILENT, seen=7777)),
            measured(answer(OUTSIDE, dial_back=DialBack.SILENT, seen=9999)),
        ):
            given = self.advice(found, advertised=("203.0.113.7:7777",))
            self.assert_advice(given, "203.0.113.7:7777 is advertised")

    def test_no_udp(self) -> None:
        """
        Without UDP the relay is all that is left, if there is one.
        """
        silent = measured(answer(None))
        self.assert_advice(self.advice(silent), "through the relay only")
        self.assert_advice(
            self.advice(silent, DEAD), "dead:8080 refuses", "no peer elsewhere can be reached"
        )

    def test_nobody_to_ask(self) -> None:
        """
        Who has neither a relay nor a STUN server is told how to name them.
        """
        given = advise(None, (), port=None, clock_offset=None, is_udp_working=None)
        self.assert_advice(given, "--relay", "--stun")

    def test_unknown_names(self) -> None:
        """
        Whose servers' names are unknown has named some, and is not told that it has not.
        """
        nobody = Measurement(failures=((Server("foo", 3478), "no address is known for foo"),))
        self.assert_advice(self.advice(nobody), "no STUN server could be asked")

    def test_clock(self) -> None:
        """
        A clock that is off by more than certificates allow is the first thing.
        """
        found = measured(answer(OUTSIDE, dial_back=DialBack.ARRIVED), local=OUTSIDE)
        for offset in (-600.0, 0.0, 600.0):
            self.assert_advice(self.advice(found, clock_offset=offset))
        self.assert_advice(self.advice(found, clock_offset=601.0), "10 minutes behind")
        self.assert_advice(self.advice(found, clock_offset=-86_400.0 * 365), "365 days ahead of")


class NoteTests(SynchronousTestCase):
    """
    What is told beside.
    """

    def test_port_taken(self) -> None:
        """
        If another port was measured than was wanted, that is said.
        """
        found = measured(answer(OUTSIDE), local=OUTSIDE)
        self.assertEqual(notes(found, 7777, 7777), [])
        self.assertIn("7777 is taken", notes(found, 7777, 40000)[0])

    def test_one_address(self) -> None:
        """
        What one server address cannot make certain is said.
        """
        found = measured(answer(OUTSIDE, dial_back=DialBack.SILENT, seen=7777))
        self.assertIn("--stun with another", notes(found, None, 7777)[0])

    def test_second_port_closed(self) -> None:
        """
        A server's second port that does not answer is named: its firewall is shut.
        """
        found = measured(answer(OUTSIDE, dial_back=DialBack.ARRIVED))
        self.assertIn("UDP 3479, is silent", notes(found, None, 7777)[0])

    def test_nothing(self) -> None:
        """
        Where nothing was measured there is nothing to say.
        """
        self.assertEqual(notes(None, 7777, 7777), [])
        self.assertEqual(notes(Measurement(), 7777, 7777), [])


class WordsTests(SynchronousTestCase):
    """
    What the terms mean.
    """

    def test_terms(self) -> None:
        """
        Each term that a report can have is explained.
        """
        for term in Dependence:
            self.assertIsNotNone(filtering_words(term.value))
            if term is not Dependence.AT_MOST_ADDRESS_DEPENDENT:
                self.assertIsNotNone(mapping_words(term.value))
        self.assertIsNone(mapping_words(None))
        self.assertIsNone(filtering_words("rubbish"))

    def test_reachable(self) -> None:
        """
        The reason why somebody is reachable, or not, or perhaps, is told.
        """
        arrived = measured(answer(OUTSIDE, dial_back=DialBack.ARRIVED)).main
        assert arrived is not None
        ours = TransportAddress.from_text(OUTSIDE)
        (finding,) = arrived.dial_backs
        stranger = replace(finding, from_address=DialBack.ARRIVED)
        inside = TransportAddress("10.0.0.5", 7777)
        for behavior, words in (
            (None, "no STUN server was asked"),
            (Behavior(), "no STUN server answered"),
            (replace(arrived, local=ours), "a port never sent to came in"),
            (replace(arrived, dial_backs=(stranger,)), "a stranger's address came in"),
            (Behavior(inside, (replace(finding, mapped=inside),)), "within the private network"),
            (arrived, "two addresses"),
            (
                replace(arrived, dial_backs=(replace(finding, from_port=DialBack.SILENT),)),
                "not come",
            ),
            (replace(arrived, dial_backs=(replace(finding, from_port=DialBack.UNKNOWN),)), "lost"),
            (
                replace(arrived, dial_backs=(replace(finding, from_port=DialBack.NOT_OFFERED),)),
                "can dial back",
            ),
        ):
            self.assertIn(words, reachable_words(behavior))

    def test_seconds(self) -> None:
        """
        A span of time is written roughly.
        """
        for seconds, words in (
            (0.04, "0.0 s"),
            (-12.34, "12.3 s"),
            (119, "119.0 s"),
            (601, "10 minutes"),
            (7200, "2 hours"),
            (-400_000, "5 days"),
        ):
            self.assertEqual(seconds_words(seconds), words)
