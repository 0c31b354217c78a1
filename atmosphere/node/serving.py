# -*- test-case-name: tests.node.test_streaming -*-
"""
What the program around a node offers to members: names, and who may have which.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import TYPE_CHECKING, TypeAlias

from twisted.internet.defer import Deferred, succeed
from twisted.internet.interfaces import IListeningPort, IProtocol, IProtocolFactory
from typing_extensions import override
from zope.interface import implementer

from atmosphere.errors import ConfigurationError, StreamRefusedError
from atmosphere.membership import Membership
from atmosphere.network.quic.connection import Link
from atmosphere.network.quic.streams import LinkAddress
from atmosphere.text import escape_peer_text

if TYPE_CHECKING:
    from .streaming import Streaming

__all__ = ["RESERVED", "Access", "ServicePort", "check_service", "everyone"]

#: Sees who asks for which service; returns C{None} to serve it, or the reason not to.
Access: TypeAlias = Callable[[Membership, str], str | None]

RESERVED = "atmosphere."
_SERVICE = re.compile(r"[a-z0-9._-]{1,64}")


def check_service(service: str) -> str:
    """
    Check the name of a service.

    @raise ConfigurationError: it is none.
    """
    if not _SERVICE.fullmatch(service):
        raise ConfigurationError(
            f"a service's name has 1 to 64 of a-z, 0-9, dot, hyphen and underscore,"
            f" not {escape_peer_text(service)!r}"
        )
    return service


def everyone(member: Membership, service: str) -> str | None:
    """
    Let every member in: whoever is on a link with us is one.
    """
    return None


@implementer(IListeningPort)
class ServicePort:
    """
    A service that the program offers, until L{stopListening}.
    """

    def __init__(
        self,
        streaming: Streaming,
        service: str,
        factory: IProtocolFactory,
        access: Access,
        host: LinkAddress,
    ) -> None:
        self._streaming = streaming
        self._service = service
        self._factory = factory
        self._access = access
        self._host = host
        self._is_listening = False

    @override
    def __repr__(self) -> str:
        return f"<the service {self._service} of {self._host}>"

    def startListening(self) -> None:
        """
        Serve.

        @raise ListenError: the name is taken.
        """
        self._streaming.serve(self._service, self._accept)
        self._is_listening = True
        self._factory.doStart()

    def stopListening(self) -> Deferred[None]:
        """
        Serve nobody any more; streams that are open stay.
        """
        if self._is_listening:
            self._is_listening = False
            self._streaming.serve_no_more(self._service)
            self._factory.doStop()
        return succeed(None)

    def getHost(self) -> LinkAddress:
        """
        Say who serves, and what.
        """
        return self._host

    def _accept(self, link: Link) -> IProtocol:
        """
        Make the protocol for a stream.

        @raise StreamRefusedError: the peer may not have it.
        """
        assert link.membership is not None
        reason = self._access(link.membership, self._service)
        if isinstance(reason, str):
            raise StreamRefusedError(reason)
        if reason is not None:
            raise TypeError(f"access answered {reason!r}: None serves, a text refuses")
        protocol = self._factory.buildProtocol(link.address_of_peer(self._service))
        if protocol is None:
            raise StreamRefusedError("the service takes nobody at present")
        return protocol
