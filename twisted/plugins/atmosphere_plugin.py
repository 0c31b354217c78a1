"""
Tell twistd about C{twistd atmosphere}, and every Twisted program about endpoint
strings; the work is in L{atmosphere.tap} and L{atmosphere.services.endpoints},
which are imported when they are needed.
"""

from twisted.application.service import ServiceMaker
from twisted.internet.interfaces import (
    IStreamClientEndpoint,
    IStreamClientEndpointStringParserWithReactor,
    IStreamServerEndpoint,
    IStreamServerEndpointStringParser,
)
from twisted.plugin import IPlugin
from zope.interface import implementer

atmosphere = ServiceMaker(
    "atmosphere",
    "atmosphere.tap",
    "A member of an encrypted peer-to-peer mesh, a relay, or both.",
    "atmosphere",
)


@implementer(IPlugin, IStreamClientEndpointStringParserWithReactor)
class _ClientParser:
    """
    Reads C{atmosphere:PEER:SERVICE}, with state=, mesh=, path= and timeout=.
    """

    prefix = "atmosphere"

    @staticmethod
    def parseStreamClient(
        reactor: object, *args: object, **kwargs: object
    ) -> IStreamClientEndpoint:
        """
        Make the endpoint.

        @raise ValueError: the string lacks something, or has too much.
        """
        from atmosphere.services.endpoints import AtmosphereClientEndpoint

        try:
            return AtmosphereClientEndpoint(reactor, *args, **kwargs)  # type: ignore[arg-type]  # as written
        except TypeError:
            raise ValueError(
                "it is atmosphere:PEER:SERVICE, then state=, mesh=, path= or timeout="
            ) from None


@implementer(IPlugin, IStreamServerEndpointStringParser)
class _ServerParser:
    """
    Reads C{atmosphere:SERVICE}, with state= and mesh=.
    """

    prefix = "atmosphere"

    @staticmethod
    def parseStreamServer(
        reactor: object, *args: object, **kwargs: object
    ) -> IStreamServerEndpoint:
        """
        Make the endpoint.

        @raise ValueError: the string lacks something, or has too much.
        """
        from atmosphere.services.endpoints import AtmosphereServerEndpoint

        try:
            return AtmosphereServerEndpoint(reactor, *args, **kwargs)  # type: ignore[arg-type]  # as written
        except TypeError:
            raise ValueError("it is atmosphere:SERVICE, then state= or mesh=") from None


client_parser = _ClientParser()
server_parser = _ServerParser()
