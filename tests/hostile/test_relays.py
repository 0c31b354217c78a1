"""
Tests of clients whose relays are hostile: a process that lies in every way we know.
"""

from __future__ import annotations

import secrets
from typing import Any

from twisted.internet import reactor  # noqa: TID251, real sockets are the point here
from twisted.internet.defer import Deferred, gatherResults
from twisted.internet.task import LoopingCall, deferLater
from twisted.trial.unittest import TestCase
from typing_extensions import override

from atmosphere.identity import NodeKey
from atmosphere.network.relay.client import RelayClient
from atmosphere.network.relay.frames import HelloCredentials

from .bad_relay import MANNERS
from .relays import bad_relays

#: Seconds for which the clients bear it.
WATCHED = 2.5

#: Seconds more that a busy machine may need until each has had its connection.
PATIENCE = 15

#: By its back-off a client dials so often in that time, at most.
MOST = 5

#: They break no rule, or not so soon.
MAY_STAY = {"raw: garbage", "unknown nodes", "huge numbers", "empty fragments", "drips"}


class HostileRelayTests(TestCase):
    """
    A client for each manner, all in one process.
    """

    timeout = 30

    @override
    def setUp(self) -> None:
        self.clients: dict[str, RelayClient] = {}
        self.changes: dict[str, int] = dict.fromkeys(MANNERS, 0)
        self.errors: dict[str, str] = {}
        self.taken = 0
        self.looked = self.slowest = 0.0

    def client(self, manner: str, port: int) -> None:
        """
        Start a client.
        """

        def changed(client: RelayClient) -> None:
            self.changes[manner] += 1
            if client.error is not None:
                self.errors[manner] = client.error

        def took(*_: object) -> None:
            self.taken += 1

        world: Any = reactor
        self.clients[manner] = RelayClient(
            world,
            f"ws://127.0.0.1:{port}",
            NodeKey(secrets.token_bytes(32)),
            entropy=secrets.token_bytes,
            wall=lambda: 1e9,
            random=lambda: 0.0,
            hello=HelloCredentials,
            on_datagrams=took,
            on_change=changed,
        )
        self.clients[manner].startService()

    def look(self) -> None:
        """
        Note how long others had to wait for their turn.
        """
        now = self.clock.seconds()
        self.slowest = max(self.slowest, now - self.looked)
        self.looked = now

    def all_complained(self) -> bool:
        """
        Say whether each client has said what is wrong that has reason to.
        """
        return set(MANNERS) <= MAY_STAY | set(self.errors)

    async def test_every_manner(self) -> None:
        """
        Each client leaves a relay that breaks the rules, says why, and dials it ever more
        rarely; none is told of more changes than a peer would bear, none raises, and none
        keeps the others from their turn.
        """
        self.clock: Any = reactor
        self.looked = self.clock.seconds()
        looking = LoopingCall(self.look)
        with bad_relays() as dialled:
            for manner, port in dialled.ports.items():
                self.client(manner, port)
            looking.start(0.02)
            await deferLater(self.clock, WATCHED, lambda: None)
            waited = 0
            while waited < PATIENCE and not self.all_complained():
                waited += 1
                await deferLater(self.clock, 1, lambda: None)
            looking.stop()
            stopped: list[Deferred[None]] = [each.stopService() for each in self.clients.values()]
            await gatherResults(stopped)
        self.assertEqual(set(dialled.counts), set(MANNERS))
        for manner in MANNERS:
            self.assertLessEqual(dialled.counts[manner], MOST + waited, manner)
            self.assertLess(self.changes[manner], 64, manner)
            if manner not in MAY_STAY:
                self.assertIn("127.0.0.1", self.errors.get(manner, ""), manner)
        self.assertGreater(self.taken, 0)
        self.assertLess(self.slowest, 2.0)
