# -*- test-case-name: tests.services.test_endpoints -*-
"""
Endpoints: what makes any Twisted program peer-to-peer with no change but a string.

C{atmosphere:PEER:SERVICE} connects, C{atmosphere:SERVICE} listens. In a process
that runs a node that node is used, otherwise the one that runs on the machine.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from twisted.internet.defer import Deferred, fail, succeed
from twisted.internet.interfaces import (
    IListeningPort,
    IProtocol,
    IProtocolFactory,
    IStreamClientEndpoint,
    IStreamServerEndpoint,
)
from zope.interface import implementer

from atmosphere.errors import AtmosphereError

from .local_socket import default_state_directory
from .local_streams import LocalStreams
from .running import running_node

__all__ = ["AtmosphereClientEndpoint", "AtmosphereServerEndpoint"]

PATHS = ("auto", "relayed", "direct")


def _directory(state: str | Path | None) -> Path | None:
    """
    Make a path of what a person wrote.
    """
    return None if not state else Path(state).expanduser()


def _local(reactor: Any, state: Path | None, mesh: str | None) -> LocalStreams:
    """
    Find the node that runs on the machine.
    """
    return LocalStreams(reactor, state or default_state_directory(os.environ), mesh)


@implementer(IStreamClientEndpoint)
class AtmosphereClientEndpoint:
    """
    Connects to a service of a member of our mesh.
    """

    def __init__(
        self,
        reactor: Any,
        peer: str,
        service: str,
        *,
        state: str | Path | None = None,
        mesh: str | None = None,
        path: str = "auto",
        timeout: float | str = 30.0,
    ) -> None:
        """
        @param reactor: has UNIX sockets and time.
        @param peer: a name, a node ID, or the beginning of one.
        @param state: the node's state directory; C{None} for the only node of this
            process, else the usual directory.
        @param mesh: the ID or name of the mesh that the node must be in.
        @param path: C{auto}, C{relayed} or C{direct}.
        @param timeout: in seconds.
        @raise ValueError: the path or the timeout is none.
        """
        if path not in PATHS:
            raise ValueError(f"path={path}: it is one of {', '.join(PATHS)}")
        self._reactor = reactor
        self._peer = peer
        self._service = service
        self._state = _directory(state)
        self._mesh = mesh
        self._path = path
        self._timeout = float(timeout)
        if not 0 < self._timeout <= 3600:
            raise ValueError(f"timeout={timeout}: seconds, above 0 and up to 3600")

    def connect(self, protocolFactory: IProtocolFactory) -> Deferred[IProtocol]:  # noqa: N803  # Twisted's name
        """
        Open a stream.

        @return: fires with the protocol. Fails with L{ConfigurationError} (nobody
            is called so), L{LinkError} (the peer is not reached),
            L{StreamRefusedError} (it does not serve that, or not us) or
            L{NotRunningError}. Cancelling it gives up.
        """
        try:
            node = running_node(self._state, self._mesh)
        except AtmosphereError as error:
            return fail(error)
        streams = node or _local(self._reactor, self._state, self._mesh)
        return streams.open(
            self._peer, self._service, protocolFactory, path=self._path, timeout=self._timeout
        )


@implementer(IStreamServerEndpoint)
class AtmosphereServerEndpoint:
    """
    Offers a service to the members of our mesh.
    """

    def __init__(
        self,
        reactor: Any,
        service: str,
        *,
        state: str | Path | None = None,
        mesh: str | None = None,
    ) -> None:
        """
        The parameters are those of L{AtmosphereClientEndpoint}.
        """
        self._reactor = reactor
        self._service = service
        self._state = _directory(state)
        self._mesh = mesh

    def listen(self, protocolFactory: IProtocolFactory) -> Deferred[IListeningPort]:  # noqa: N803  # Twisted's name
        """
        Offer the service, for as long as the port is open.

        @return: fails with L{ConfigurationError} (no such name can be),
            L{ListenError} (it is taken) or L{NotRunningError}.
        """
        try:
            node = running_node(self._state, self._mesh)
            if node is not None:
                return succeed(node.listen(self._service, protocolFactory))
        except AtmosphereError as error:
            return fail(error)
        return _local(self._reactor, self._state, self._mesh).listen(self._service, protocolFactory)
