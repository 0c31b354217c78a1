"""
Tests of what a STUN server could do to somebody who never asked it.
"""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from atmosphere.addresses import TransportAddress
from atmosphere.network.stun.attributes import CHANGE_REQUEST, PADDING
from atmosphere.network.stun.binding import PRIMARY, BindingResponder, Corner
from atmosphere.network.stun.message import Class, Message, encode_message
from atmosphere.network.stun.values import ChangeRequest
from tests.fuzz import seeds
from tests.fuzz.property import mutations

from .stun import CORNERS, SOURCES, TRANSACTION, factor, requests, responder

#: With the headers of IP and UDP, for any request.
MOST = 1.4


class AmplificationTests(SynchronousTestCase):
    """
    Sources can be forged: an answer is a datagram to somebody else.
    """

    def test_every_kind(self) -> None:
        """
        No answer to any kind of request is more than 1.4 of it; one that comes from
        another socket than was asked is never longer.
        """
        sent = [each for _, each in requests()]
        sent += mutations([*sent, *seeds.stun()], 2_000, "stun")
        for family, (host, header) in SOURCES.items():
            for sockets in (1, 2, 4):
                for number, request in enumerate(sent):
                    server = responder(family, sockets)
                    source = TransportAddress(host, 1024 + number)
                    for corner in list(CORNERS)[:sockets]:
                        answer = server.answer(request, source, 0.0, corner)
                        if answer is None:
                            continue
                        self.assertLessEqual(factor(request, answer.data, header), MOST, request)
                        if answer.corner != corner:
                            self.assertLessEqual(len(answer.data), len(request))

    def test_dial_back(self) -> None:
        """
        Only a padded request is answered by another socket, twenty at once and then ten
        a second; plain ones are answered meanwhile.
        """
        change = (CHANGE_REQUEST, ChangeRequest(change_address=True, change_port=True))
        bare = encode_message(Message(Class.REQUEST, TRANSACTION, (change,)))
        padded = encode_message(
            Message(Class.REQUEST, TRANSACTION, (change, (PADDING, bytes(200))))
        )
        server, source = responder("IPv4", 4), TransportAddress("198.51.100.1", 40_000)
        refusal = server.answer(bare, source, 0.0)
        assert refusal is not None
        self.assertEqual((refusal.corner, refusal.data[:2]), (PRIMARY, b"\x01\x11"))
        self.assertEqual(self.dialled_back(server, padded, source, 0.0), 20)
        self.assertIsNotNone(server.answer(next(requests())[1], source, 0.0))
        self.assertEqual(self.dialled_back(server, padded, source, 1.0), 10)

    def dialled_back(
        self, server: BindingResponder, request: bytes, source: TransportAddress, now: float
    ) -> int:
        """
        Ask forty times, and count the answers of the other socket; all others refuse.
        """
        answers = [server.answer(request, source, now) for _ in range(40)]
        others = [each for each in answers if each is not None and each.corner != PRIMARY]
        for each in answers:
            if each is not None and each.corner == PRIMARY:
                self.assertEqual(each.data[:2], b"\x01\x11")
        self.assertEqual({each.corner for each in others}, {Corner(True, True)})
        return len(others)
