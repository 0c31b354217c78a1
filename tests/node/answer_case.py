"""
Two homes that nothing connects but the Internet: what tests of answers share.
"""

from __future__ import annotations

from typing import Any

from twisted.internet.defer import CancelledError, Deferred
from typing_extensions import override

from atmosphere.errors import AtmosphereError
from atmosphere.network.stun.binding import Corner
from atmosphere.network.stun.server import BindingSockets
from atmosphere.node.config import parse_host_port
from atmosphere.testing.nat import (
    PORT_RESTRICTED,
    NatBehaviour,
)

from .harness import SimulatedNode, WorldCase

__all__ = ["STUN", "AnswerCase"]

STUN = ("203.0.113.3:3478", "203.0.113.4:3478")


class AnswerCase(WorldCase):
    """
    Two homes and two STUN servers; there is no relay at all.
    """

    @override
    def setUp(self) -> None:
        """
        Make the world, and the servers.
        """
        self.world = self.make_world(latency=0.02)
        self.lines: list[dict[str, Any]] = []
        self.followed: list[dict[str, Any]] = []
        for text in STUN:
            address = text.partition(":")[0]
            host = self.world.network.host(f"stun {address}", address)
            sockets = BindingSockets(host)
            host.listenUDP(3478, sockets.protocol(Corner(False, False)), address, 8192)

    def node(
        self, name: str, number: int, behind: NatBehaviour | None, **config: Any
    ) -> SimulatedNode:
        """
        Put a node into a home.
        """
        servers = tuple(map(parse_host_port, STUN))
        config.setdefault("stun_servers", servers)
        return self.world.node(name, f"198.51.100.{number}", behind=behind, relays=(), **config)

    def homes(
        self, one: NatBehaviour | None = PORT_RESTRICTED, two: NatBehaviour | None = PORT_RESTRICTED
    ) -> None:
        """
        Make portland and seattle.
        """
        self.portland, self.seattle = self.node("portland", 1, one), self.node("seattle", 2, two)
        self.world.advance(5)

    def invite(self, **settings: Any) -> str:
        """
        Make a code at portland.
        """
        wanted = {"hours": 1.0, "uses": 1, "mesh_name": None}
        made = self.world.result(self.portland.service.invite(**{**wanted, **settings}))
        self.assertTrue(made["needs_answer"])
        code: str = made["code"]
        return code

    def join(self, code: str, node: SimulatedNode | None = None, **settings: Any) -> Deferred[Any]:
        """
        Begin to join, until there is an answer.
        """
        joiner = node or self.seattle
        joining = joiner.service.join(code, emit=self.lines.append, **{"answers": True, **settings})
        self.addCleanup(self.end, joining, joiner, joiner.starts)
        before = len(self.answers())
        self.world.until(lambda: joining.called or len(self.answers()) > before)
        return joining

    def end(
        self, deferred: Deferred[Any], node: SimulatedNode | None = None, starts: int = 0
    ) -> None:
        """
        Give something up that may be under way, unless the node was killed meanwhile.
        """
        deferred.addErrback(lambda failure: failure.trap(AtmosphereError, CancelledError))
        if node is None or node.starts == starts:
            deferred.cancel()

    def answers(self) -> list[str]:
        """
        List the answers that were printed.
        """
        return [line["answer"] for line in self.lines if "answer" in line]

    def follow(self, text: str = "", **settings: Any) -> Deferred[Any]:
        """
        Hand an answer in at portland.
        """
        return self.portland.service.follow_answer(
            text or self.answers()[-1], emit=self.followed.append, **settings
        )
