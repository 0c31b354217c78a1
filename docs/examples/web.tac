"""
A node beside twisted.web, in one process: a page that shows how the node fares,
on TCP for this machine and as the service C{www} for the members of its mesh.

Start it with C{twistd -ny web.tac}, and look at U{http://127.0.0.1:8080/}.
"""

import json
import os
from collections import deque

from twisted.application.service import Application
from twisted.application.strports import service
from twisted.internet import reactor
from twisted.web.resource import Resource
from twisted.web.server import Request, Site

from atmosphere.node.embed import make_node
from atmosphere.node.events import NodeEvent


class StatusPage(Resource):
    """
    Shows the node, its peers, and what happened lately.
    """

    isLeaf = True

    def __init__(self) -> None:
        super().__init__()
        self.events: deque[NodeEvent] = deque(maxlen=20)

    def render_GET(self, request: Request) -> bytes:
        """
        Answer with JSON.
        """
        request.setHeader(b"content-type", b"application/json")
        page = {
            "node": node.status(),
            "peers": node.peers(),
            "events": [str(event) for event in self.events],
        }
        return json.dumps(page, indent=2).encode()


state = os.environ.get("ATMOSPHERE_HOME", "web-node")
listen = os.environ.get("LISTEN", "tcp:8080:interface=127.0.0.1")

node = make_node(reactor, state)
page = StatusPage()
site = Site(page)
node.subscribe(page.events.append)
node.listen("www", site)

application = Application("web")
node.setServiceParent(application)
service(listen, site).setServiceParent(application)
