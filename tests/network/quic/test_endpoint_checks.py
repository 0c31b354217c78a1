"""
Tests of how L{atmosphere.network.quic.endpoint} finds the link that a connectivity
check, or the answer to one, is for.
"""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from atmosphere.network.path.ways import DirectWay
from atmosphere.network.stun.message import Class, Message, encode_message

from .harness import World


class RecipientTests(SynchronousTestCase):
    """
    One node, and several links.
    """

    def test_found(self) -> None:
        """
        Checks and answers reach their own link, by one look, and those for none are
        dropped: a stranger who sends many does not have us ask each link each time.
        """
        world = World()
        hub, *others = (world.node(number) for number in range(1, 5))
        for each in others:
            hub.endpoint.dial(each.key.node_id, hub.ways_to(each))
            world.run(2.0)
        world.run(5.0)
        self.assertEqual(len(hub.endpoint.links), 3)
        for link in hub.endpoint.links:
            conversation = link.core.paths._checker.conversation
            way = DirectWay(others[0].address)
            check = conversation.new_check(way, link.now(), is_full=False, priority=1)
            answer = encode_message(Message(Class.SUCCESS_RESPONSE, check[8:20]))
            self.assertIs(hub.endpoint._link_of(answer), link)
        dropped = hub.endpoint.counters.dropped
        for number in range(100):
            stray = encode_message(Message(Class.SUCCESS_RESPONSE, number.to_bytes(12, "big")))
            hub.endpoint.datagrams_received(DirectWay(others[0].address), [stray])
        self.assertEqual(hub.endpoint.counters.dropped, dropped + 100)
