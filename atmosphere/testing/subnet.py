# -*- test-case-name: tests.testing.test_network -*-
"""
Networks apart, and how hosts and routers hang on them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from ipaddress import IPv4Network, IPv6Network, ip_address, ip_network
from random import Random
from typing import Protocol

from .agenda import Agenda
from .link import Flow, Gate, Link, Packet

__all__ = ["Attachment", "Node", "Subnet"]


class Node(Protocol):
    """
    What may hang on a network: a host or a router.
    """

    name: str

    def packet_received(self, packet: Packet, attachment: Attachment) -> None:
        """
        Take a packet that came by one of our attachments.
        """


class Attachment:
    """
    How a node hangs on a network: an address there, and a line to it.

    @ivar node: the host or router.
    @ivar subnet: the network that it hangs on.
    @ivar address: the node's address there.
    @ivar link: the line, as it is for what the node sends; set both by
        L{SimulatedNetwork.set_link<atmosphere.testing.network.SimulatedNetwork.set_link>}.
    @ivar incoming: the line, as it is for what the node is sent.
    """

    def __init__(self, node: Node, subnet: Subnet, address: str, link: Link) -> None:
        self.node = node
        self.subnet = subnet
        self.address = address
        self.link = link
        self.incoming = link
        self.up = Gate()
        self.down = Gate()

    def send(self, packet: Packet) -> None:
        """
        Send a packet to whoever has its destination, or to the router.
        """
        self.subnet.send(self, packet)

    def receive(self, packet: Packet) -> None:
        """
        Take a packet that came over the line.
        """
        self.node.packet_received(packet, self)


class Subnet:
    """
    A network in which every node reaches every other: the internet, or a LAN.

    @ivar name: its name, for traces.
    @ivar link: the line of those that are not given their own.
    """

    def __init__(
        self,
        name: str,
        agenda: Agenda,
        seed: int,
        note: Callable[[str, Packet], None],
        link: Link,
    ) -> None:
        self.name = name
        self.link = link
        self._agenda = agenda
        self._seed = seed
        self._note = note
        self._attachments: dict[str, Attachment] = {}
        self._flows: dict[tuple[str, str], Flow] = {}
        self._pairs: dict[tuple[str, str], Link] = {}
        self._routes: list[tuple[IPv4Network | IPv6Network, Attachment]] = []
        self._hops: dict[str, Attachment | None] = {}

    def nearness(self, address: str) -> int:
        """
        Say how well an address can be reached from here.

        @return: 2 when it is on this network, 1 when a router may know it, else 0.
        """
        if address in self._attachments:
            return 2
        return 0 if self._next_hop(address) is None else 1

    def add_route(self, prefix: str, router: Attachment) -> None:
        """
        Send what is for a prefix, and for no node of this network, to a router; of
        several prefixes the longest counts.

        @param prefix: such as C{0.0.0.0/0} for all of IPv4.
        """
        self._routes.append((ip_network(prefix), router))
        self._routes.sort(key=lambda route: -route[0].prefixlen)
        self._hops.clear()

    def _next_hop(self, destination: str) -> Attachment | None:
        """
        Say who takes the packets for an address.
        """
        if destination not in self._hops:
            found = self._attachments.get(destination)
            if found is None and self._routes:
                address = ip_address(destination)
                found = next((hop for net, hop in self._routes if address in net), None)
            self._hops[destination] = found
        return self._hops[destination]

    def attach(self, node: Node, address: str, link: Link) -> Attachment:
        """
        Hang a node on this network.

        @raise ValueError: the address is taken.
        """
        if address in self._attachments:
            raise ValueError(f"{address} is taken in {self.name}")
        attachment = self._attachments[address] = Attachment(node, self, address, link)
        self._hops.clear()
        return attachment

    def detach(self, attachment: Attachment) -> None:
        """
        Take a node off this network; packets on their way to it vanish.
        """
        del self._attachments[attachment.address]
        self._routes = [route for route in self._routes if route[1] is not attachment]
        self._hops.clear()
        self._flows = {k: f for k, f in self._flows.items() if attachment.address not in k}

    def set_pair(self, first: Attachment, second: Attachment, link: Link) -> None:
        """
        Put one more line from a node to another.
        """
        self._pairs[first.address, second.address] = link
        self.changed((first.address, second.address))

    def changed(self, addresses: Iterable[str]) -> None:
        """
        Note that lines were changed: packets on their way are not touched.
        """
        touched = set(addresses)
        for source, destination in list(self._flows):
            if source in touched or destination in touched:
                older = self._flows.pop((source, destination))
                sender = self._attachments[source]
                self._flow(sender, self._attachments[destination]).continue_from(older)

    def _flow(self, sender: Attachment, target: Attachment) -> Flow:
        """
        Make the flow from one node to another.
        """
        pair = self._pairs.get((sender.address, target.address))
        links = [sender.link, target.incoming, *([pair] if pair is not None else [])]

        def arrive(packet: Packet) -> None:
            if self._attachments.get(target.address) is target:
                target.receive(packet)
            else:
                self._note("no host", packet)

        flow = Flow(
            self._agenda,
            Random(f"{self._seed} {self.name} {sender.address} {target.address}"),
            tuple(links),
            (sender.link, sender.up),
            (target.incoming, target.down),
            arrive,
            self._note,
        )
        self._flows[sender.address, target.address] = flow
        return flow

    def send(self, sender: Attachment, packet: Packet) -> None:
        """
        Send a packet from one node to the next.
        """
        destination = packet.destination[0]
        flow = self._flows.get((sender.address, destination))
        if flow is None:
            target = self._next_hop(destination)
            if target is None or target is sender:
                self._note("no route", packet)
                return
            flow = self._flows.get((sender.address, target.address))
            if flow is None:
                flow = self._flow(sender, target)
        flow.send(packet)
