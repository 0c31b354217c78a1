"""
Tests for L{atmosphere.node.founding}.
"""

from __future__ import annotations

from atmosphere.errors import ConfigurationError, JoinError

from .harness import WorldCase


class FoundingTests(WorldCase):
    """
    A mesh that was founded before anybody was invited.
    """

    def test_founded(self) -> None:
        """
        The node is its first member and an admin, and invites into it then.
        """
        node = self.world.node("portland", "198.51.100.1").service
        self.assertRaises(ConfigurationError, node.found, "a b")
        answer = node.found("work")
        self.assertEqual(answer["mesh_name"], "work")
        self.assertEqual(node.status()["mesh_id"], answer["mesh_id"])
        self.assertTrue(node.mesh.is_admin)
        invited = self.world.result(node.invite(hours=1, uses=1, mesh_name=None))
        self.assertEqual((invited["mesh_id"], invited["founded"]), (answer["mesh_id"], False))

    def test_twice(self) -> None:
        """
        A node that is in a mesh founds no other.
        """
        node = self.world.node("portland", "198.51.100.1").service
        node.found(None)
        with self.assertRaises(JoinError) as caught:
            node.found("work")
        self.assertIn("atmosphere leave", str(caught.exception))
