# -*- test-case-name: tests.testing.test_network -*-
"""
Networks apart, and how hosts and routers hang on them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
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
    @ivar link: the line; set it by L{SimulatedNetwork.set_link}.
    """

    def __init__(self, node: Node, subnet: Subnet, address: str, link: Link) -> None:
        self.node = node
        self.subnet = subnet
        self.address = address
        self.link = link
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
    @ivar gateway: the attachment of the router to which packets for other
        networks go.
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
        self.gateway: Attachment | None = None
        self._agenda = agenda
        self._seed = seed
        self._note = note
        self._attachments: dict[str, Attachment] = {}
        self._flows: dict[tuple[str, str], Flow] = {}
        self._pairs: dict[frozenset[str], Link] = {}

    def nearness(self, address: str) -> int:
        """
        Say how well an address can be reached from here.

        @return: 2 when it is on this network, 1 when a router may know it, else 0.
        """
        if address in self._attachments:
            return 2
        return 0 if self.gateway is None else 1

    def attach(self, node: Node, address: str, link: Link) -> Attachment:
        """
        Hang a node on this network.

        @raise ValueError: the address is taken.
        """
        if address in self._attachments:
            raise ValueError(f"{address} is taken in {self.name}")
        attachment = self._attachments[address] = Attachment(node, self, address, link)
        return attachment

    def detach(self, attachment: Attachment) -> None:
        """
        Take a node off this network; packets on their way to it vanish.
        """
        del self._attachments[attachment.address]
        self._flows = {k: f for k, f in self._flows.items() if attachment.address not in k}

    def set_pair(self, first: Attachment, second: Attachment, link: Link | None) -> None:
        """
        Put one more line between two nodes, or take it away.
        """
        pair = frozenset((first.address, second.address))
        if link is None:
            self._pairs.pop(pair, None)
        else:
            self._pairs[pair] = link
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
        pair = self._pairs.get(frozenset((sender.address, target.address)))
        links = [sender.link, target.link, *([pair] if pair is not None else [])]

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
            (target.link, target.down),
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
            target = self._attachments.get(destination, self.gateway)
            if target is None or target is sender:
                self._note("no route", packet)
                return
            flow = self._flows.get((sender.address, target.address))
            if flow is None:
                flow = self._flow(sender, target)
        flow.send(packet)
