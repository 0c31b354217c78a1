"""
Fetches C{http://HOST/PATH} through a client endpoint with Twisted's Agent: ENDPOINT URL.
"""

import sys

from twisted.internet.defer import Deferred
from twisted.internet.endpoints import clientFromString
from twisted.internet.interfaces import IReactorTime
from twisted.internet.task import react
from twisted.web.client import Agent, readBody
from twisted.web.iweb import IAgentEndpointFactory
from zope.interface import implementer


@implementer(IAgentEndpointFactory)
class OneEndpoint:
    """
    Sends every request to one place.
    """

    def __init__(self, reactor: object, text: str) -> None:
        self._reactor = reactor
        self._text = text

    def endpointForURI(self, uri: object) -> object:  # noqa: N802, Twisted's name
        """
        Make the endpoint.
        """
        return clientFromString(self._reactor, self._text)


async def fetch(reactor: IReactorTime, endpoint: str, url: str) -> None:
    """
    Print the page.
    """
    agent = Agent.usingEndpointFactory(reactor, OneEndpoint(reactor, endpoint))
    response = await agent.request(b"GET", url.encode("ascii"))
    body = await readBody(response)
    sys.stdout.write(f"{response.code} {len(body)}\n{body[:1000].decode()}\n")


def main(reactor: IReactorTime, endpoint: str, url: str) -> Deferred[None]:
    """
    Do it.
    """
    return Deferred.fromCoroutine(fetch(reactor, endpoint, url))


if __name__ == "__main__":
    react(main, sys.argv[1:])
