"""
A service that some members may use and others may not.

Start it with C{twistd -ny guest_list.tac}; the members are let in by
C{atmosphere --state guest-list-node invite}.
"""

import os

from twisted.application.service import Application
from twisted.internet import reactor
from twisted.internet.protocol import Factory
from twisted.protocols.wire import Echo

from atmosphere.membership import Membership
from atmosphere.node.embed import make_node

GUESTS = {"portland", "tacoma"}


def access(member: Membership, service: str) -> str | None:
    """
    Decide about each stream: C{None} serves it, a text is the reason not to.

    @param member: who asks; the name is the one that the mesh gave it, which a
        signature holds.
    """
    return None if member.name in GUESTS else f"{member.name} is not on the guest list"


state = os.environ.get("ATMOSPHERE_HOME", "guest-list-node")

node = make_node(reactor, state)
node.listen("party", Factory.forProtocol(Echo), access=access)

application = Application("guest list")
node.setServiceParent(application)
