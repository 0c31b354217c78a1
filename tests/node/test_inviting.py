"""
Tests for L{atmosphere.node.inviting}: what a join code says of its issuer.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from twisted.trial.unittest import SynchronousTestCase
from typing_extensions import override

from atmosphere.addresses import TransportAddress
from atmosphere.errors import JoinError
from atmosphere.mesh.join_code import JoinCode
from atmosphere.network.nat.candidates import Candidate, CandidateType, make_candidate
from atmosphere.node.config import NodeConfig
from atmosphere.node.invitations import Invitations
from atmosphere.node.inviting import make_invitation, read_code
from atmosphere.node.mesh import NodeMesh
from atmosphere.node.store import NodeStore

NOW = 1_800_000_000.0


def wall() -> float:
    """
    Say a time that never changes.
    """
    return NOW


class Ports:
    """
    Ports that are open on 7777.
    """

    def port_of(self, *, is_ipv6: bool) -> int:
        """
        Say the port.
        """
        return 7777


@dataclass
class Place:
    """
    Surroundings with given addresses.
    """

    found: tuple[Candidate, ...] = ()
    trusted_relays: tuple[str, ...] = ()
    ports: Any = None

    def candidates(self) -> tuple[Candidate, ...]:
        """
        List the addresses.
        """
        return self.found


class InvitingCase(SynchronousTestCase):
    """
    A node that has founded a mesh.
    """

    @override
    def setUp(self) -> None:
        config = NodeConfig("portland")
        self.store = NodeStore.create(Path(self.mktemp()), config, wall=wall, entropy=os.urandom)
        self.addCleanup(self.store.close)
        self.mesh = NodeMesh(self.store, wall=wall, entropy=os.urandom)
        self.mesh.found("home", ())

    def invite(self, *addresses: tuple[CandidateType, str]) -> tuple[JoinCode, list[str]]:
        """
        Make a code on a machine with such addresses.
        """
        found = tuple(
            make_candidate(kind, TransportAddress.from_text(text)) for kind, text in addresses
        )
        place: Any = Place(found, ports=Ports())
        return make_invitation(
            self.store.key,
            self.mesh,
            Invitations(self.store.database, wall),
            place,
            lifetime=3600,
            uses=1,
            wall=NOW,
            entropy=os.urandom,
        )


class MakeInvitationTests(InvitingCase):
    """
    Codes, and what they say of the node that made them.
    """

    def test_loopback_last(self) -> None:
        """
        The address that a code names first is one that leads to this machine from
        others, where there is one.
        """
        host = CandidateType.HOST
        loopback, real = (host, "[::1]:7777"), (host, "192.0.2.2:7777")
        code, _ = self.invite(loopback, (host, "127.0.0.1:7777"), real)
        self.assertEqual(code.endpoint, "192.0.2.2:7777")
        self.assertEqual(code.endpoints, ("[::1]:7777", "127.0.0.1:7777"))
        self.assertEqual(self.invite(loopback)[0].endpoint, "[::1]:7777")

    def test_warning(self) -> None:
        """
        A code by which nobody outside can come is handed out with a warning.
        """
        reflexive = (CandidateType.SERVER_REFLEXIVE, "9.9.9.9:7777")
        self.assertIn("local network only", self.invite()[1][0])
        code, warnings = self.invite((CandidateType.HOST, "10.0.0.1:7777"), reflexive)
        self.assertEqual((code.public_endpoint, warnings), ("9.9.9.9:7777", []))


class ReadCodeTests(InvitingCase):
    """
    Codes that somebody pasted.
    """

    def test_read(self) -> None:
        """
        A code is read until it ends, and rubbish is refused in words.
        """
        code, _ = self.invite()
        self.assertEqual(read_code(f" {code.code}\n", NOW).invite_id, code.invite_id)
        for text, words in (
            (code.code[:-40], "copy all of it"),
            ("rubbish", "copy all of it"),
            ("", "code cannot be read"),
            ("atma1-hwFQ", "that is an answer and no code"),
        ):
            with self.assertRaisesRegex(JoinError, words):
                read_code(text, NOW)
        with self.assertRaisesRegex(JoinError, "has expired; ask for a new one"):
            read_code(code.code, NOW + 3600)
