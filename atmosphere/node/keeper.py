# -*- test-case-name: tests.node.test_keeper -*-
"""
Keeps a link to each neighbour: dials those that are not linked, ever more slowly.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from twisted.internet.interfaces import IReactorTime
from twisted.internet.task import LoopingCall, deferLater
from twisted.logger import Logger
from twisted.python.failure import Failure

from atmosphere.identity import NodeID
from atmosphere.network.quic.connection import Link

from .links import NodeLinks
from .mesh import NodeMesh

__all__ = ["LinkKeeper"]

LOOK_EVERY = 1.0
FIRST_PAUSE = 2.0
LONGEST_PAUSE = 60.0
MAX_NEIGHBOURS = 32
PATIENCE = 3.0


@dataclass
class _Attempts:
    """
    How dialling a peer went so far.
    """

    due: float
    pause: float = FIRST_PAUSE
    is_dialling: bool = False


class LinkKeeper:
    """
    Dials members that are not linked, at most 32 of them, for ever.

    Both of two nodes do so; the rules of several links see to it that one stays.
    """

    _log = Logger()

    def __init__(
        self,
        reactor: IReactorTime,
        links: NodeLinks,
        mesh: NodeMesh,
        *,
        random: Callable[[], float],
    ) -> None:
        self._reactor = reactor
        self._links = links
        self._mesh = mesh
        self._random = random
        self._attempts: dict[NodeID, _Attempts] = {}
        self._loop = LoopingCall(self._look)
        self._loop.clock = reactor
        links.on_connected.append(self._connected)

    def start(self) -> None:
        """
        Begin.
        """
        self._loop.start(LOOK_EVERY, now=False)

    def stop(self) -> None:
        """
        End.
        """
        if self._loop.running:
            self._loop.stop()
        self._attempts.clear()

    def hurry(self) -> None:
        """
        Something changed for the better: try everyone again soon.
        """
        now = self._reactor.seconds()
        for attempts in self._attempts.values():
            attempts.pause = FIRST_PAUSE
            attempts.due = min(attempts.due, now + self._random())

    def dial_now(self, node: NodeID) -> None:
        """
        Dial a peer at once; if that fails, it is dialled again as any other.
        """
        attempts = self._attempts.setdefault(node, _Attempts(self._reactor.seconds()))
        if not attempts.is_dialling:
            self._dial(node, attempts)

    async def linked(self, node: NodeID, patience: float = PATIENCE) -> bool:
        """
        Dial a peer at once, and wait a little for the link.

        @return: whether there is one; if not, the peer is dialled on.
        """
        self.dial_now(node)
        until = self._reactor.seconds() + patience
        while self._links.link_to(node) is None:
            if self._reactor.seconds() >= until:
                return False
            self.hurry()
            await deferLater(self._reactor, 0.05)
        return True

    def _connected(self, link: Link) -> None:
        """
        Forget the failures of a peer that is linked.
        """
        self._attempts.pop(link.peer, None)

    def _look(self) -> None:
        """
        Dial whom it is time to dial.
        """
        now = self._reactor.seconds()
        neighbours = [member.node for member in self._mesh.others()][:MAX_NEIGHBOURS]
        self._attempts = {
            node: attempts for node, attempts in self._attempts.items() if node in neighbours
        }
        for node in neighbours:
            if self._links.link_to(node) is not None:
                continue
            attempts = self._attempts.setdefault(node, _Attempts(now + self._random()))
            if now >= attempts.due and not attempts.is_dialling:
                self._dial(node, attempts)

    def _dial(self, node: NodeID, attempts: _Attempts) -> None:
        """
        Dial one peer.
        """
        attempts.is_dialling = True
        self._links.connect(node).addCallbacks(
            lambda _: None, self._failed, errbackArgs=(node, attempts)
        )

    def _failed(self, failure: Failure, node: NodeID, attempts: _Attempts) -> None:
        """
        Wait longer before the next attempt.
        """
        self._log.debug(
            "{peer} is not reached: {reason}", peer=node.short, reason=failure.getErrorMessage()
        )
        attempts.is_dialling = False
        attempts.due = self._reactor.seconds() + attempts.pause * (0.5 + self._random() / 2)
        attempts.pause = min(LONGEST_PAUSE, 2 * attempts.pause)
