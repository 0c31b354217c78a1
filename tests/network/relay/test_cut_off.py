"""
Tests for L{atmosphere.network.relay.client}: the network goes, and comes back.
"""

from __future__ import annotations

from .relay_case import Node, RelayCase


class CutOffTests(RelayCase):
    """
    A client whose relay does not answer finds it again at once.
    """

    def cut_off(self, seconds: float) -> tuple[Node, Node]:
        """
        Cut the relay off for a while from the first of two nodes, which goes on sending.
        """
        self.serve()
        first, second = self.node(1), self.node(2)
        self.welcomed(first, second)
        self.network.advance(1)
        self.network.cut(self.host("node1"))
        for _ in range(int(seconds)):
            first.client.send(second.node_id, [b"lost"])
            self.network.advance(1)
        self.network.heal()
        return first, second

    def test_cut_off(self) -> None:
        """
        Who was cut off for a minute is back a quarter of a second after that, by a new
        connection: TCP would send again after half a minute.
        """
        first, second = self.cut_off(60)
        before = list(first.changes)
        self.network.run_until(lambda: first.changes[len(before) :], 0.25)
        self.network.run_until(lambda: first.client.is_welcomed, 0.25)
        first.client.send(second.node_id, [b"found"])
        self.network.run_until(lambda: (first.node_id, [b"found"]) in second.received, 0.1)
        self.stop()

    def test_silent_for_a_moment(self) -> None:
        """
        A connection that is silent for a moment is kept.
        """
        first, _ = self.cut_off(2)
        self.network.advance(10)
        self.assertEqual(first.changes, [(True, None)])
        self.assertTrue(first.client.is_welcomed)
        self.stop()

    def test_doubted_and_kept(self) -> None:
        """
        One that is doubted and speaks again, before another was made, is kept.
        """
        self.serve()
        first, second = self.node(1), self.node(2)
        self.welcomed(first, second)
        self.network.advance(2)
        connection = first.client._connection
        assert connection is not None
        connection.ask()
        connection._heard = -10.0
        self.network.cut(self.host("node1"), is_one_way=True)
        first.client.connection_doubted(True)
        self.network.advance(1)
        self.assertEqual(len(first.client._dials), 4)
        self.network.heal()
        first.client.connection_doubted(False)
        self.assertEqual((first.client._dials, first.client._retry), ({}, None))
        self.network.advance(10)
        self.assertIs(first.client._connection, connection)
        self.assertEqual(first.changes, [(True, None)])
        self.stop()

    def test_dies_while_doubted(self) -> None:
        """
        A relay that is silent and then refuses is waited for, as one that never was silent.
        """
        first, _ = self.cut_off(8)
        self.network.cut(self.host("node1"))
        self.relay.kill()
        self.services.remove(self.service)
        self.network.heal()
        self.network.run_until(lambda: "refuses" in (first.client.error or ""), 1)
        self.assertFalse(first.client.is_welcomed)
        self.relay.restart()
        self.serve()
        self.network.run_until(lambda: first.client.is_welcomed, 2)
        self.stop()

    def test_hurry(self) -> None:
        """
        Who hears that the network is another dials at once, or asks the relay.
        """
        node = self.node(1)
        self.network.advance(100)
        self.serve()
        node.client.hurry()
        self.network.run_until(lambda: node.client.is_welcomed, 0.2)
        assert node.client._connection is not None
        node.client.hurry()
        self.assertIsNotNone(node.client._connection._doubt)
        self.network.advance(0.2)
        self.stop()

    def test_moved(self) -> None:
        """
        Who has another address is served again after four round trips: what was sent from
        the old one is not waited for. Who still has it just asks.
        """
        self.serve()
        node, host = self.node(1), self.host("node1")
        self.welcomed(node)
        self.network.advance(1)
        connection = node.client._connection
        assert connection is not None
        own = connection.own_address
        assert own is not None
        node.client.hurry(frozenset((own, "10.9.9.9")))
        self.assertEqual((node.client._dials, connection._is_doubted), ({}, False))
        self.network.advance(10)
        self.network.move(host, "198.51.100.99")
        node.client.hurry(frozenset(("198.51.100.99",)))
        before = len(node.changes)
        self.network.run_until(
            lambda: len(node.changes) > before and node.client.is_welcomed, 4 * 0.1
        )
        self.assertEqual(
            node.client._connection and node.client._connection.own_address, host.address
        )
        self.stop()
