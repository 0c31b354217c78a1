"""
Handshakes that must fail: a listener with the right key at our dialler, whose welcome is no good.

Goes on from L{tests.network.quic.test_handshakes_that_fail_for_diallers}.
"""

from __future__ import annotations

from qh3.quic import events as quic_events
from typing_extensions import override

from atmosphere import wire
from atmosphere.membership import decode_chain, encode_chain
from atmosphere.network.quic.core_events import CloseCode
from atmosphere.network.quic.handshake import Credit, Offer, Refused, Welcome

from . import bad_chains
from .refused_case import (
    STRANGER,
    chain_for,
    welcome,
)
from .strangers import Stranger


class WelcomeTests(bad_chains.BadChains):
    """
    The right key alone is not enough: the welcome has to show a member.
    """

    @override
    def shows(self, chain: bytes, why: str) -> None:
        """
        Have the wanted node welcome us, with a chain.
        """
        self.secrets.append(chain[-64:] or b"no secret")
        self.stranger.script = welcome(chain)
        self.dial()
        self.not_linked(why)

    def test_no_chain(self) -> None:
        """
        A listener that shows nothing is no member, also for an admin that takes guests.
        """
        self.shows(b"", "shows no certificate of our mesh")

    def test_several_and_oversized_certificates(self) -> None:
        """
        A chain has two certificates at most, of 1 KiB at most.
        """
        whole = decode_chain(chain_for(STRANGER))
        for parts in ([whole.leaf.encoded] * 3, [whole.leaf.encoded + bytes(1_024)]):
            self.begin()
            self.shows(encode_chain(whole.genesis.encoded, parts), "the chain cannot be read")

    def test_no_welcome(self) -> None:
        """
        A listener that takes our proof and stays silent is given up after 15 s, and
        what it sent in the meantime is thrown away.
        """
        self.stranger.script = lambda stranger, event: (
            stranger.push() if isinstance(event, quic_events.HandshakeCompleted) else None
        )
        self.dial()
        self.not_linked("the right key, but gave no welcome within 15 s by 1 way", within=15.0)

    def test_reflected_proof(self) -> None:
        """
        Our own proof, said back to us, is not a welcome; nor is anything else.
        """

        def reflect(stranger: Stranger, event: object) -> None:
            """
            Say what was said, then welcome.
            """
            if isinstance(event, quic_events.StreamDataReceived):
                stranger.speaking.send_stream(0, event.data)
                stranger.say(Welcome(b"s" * 16, chain_for(STRANGER)))
                stranger.push()

        self.stranger.script = reflect
        self.dial()
        self.not_linked("proof: it has no place here")

    def test_something_else_first(self) -> None:
        """
        Nothing else takes the welcome's place.
        """
        for message in (Offer(b"offer"), Credit(1, 2**40)):
            self.begin()

            def script(
                stranger: Stranger, event: object, message: Offer | Credit = message
            ) -> None:
                """
                Say it, then welcome.
                """
                if isinstance(event, quic_events.HandshakeCompleted):
                    stranger.say(message)
                    stranger.say(Welcome(b"s" * 16, chain_for(STRANGER)))
                    stranger.push()

            self.stranger.script = script
            self.dial()
            self.not_linked("has no place here")

    def test_offer_of_a_refused_listener(self) -> None:
        """
        Where a listener that is refused wants to be reached is not looked at.
        """

        def script(stranger: Stranger, event: object) -> None:
            """
            Welcome without a chain, and offer ways in the same flight.
            """
            if isinstance(event, quic_events.HandshakeCompleted):
                stranger.say(Welcome(b"s" * 16, b""), Offer(b"offer"))

        self.stranger.script = script
        self.dial()
        self.not_linked("shows no certificate of our mesh")

    def test_truncated_and_oversized_welcome(self) -> None:
        """
        A welcome that breaks off, lacks a part or is longer than one may be is none.
        """
        for body, length, why in (
            (wire.encode([2, b"s" * 16]), None, "malformed control message of kind 2"),
            (wire.encode([2, b"s" * 15, b""]), None, "malformed control message of kind 2"),
            (wire.encode([2, b"s" * 16, bytes(4_097)]), None, "malformed control message"),
            (b"", 65_535, "control"),
            (wire.encode([2, b"s" * 16, b""]), 100, "gave no welcome within 15 s"),
        ):
            self.begin()

            def script(
                stranger: Stranger,
                event: object,
                body: bytes = body,
                length: int | None = length,
            ) -> None:
                """
                Say it.
                """
                if isinstance(event, quic_events.HandshakeCompleted):
                    stranger.say_bytes(body, length)
                    stranger.push()

            self.stranger.script = script
            self.dial()
            self.not_linked(why, within=15.0)

    def test_hostile_refusal(self) -> None:
        """
        What a listener gives as its reason is shown, but cannot write lines or colours.
        """
        self.stranger.script = lambda stranger, event: (
            stranger.say(Refused("go\n\x1b[31maway"))
            if isinstance(event, quic_events.HandshakeCompleted)
            else None
        )
        self.dial()
        self.not_linked("it refused: go\\x0a\\x1b[31maway")
        self.assertEqual(self.refusal, "go\\x0a\\x1b[31maway")

    def test_words_alone(self) -> None:
        """
        What ends a link for another reason is no refusal, however it is worded.
        """
        for code, refusal in ((CloseCode.VIOLATED, None), (CloseCode.REFUSED, "it refused: so")):
            self.begin()
            self.stranger.script = lambda stranger, event, code=code: (
                stranger.speaking.close(code, "it refused: so")
                if isinstance(event, quic_events.HandshakeCompleted)
                else None
            )
            self.dial()
            self.not_linked("it refused: so")
            self.assertEqual(self.refusal, refusal)
