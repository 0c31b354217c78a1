"""
Tests for L{atmosphere.classic.join}: join codes and joining as programs of old know them.
"""

from __future__ import annotations

import base64
import json
import subprocess
import sys
from typing import Any

from hypothesis import given, settings, strategies as st
from twisted.internet.defer import Deferred
from twisted.trial.unittest import SynchronousTestCase
from typing_extensions import override

from atmosphere.classic.join import (
    JoinCode,
    MeshJoin,
    generate_join_code,
    generate_join_code_with_discovery,
)
from atmosphere.classic.mesh import MeshIdentity, Node, NodeIdentity
from atmosphere.classic.world import World
from atmosphere.errors import DecodeError, JoinError
from atmosphere.mesh import join as old_place
from atmosphere.network.stun.public_endpoint import PublicEndpoint
from tests.mesh_fixtures import ADMIN_CHAIN

from .join_case import RELAY_URL, JoinCase

MESH = MeshIdentity.of_chain(ADMIN_CHAIN, "home")
REQUIRED = (
    "mesh_id",
    "mesh_name",
    "mesh_public_key",
    "endpoint",
    "created_at",
    "expires_at",
)
OPTIONAL = ("code", "public_endpoint", "relay_urls")


def read_as_the_original(text: str) -> dict[str, Any]:
    """
    Read a compact code as strictly as the original program could have: padded
    URL-safe base64 in its one spelling, compact JSON, its own keys first and in
    their order, of their types; keys that it did not know are left alone.
    """
    raw = base64.b64decode(text.encode("ascii"), b"-_", True)
    assert base64.urlsafe_b64encode(raw).decode() == text
    data: dict[str, Any] = json.loads(raw)
    assert json.dumps(data, separators=(",", ":")).encode() == raw
    keys = list(data)
    known = [key for key in (*REQUIRED, *OPTIONAL) if key in data]
    assert keys[: len(known)] == known, keys
    assert set(REQUIRED) <= set(keys)
    assert all(isinstance(data[key], str) for key in REQUIRED[:4])
    assert all(isinstance(data[key], (int, float)) for key in REQUIRED[4:])
    assert isinstance(data.get("public_endpoint", ""), str)
    assert all(isinstance(each, str) for each in data.get("relay_urls", []))
    return data


class CodeTests(SynchronousTestCase):
    """
    Codes without a node.
    """

    @override
    def setUp(self) -> None:
        """
        Make a world in which it is always the same time.
        """
        self.place = World(None, wall=lambda: 1_800_000_000.0, environment={})

    def test_plain(self) -> None:
        """
        Of a mesh alone there is a code with the six keys that the original
        needs, and no secret.
        """
        code = generate_join_code(MESH, "192.168.1.5:7777", 2, world=self.place)
        found = read_as_the_original(code.to_compact())
        self.assertEqual(tuple(found), REQUIRED)
        self.assertEqual(found["mesh_public_key"], MESH.public_key)
        self.assertEqual(found["expires_at"] - found["created_at"], 7200)
        self.assertEqual(JoinCode.from_compact(code.code), code)
        self.assertEqual(JoinCode.from_dict(code.to_dict()), code)
        self.assertIsInstance(JoinCode.from_compact(code.code), JoinCode)
        self.assertTrue(code.is_old)

    def test_arguments(self) -> None:
        """
        The eight arguments are where they were.
        """
        code = JoinCode("m", "home", "k", "192.168.1.5:7777", 1.5, 2.5, "192.0.2.1:1", ["wss://r"])
        self.assertEqual((code.public_endpoint, code.relay_urls), ("192.0.2.1:1", ["wss://r"]))
        self.assertTrue(code.is_expired)
        self.assertFalse(JoinCode("m", "h", "k", "e", 0, 2**40).is_expired)
        self.assertEqual(tuple(read_as_the_original(code.to_compact())), (*REQUIRED, *OPTIONAL[1:]))

    def test_wrong_arguments(self) -> None:
        """
        No code is made that could never be used.
        """
        for endpoint, hours in (("portland", 1), ("192.0.2.1:1", 0), ("192.0.2.1:1", 169)):
            self.assertRaises(
                JoinError, generate_join_code, MESH, endpoint, hours, world=self.place
            )

    def test_with_discovery(self) -> None:
        """
        A public endpoint and relays are in the code, as the original had them.
        """
        place = World(
            None,
            wall=self.place.wall,
            environment={},
            routes=lambda: {False: "192.168.1.5"},
        )
        public = PublicEndpoint("192.0.2.9", 4000, "manual")
        made = generate_join_code_with_discovery(MESH, 7777, public, ["wss://r"], world=place)
        found = read_as_the_original(self.successResultOf(made).to_compact())
        self.assertEqual(found["endpoint"], "192.168.1.5:7777")
        self.assertEqual(found["public_endpoint"], "192.0.2.9:4000")
        self.assertEqual(found["relay_urls"], ["wss://r"])

    @settings(derandomize=True, max_examples=200, deadline=None)
    @given(st.text(max_size=100) | st.binary(max_size=100).map(lambda b: base64.b64encode(b)))
    def test_any_text(self, text: str | bytes) -> None:
        """
        Any text is a code, or is said to be none.
        """
        try:
            JoinCode.from_compact(text.decode() if isinstance(text, bytes) else text)
        except DecodeError:
            pass
        else:
            self.fail(f"{text!r} was taken")

    def test_places(self) -> None:
        """
        The names are where they were.
        """
        self.assertIs(old_place.JoinCode, JoinCode)
        self.assertIs(old_place.MeshJoin, MeshJoin)
        self.assertIs(old_place.generate_join_code, generate_join_code)
        self.assertIn("generate_join_code_with_discovery", dir(old_place))

    def test_cheap(self) -> None:
        """
        Importing the old places loads no Twisted, and asking for their names
        installs no reactor; the network names are the same in both places.
        """
        program = (
            "import sys\n"
            "import atmosphere.mesh, atmosphere.mesh.join, atmosphere.mesh.network\n"
            "assert 'twisted' not in sys.modules, 'twisted'\n"
            "from atmosphere.mesh import *\n"
            "from atmosphere.mesh.join import *\n"
            "from atmosphere.mesh.network import *\n"
            "import atmosphere.network\n"
            "assert punch_hole is atmosphere.network.punch_hole\n"
            "assert not JoinCode('m', 'h', 'k', 'e', 0, 2**40).is_expired\n"
            "assert 'twisted.internet.reactor' not in sys.modules, 'reactor'\n"
        )
        ended = subprocess.run(
            [sys.executable, "-c", program], capture_output=True, text=True, timeout=60, check=False
        )
        self.assertEqual((ended.returncode, ended.stderr), (0, ""))


class MeshJoinTests(JoinCase):
    """
    Programs that join by code.
    """

    def join(self, joining: Deferred[Any]) -> Any:
        """
        Wait for a program to have joined.
        """
        done, message, certificate = self.world.result(joining)
        self.assertTrue(done, message)
        return certificate

    def test_by_code(self) -> None:
        """
        A node's code is signed and lets a machine in at once, and the original
        could have read it.
        """
        code = generate_join_code(self.portland, self.endpoint, world=self.place)
        found = read_as_the_original(code.to_compact())
        self.assertEqual((found["endpoint"], found["relay_urls"]), (self.endpoint, [RELAY_URL]))
        join = self.mesh_join("seattle", "198.51.100.2")
        certificate = self.join(join.join_by_code(code))
        self.assertEqual((certificate.name, certificate.mesh), ("seattle", self.mesh))
        self.assertEqual(certificate.node_id, join.identity.node_id)
        self.assertEqual(certificate.issuer, self.portland.identity.node_id)
        self.assertEqual(certificate.to_dict()["roles"], ["member"])
        (peer,) = self.portland.peers()
        self.assertEqual((peer["name"], peer["state"]), ("seattle", "connected"))

    def test_with_discovery(self) -> None:
        """
        A node's code has its own addresses.
        """
        making = generate_join_code_with_discovery(self.portland, 7777, world=self.place)
        code = self.world.result(making)
        self.assertEqual((code.endpoint, code.relay_urls), ("198.51.100.1:7777", [RELAY_URL]))
        self.assertEqual(code.public_endpoint, "198.51.100.1:7777")

    def test_kept(self) -> None:
        """
        An identity with a state directory is a member for good.
        """
        code = generate_join_code(self.portland, self.endpoint, world=self.place)
        join = self.mesh_join("seattle", "198.51.100.2", is_kept=True)
        self.join(join.join_by_code(code.code))
        self.world.result(join.close())
        place = World(join._world.reactor, wall=self.world.wall, environment={})
        node = Node("seattle", join.identity.data_dir, world=place, **join._options)
        self.nodes.append(node)
        self.world.result(node.start())
        self.assertEqual(node.mesh, self.mesh)
        self.assertEqual(node.identity.node_id, join.identity.node_id)

    def test_approved(self) -> None:
        """
        By a plain code a program waits for an admin, who sees what it says of itself.
        """
        code = generate_join_code(self.mesh, self.endpoint, world=self.place)
        join = self.mesh_join("seattle", "198.51.100.2")
        lines: list[dict[str, Any]] = []
        join.on_waiting = lines.append
        request = join.build_join_request(["gpu"])
        joining = join.join_by_code(code)
        self.world.until(lambda: lines)
        service = self.portland.running()
        (asked,) = service.requests()
        for key in ("node_id", "name", "capabilities"):
            self.assertEqual(asked[key], request[key])
        service.approve("seattle")
        self.assertEqual(self.join(joining).name, "seattle")

    def test_denied(self) -> None:
        """
        What goes wrong is said and not raised.
        """
        code = generate_join_code(self.mesh, self.endpoint, world=self.place)
        join = self.mesh_join("seattle", "198.51.100.2")
        joining = join.join_by_code(code)
        service = self.portland.running()
        self.world.until(service.requests)
        service.deny("seattle")
        done, message, certificate = self.world.result(joining)
        self.assertEqual((done, certificate), (False, None))
        self.assertIn("denied", message)
        for wrong in ("ABC-123", "", "atm1-"):
            self.assertFalse(self.world.result(join.join_by_code(wrong))[0])

    def test_by_endpoint(self) -> None:
        """
        Who knows an address asks there; with a mesh id, that mesh alone.
        """
        join = self.mesh_join("seattle", "198.51.100.2")
        service = self.portland.running()
        for mesh_id, words in (("mesh-" + "a" * 26, "another mesh"), ("x", "no mesh id")):
            done, message, _ = self.world.result(join.join_by_endpoint(self.endpoint, mesh_id))
            self.assertFalse(done)
            self.assertIn(words, message)
        joining = join.join_by_endpoint(self.endpoint, self.mesh.mesh_id)
        self.world.until(service.requests)
        service.approve("seattle")
        self.assertEqual(self.join(joining).mesh.mesh_id, self.mesh.mesh_id)

    def test_by_discovery(self) -> None:
        """
        Discovery says that it is not there, and what to use.
        """
        join = self.mesh_join("seattle", "198.51.100.2")
        done, message, certificate = self.successResultOf(join.join_by_discovery(self.mesh.mesh_id))
        self.assertEqual((done, certificate), (False, None))
        self.assertIn("join code", message)

    def test_node(self) -> None:
        """
        A node that runs joins itself.
        """
        place, options = self.machine("seattle", "198.51.100.2")
        node = Node("seattle", self.folder / "seattle", world=place, **options)
        self.nodes.append(node)
        self.world.result(node.start())
        self.assertIsNone(node.mesh)
        code = generate_join_code(self.portland, self.endpoint, world=self.place)
        join = MeshJoin(node, world=place)
        certificate = self.join(join.join_by_code(code))
        self.assertEqual(node.certificate, certificate)
        self.world.result(join.close())
        self.assertEqual(node.mesh, self.mesh)

    def test_no_right(self) -> None:
        """
        A node in no mesh, one that does not run and one that may not admit make no codes.
        """
        place, options = self.machine("seattle", "198.51.100.2")
        node = Node("seattle", self.folder / "seattle", world=place, **options)
        self.nodes.append(node)
        self.assertRaises(JoinError, generate_join_code, node, self.endpoint, world=place)
        self.world.result(node.start())
        self.assertRaises(JoinError, generate_join_code, node, self.endpoint, world=place)
        code = generate_join_code(self.portland, self.endpoint, world=self.place)
        self.join(MeshJoin(node, world=place).join_by_code(code))
        self.assertRaises(JoinError, generate_join_code, node, self.endpoint, world=place)


class IdentityTests(SynchronousTestCase):
    """
    L{NodeIdentity} and L{MeshIdentity}.
    """

    def test_identity(self) -> None:
        """
        An identity signs, shows its public half alone, and comes back from the disk.
        """
        place = World(None, wall=lambda: 1.8e9, environment={"ATMOSPHERE_HOME": self.mktemp()})
        identity = NodeIdentity.generate("Seattle Office", world=place)
        self.assertEqual(identity.name, "seattle-office")
        signature = identity.sign(b"hello")
        self.assertTrue(identity.verify(signature, b"hello"))
        self.assertFalse(identity.verify(signature, b"hullo"))
        shown = {"node_id": identity.node_id, "name": identity.name}
        self.assertEqual(identity.to_dict(), {**shown, "public_key": identity.node_id})
        kept = identity.save(world=place)
        found = NodeIdentity.load(world=place)
        self.assertEqual((found.node_id, found.data_dir), (identity.node_id, kept.data_dir))

    def test_mesh(self) -> None:
        """
        A mesh is what its genesis says.
        """
        self.assertTrue(MESH.mesh_id.startswith("mesh-"))
        self.assertEqual(MESH.to_dict()["public_key"], MESH.public_key)
