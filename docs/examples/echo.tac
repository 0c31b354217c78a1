"""
A node and a service of ours in one program: it sends back what it is sent.

Start it with C{twistd -ny echo.tac}, or without C{-n} in the background. The
first time it makes a node in C{./echo-node}; C{atmosphere --state echo-node
invite} then lets somebody into its mesh.
"""

import os

from twisted.application.service import Application
from twisted.internet import reactor
from twisted.internet.protocol import Factory
from twisted.protocols.wire import Echo

from atmosphere.node.embed import make_node

state = os.environ.get("ATMOSPHERE_HOME", "echo-node")
relays = os.environ.get("ATMOSPHERE_RELAY", "").split()

node = make_node(reactor, state, relays=relays)
node.listen("echo", Factory.forProtocol(Echo))

application = Application("echo")
node.setServiceParent(application)
