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

from atmosphere.errors import NoPathError
from atmosphere.identity import NodeID
from atmosphere.network.quic.connection import Link

from .links import NodeLinks
from .mesh import NodeMesh

__all__ = ["LOOK_FOR", "LinkKeeper"]

LOOK_EVERY = 1.0
FIRST_PAUSE = 2.0
LONGEST_PAUSE = 60.0
MAX_NEIGHBOURS = 32
PATIENCE = 3.0

#: Seconds until it is known that a peer is not found: a dial, and what relays need to let us in.
LOOK_FOR = 20.0


@dataclass
class _Attempts:
    """
    How dialling a peer went so far.

    @ivar since: when it was first looked for.
    @ivar is_in_vain: whether a way to it was known, and led nowhere.
    """

    due: float
    since: float
    pause: float = FIRST_PAUSE
    is_dialling: bool = False
    is_in_vain: bool = False


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
        self._left_out: frozenset[NodeID] = frozenset()
        self._met: set[NodeID] = set()
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
        now = self._reactor.seconds()
        attempts = self._attempts.setdefault(node, _Attempts(now, now))
        if not attempts.is_dialling:
            self._dial(node, attempts)

    def is_looking_for(self, node: NodeID) -> bool:
        """
        Say whether a peer has not been linked yet since we began, nor been dialled in vain.
        """
        if not self._loop.running or node in self._met:
            return False
        attempts = self._attempts.get(node)
        if attempts is None:
            return node not in self._left_out  # it is dialled after the next look
        is_new = self._reactor.seconds() - attempts.since < LOOK_FOR
        return is_new and not attempts.is_in_vain

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
        self._met.add(link.peer)
        self._attempts.pop(link.peer, None)

    def _look(self) -> None:
        """
        Dial whom it is time to dial.
        """
        now = self._reactor.seconds()
        others = [member.node for member in self._mesh.others()]
        neighbours = others[:MAX_NEIGHBOURS]
        self._left_out = frozenset(others[MAX_NEIGHBOURS:])
        self._met.intersection_update(neighbours)
        self._attempts = {
            node: attempts for node, attempts in self._attempts.items() if node in neighbours
        }
        for node in neighbours:
            if self._links.link_to(node) is not None:
                continue
            attempts = self._attempts.setdefault(node, _Attempts(now + self._random(), now))
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
        attempts.is_in_vain = attempts.is_in_vain or failure.check(NoPathError) is None
        attempts.due = self._reactor.seconds() + attempts.pause * (0.5 + self._random() / 2)
        attempts.pause = min(LONGEST_PAUSE, 2 * attempts.pause)
