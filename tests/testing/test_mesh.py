"""
Tests for L{atmosphere.testing.mesh} and L{atmosphere.testing.machine}.
"""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

from twisted.internet.protocol import Factory, Protocol
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase
from typing_extensions import override

from atmosphere.errors import ConfigurationError
from atmosphere.services.running import running_node
from atmosphere.testing import SYMMETRIC, MemoryMesh, TraceRecord

ROOT = Path(__file__).parents[2]


class Echo(Protocol):
    """
    Sends back what comes.
    """

    @override
    def dataReceived(self, data: bytes) -> None:
        assert self.transport is not None
        self.transport.write(data)


class Asking(Protocol):
    """
    Says hello and keeps the answer.
    """

    def __init__(self) -> None:
        self.answer = b""

    @override
    def connectionMade(self) -> None:
        assert self.transport is not None
        self.transport.write(b"hello")

    @override
    def dataReceived(self, data: bytes) -> None:
        self.answer += data


class MemoryMeshTests(SynchronousTestCase):
    """
    A mesh in a few lines.
    """

    def make(self, seed: int = 1) -> MemoryMesh:
        """
        Make a mesh that is stopped when the test is over.
        """
        mesh = MemoryMesh(Clock(), seed=seed)
        self.addCleanup(mesh.stop)
        return mesh

    def ask(self, mesh: MemoryMesh, asking: str, asked: str) -> bytes:
        """
        Have one node ask another, by its name.
        """
        node = mesh.machines[asking].service
        opened = node.open(asked, "echo", Factory.forProtocol(Asking))
        protocol: Asking = mesh.result(opened)
        mesh.until(lambda: protocol.answer)
        return protocol.answer

    def test_all_reach_each_other(self) -> None:
        """
        Every node finds every other by its name, whoever it joined by.
        """
        mesh = self.make()
        names = ("portland", "seattle", "tacoma")
        for name in names:
            mesh.node(name).listen("echo", Factory.forProtocol(Echo))
        for asking in names:
            for asked in names:
                if asking != asked:
                    self.assertEqual(self.ask(mesh, asking, asked), b"hello")

    def test_errors(self) -> None:
        """
        What a Deferred fails with is raised, and waiting in vain too.
        """
        mesh = self.make()
        node = mesh.node("portland")
        opened = node.open("nobody", "echo", Factory.forProtocol(Asking))
        self.assertRaises(ConfigurationError, mesh.result, opened)
        self.assertRaises(TimeoutError, mesh.until, lambda: False, 1)

    def test_kill_and_restart(self) -> None:
        """
        A node that was killed is another one afterwards, with the same identity,
        and is reached again.
        """
        mesh = self.make()
        first = mesh.node("portland")
        mesh.node("seattle")
        machine = mesh.machines["portland"]
        machine.kill(is_silent=True)
        mesh.advance(30)
        again = machine.restart()
        self.assertIsNot(again, first)
        self.assertEqual(again.status()["node_id"], first.status()["node_id"])
        again.listen("echo", Factory.forProtocol(Echo))
        self.assertEqual(self.ask(mesh, "seattle", "portland"), b"hello")

    def test_behind_a_nat(self) -> None:
        """
        Nodes behind NATs and those with other settings are members like all others.
        """
        mesh = self.make()
        mesh.node("portland", behind=SYMMETRIC)
        mesh.node("seattle", path_policy="relayed").listen("echo", Factory.forProtocol(Echo))
        self.assertEqual(self.ask(mesh, "portland", "seattle"), b"hello")
        self.assertEqual(mesh.machines["portland"].path_to(mesh.machines["seattle"]), "relayed")
        self.assertIsNotNone(mesh.machines["portland"].nat)

    def test_relay_dies(self) -> None:
        """
        A relay that was killed can be started again; a mesh without one stops as well.
        """
        clock = Clock()
        with MemoryMesh(clock) as mesh:
            for name in ("portland", "seattle"):
                mesh.node(name, behind="symmetric").listen("echo", Factory.forProtocol(Echo))
            before = mesh.relay
            mesh.relay_host.kill()
            mesh.advance(30)
            self.assertIsNot(mesh.restart_relay(), before)
            mesh.advance(30)
            self.assertEqual(self.ask(mesh, "portland", "seattle"), b"hello")
            mesh.relay_host.kill()
            mesh.advance(1)
        self.assertEqual(clock.getDelayedCalls(), [])

    def run_once(self, seed: int) -> list[TraceRecord]:
        """
        Record what happens in a run.
        """
        with MemoryMesh(Clock(), seed) as mesh:
            trace = mesh.network.record()
            mesh.node("portland").listen("echo", Factory.forProtocol(Echo))
            mesh.node("seattle")
            self.ask(mesh, "seattle", "portland")
        return trace

    def test_same_seed_same_run(self) -> None:
        """
        The same seed gives the same packets at the same times.
        """
        first = self.run_once(1)
        self.assertGreater(len(first), 20)
        self.assertEqual(first, self.run_once(1))

    def test_same_in_every_process(self) -> None:
        """
        So it does in another process, however that one hashes.
        """
        program = (
            "from hashlib import sha256; from tests.testing.test_mesh import MemoryMeshTests;"
            " trace = MemoryMeshTests('run_once').run_once(1);"
            " print(sha256(str(trace).encode()).hexdigest())"
        )
        found = {
            subprocess.run(
                [sys.executable, "-c", program],
                env={**os.environ, "PYTHONHASHSEED": seed, "PYTHONPATH": str(ROOT)},
                capture_output=True,
                check=True,
            ).stdout
            for seed in ("1", "2")
        }
        self.assertEqual(len(found), 1)

    def test_nothing_is_left(self) -> None:
        """
        Once it is stopped, even with a machine killed and one asleep, neither a
        timer nor a file is left.
        """
        clock = Clock()
        with MemoryMesh(clock) as mesh:
            folder = Path(mesh.node("portland").state)
            self.assertTrue(folder.exists())
            mesh.node("seattle")
            mesh.node("tacoma")
            mesh.machines["portland"].kill()
            mesh.machines["seattle"].host.sleep()
            killed, alive = (mesh.machines[name].service.state for name in ("portland", "tacoma"))
            self.assertIsNone(running_node(killed, None))
            self.assertIsNotNone(running_node(alive, None))
        self.assertIsNone(running_node(alive, None))
        self.assertFalse(folder.exists())
        self.assertEqual(clock.getDelayedCalls(), [])
