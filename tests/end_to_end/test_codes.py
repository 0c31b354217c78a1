"""
Join codes in the hands of users: good ones, bad ones, and ones that fifty
machines want to use at the same time.
"""

from __future__ import annotations

import os
import random
import socket
import time
from collections.abc import Sequence
from dataclasses import replace
from typing import Any, cast

from twisted.internet import reactor as global_reactor  # noqa: TID251, real sockets
from twisted.internet.defer import Deferred, DeferredList
from twisted.internet.interfaces import IReactorTime
from twisted.internet.protocol import Protocol
from twisted.internet.task import deferLater
from twisted.internet.threads import deferToThread
from twisted.python.failure import Failure
from twisted.trial.unittest import TestCase
from typing_extensions import override

from atmosphere.addresses import TransportAddress
from atmosphere.errors import JoinError
from atmosphere.identity import Secret
from atmosphere.mesh.join_code import JoinCode, issue_join_code
from atmosphere.mesh.joiner import Joiner
from atmosphere.network.nat.candidates import Interface
from atmosphere.node.config import NodeConfig
from atmosphere.node.joining import SERVICE
from atmosphere.node.service import NodeService
from atmosphere.node.store import NodeStore
from atmosphere.text import tidy_name
from tests.end_to_end.harness import EndToEndTestCase, Machine, free_port

clock = cast(IReactorTime, global_reactor)
wall = time.time  # noqa: TID251, codes of real processes expire in real time

OLD_CODE = JoinCode("mesh-old", "home", "key", "127.0.0.1:7777", 0.0, 4e9)


class CodeTests(EndToEndTestCase):
    """
    One node that invites, and those that would join, as commands.
    """

    @override
    def setUp(self) -> None:
        super().setUp()
        self.portland, self.seattle = self.machine("portland"), self.machine("seattle")
        self.portland.init()
        self.portland.serve()

    def machine(self, name: str) -> Machine:
        """
        Make a host whose node reaches others on loopback without a relay.
        """
        machine = Machine(self, name)
        machine.variables["ATMOSPHERE_ALLOW_LOOPBACK"] = "1"
        return machine

    def refuse(self, code: str, *texts: str) -> None:
        """
        Check that a code is refused in one line, whether or not a node runs.
        """
        ended = self.seattle.run("join", "-", stdin=code, status=None)
        self.assert_one_line(ended, 4, *texts)

    def expired_code(self) -> str:
        """
        Make a code of the node's that has expired a while ago.
        """
        with NodeStore.peek(self.portland.state, wall=wall) as store:
            assert store.mesh is not None
            return issue_join_code(
                store.key,
                store.mesh.chain,
                mesh_name=store.mesh.name,
                endpoint="127.0.0.1:7777",
                wall=wall() - 60,
                entropy=os.urandom,
                lifetime=30,
            ).code

    def test_refused(self) -> None:
        """
        Garbage, a code with a wrong secret, an expired, a used, a revoked and an old
        one are refused with 4, one line and the remedy; a good one is taken after that.
        """
        self.seattle.init()
        self.seattle.serve()
        code = self.portland.run("invite").out.strip()
        wrong = replace(JoinCode.from_compact(code), secret=Secret(bytes(16))).code
        for text in ("garbage", "atm1-AAAA", code[:-30], code.swapcase()):
            self.refuse(text, "copy all of it")
        self.refuse(code[:100] + "A" + code[101:], "code")
        self.refuse(OLD_CODE.to_compact(), "ask for a new one, made by `atmosphere invite`")
        self.refuse(wrong, "not accepted; ask for a new one")
        self.refuse(self.expired_code(), "has expired; ask for a new one")
        (first,) = self.portland.json("invite", "list")["invitations"]
        self.portland.run("invite", "revoke", first["invite_id"][:8])
        self.refuse(code, "not accepted; ask for a new one")

        good = self.portland.run("invite").out
        self.seattle.run("join", "-", stdin=good)
        self.seattle.run("leave")
        tacoma = self.machine("tacoma")
        tacoma.init()
        ended = tacoma.run("join", "-", stdin=good, status=None)
        self.assert_one_line(ended, 4, "not accepted; ask for a new one")
        self.assertIsNone(self.seattle.json("status")["mesh_id"])
        self.assert_no_traceback()

    def test_without_node(self) -> None:
        """
        On a machine without a node one is made, named after the host, and joined
        without one running; what to run next is said. A code that cannot be good
        makes nothing.
        """
        self.refuse("garbage", "copy all of it")
        self.assertFalse(self.seattle.state.exists())
        code = self.portland.run("invite").out
        self.refuse(self.expired_code(), "has expired")
        self.assertFalse(self.seattle.state.exists())
        self.seattle.variables["ATMOSPHERE_UDP_PORT"] = str(free_port())  # others may want 7777
        ended = self.seattle.run("join", "-", stdin=code)
        name = tidy_name(socket.gethostname().split(".")[0])
        self.assertIn(f"made the node {name} in", ended.err)
        self.assertRegex(ended.err, r"now start the node with: atmosphere --state \S+ serve\n")
        self.assertRegex(ended.out, rf"^joined the mesh home \(mesh-\S+\) as {name}\n$")
        self.seattle.serve()
        (peer,) = self.seattle.wait_until_connected("portland")
        self.assertEqual(peer["path"]["kind"], "direct")
        self.assert_no_traceback()

    def test_own_name(self) -> None:
        """
        The node that is made can be named; without C{-} the code may also be a file
        or the argument itself.
        """
        file = self.folder / "code.txt"
        file.write_text(self.portland.run("join").out, encoding="ascii")  # an alias of invite
        self.assertIn("as salem", self.seattle.run("join", str(file), "--name", "salem").out)
        tacoma = self.machine("tacoma")
        code = self.portland.json("invite")["code"]
        self.assertIn("as tacoma", tacoma.run("join", code, "-n", "tacoma").out)

    def test_other_mesh(self) -> None:
        """
        Inside of a mesh no other is joined, running or not, and the remedy is named;
        a code of the own mesh is refused too.
        """
        self.seattle.init()
        self.seattle.serve()
        foreign = self.seattle.run("invite", "--mesh-name", "work").out
        own = self.portland.run("invite").out
        for running in (True, False):
            ended = self.portland.run("join", "-", stdin=foreign, status=None)
            self.assert_one_line(ended, 4, "in the mesh home", "`atmosphere leave`")
            ended = self.portland.run("join", "-", stdin=own, status=None)
            self.assert_one_line(ended, 4, "already")
            if running:
                self.portland.kill()
        self.portland.run("leave")
        self.portland.run("join", "-", stdin=foreign)

    def test_issuer_has_left(self) -> None:
        """
        A code of a mesh that its issuer has left is worth nothing, also when the
        issuer has founded another.
        """
        code = self.portland.run("invite").out
        self.portland.run("leave")
        self.portland.run("invite", "--mesh-name", "work")
        self.seattle.init()
        self.seattle.serve()
        self.refuse(code, "not accepted; ask for a new one")

    def test_waits_for_issuer(self) -> None:
        """
        Who joins while the issuer does not run is let in when it is back.
        """
        code = self.folder / "code.txt"
        code.write_text(self.portland.run("invite").out, encoding="ascii")
        self.portland.kill()
        self.seattle.init()
        joining = self.start("atmosphere", "join", str(code), environment=self.seattle.environment)
        self.wait_until((self.seattle.state / "control.sock").exists, "the joiner is up")
        self.portland.serve()
        ended = joining.wait()
        self.assertEqual(ended.status, 0, ended)
        self.assertIn("joined the mesh home", ended.out)
        self.assertEqual(self.portland.json("status")["peers"]["known"], 1)


class DeafJoiner(Protocol):
    """
    Asks to be let in and never hears the answer.
    """

    def __init__(self, request: bytes) -> None:
        self._request = request

    @override
    def connectionMade(self) -> None:
        """
        Ask.
        """
        assert self.transport is not None
        self.transport.write(self._request)


class TogetherTests(EndToEndTestCase, TestCase):
    """
    Whole nodes on real sockets, each on a loopback address of its own, so that
    none is refused for trying too often from one address.
    """

    timeout = 90

    def make_node(self, number: int) -> NodeService:
        """
        Start a node in this process, for the length of the test.
        """
        address = f"127.0.1.{number}"
        config = NodeConfig(
            f"node-{number}", interfaces=(address,), allow_loopback=True, public_stun=False
        )
        path = self.folder / config.name
        store = NodeStore.create(path, config, wall=wall, entropy=os.urandom)
        self.addCleanup(store.close)
        node = NodeService(
            global_reactor,
            store,
            store.settings,
            entropy=os.urandom,
            wall=wall,
            random=random.Random(number).random,
            interfaces=lambda: [Interface("lo", address, 8)],
            has_control=False,
        )
        node.privilegedStartService()
        node.startService()
        self.addCleanup(node.stopService)
        return node

    async def join_all(
        self, nodes: Sequence[NodeService], code: str
    ) -> tuple[list[Any], list[Any]]:
        """
        Join with all nodes at the same time.

        @return: those that are members now, and what the others were told.
        """
        results = await DeferredList([node.join(code) for node in nodes], consumeErrors=True)
        members = [node for node, (is_good, _) in zip(nodes, results, strict=True) if is_good]
        failures = [cast(Failure, result).value for is_good, result in results if not is_good]
        return members, failures

    async def test_fifty(self) -> None:
        """
        Of fifty machines that redeem one code at the same time one becomes a member,
        and the others are refused.
        """
        issuer = self.make_node(1)
        invitation = await issuer.invite(hours=1, uses=1, mesh_name=None)
        nodes = [self.make_node(number) for number in range(2, 52)]
        members, failures = await self.join_all(nodes, invitation["code"])
        self.assertEqual([type(each) for each in failures], [JoinError] * 49, failures)
        (member,) = members
        (kept,) = issuer.invitations()
        self.assertEqual(kept["redeemed_by"], [member.status()["node_id"]])
        self.assertEqual(issuer.status()["peers"]["known"], 1)

    async def test_lost_reply(self) -> None:
        """
        A joiner that redeemed a code and never heard the answer asks again and gets
        it; nobody else does.
        """
        issuer, joiner, other = (self.make_node(number) for number in range(1, 4))
        invitation = await issuer.invite(hours=1, uses=1, mesh_name=None)
        code = JoinCode.from_compact(invitation["code"])
        ways = joiner.links.ways_to(
            code.issuer, endpoints=[TransportAddress.from_text(code.endpoint)]
        )
        link = await joiner.links.endpoint.dial(code.issuer, ways)
        request = Joiner(
            code,
            joiner.mesh.node_id,
            issuer=link.peer,
            binding=link.core.quic.channel_binding(),
            wanted_name="node-2",
        ).start()
        link.open_stream(SERVICE, DeafJoiner(request))
        while not issuer.invitations()[0]["redeemed_by"]:
            await deferLater(clock, 0.02)
        link.close("its cable was pulled")
        self.assertIsNone(joiner.status()["mesh_id"])
        await self.assertFailure(other.join(code.code), JoinError)
        joined = await joiner.join(code.code)
        self.assertEqual(joined["name"], "node-2")
        self.assertEqual(issuer.status()["peers"]["known"], 1)

    async def test_killed(self) -> None:
        """
        Also when the issuer is killed as soon as it has redeemed the code, and
        started again, there is one new member and never two.
        """
        portland = Machine(self, "portland")
        portland.init()
        program = await deferToThread(portland.serve, "--allow-loopback")
        code = (await deferToThread(portland.run, "invite")).out.strip()
        nodes = [self.make_node(number) for number in range(2, 14)]
        joining = Deferred.fromCoroutine(self.join_all(nodes, code))
        await deferToThread(program.wait_for, "was admitted")
        program.kill()
        await deferToThread(portland.serve, "--allow-loopback")
        members, failures = await joining
        missing = [node for node in nodes if node not in members]
        more, refused = await self.join_all(missing, code)
        self.assertEqual([each.exit_code for each in refused], [4] * 11, (failures, refused))
        (member,) = [*members, *more]
        listed = await deferToThread(portland.json, "invite", "list")
        (kept,) = listed["invitations"]
        self.assertEqual(kept["redeemed_by"], [member.status()["node_id"]])
        status = await deferToThread(portland.json, "status")
        self.assertEqual(status["peers"]["known"], 1)
        self.assert_no_traceback()
