# -*- test-case-name: tests.network.relay.test_admission -*-
"""
Admission: whom a relay lets in, from what a node shows. It needs no database.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from atmosphere.errors import MembershipError
from atmosphere.identity import NodeID
from atmosphere.membership import TOLERANCE, RevocationList, verify_chain

from .frames import Hello
from .limits import RelayConfig
from .line import Admission

__all__ = ["Ticket", "membership_admission"]


@dataclass(frozen=True, slots=True)
class Ticket:
    """
    What a joiner's ticket allows, its signatures having been checked.

    @ivar mesh_id: the mesh of its issuers.
    @ivar issuers: the only nodes that the joiner may reach.
    @ivar expires: POSIX seconds.
    """

    mesh_id: str
    issuers: frozenset[NodeID]
    expires: float


def _no_tickets(ticket: bytes) -> Ticket:
    """
    Refuse joiners, where nothing can check tickets.
    """
    raise MembershipError("this relay admits no joiners")


def membership_admission(
    config: RelayConfig,
    *,
    wall: Callable[[], float],
    check_ticket: Callable[[bytes], Ticket] = _no_tickets,
    revocations: Callable[[str], RevocationList | None] = lambda mesh_id: None,
) -> Callable[[Hello], Admission]:
    """
    Make the decision that L{RelayService<atmosphere.network.relay.service.RelayService>} asks for.

    Members of the configured meshes come first, then joiners with a ticket,
    then, if the relay is open, everyone.

    @param check_ticket: verifies a ticket and its issuer's membership; raises
        L{MembershipError} or L{JoinError<atmosphere.errors.JoinError>}.
    @param revocations: the newest list of a mesh, if there is one.
    """

    def admit(hello: Hello) -> Admission:
        """
        Decide about one node.

        @raise MembershipError: it is not admitted.
        """
        shown = hello.credentials
        if shown.mesh_id in config.meshes and shown.chain:
            membership = verify_chain(
                shown.chain,
                hello.node,
                mesh_id=shown.mesh_id,
                wall=wall(),
                revocations=revocations(shown.mesh_id),
            )
            return Admission(
                is_proven=True,
                mesh_id=membership.mesh_id,
                expires=membership.not_after + TOLERANCE,
            )
        if shown.mesh_id in config.meshes and shown.ticket:
            ticket = check_ticket(shown.ticket)
            if ticket.mesh_id != shown.mesh_id:
                raise MembershipError("the ticket is for another mesh")
            if ticket.expires <= wall():
                raise MembershipError("the ticket has expired")
            return Admission(mesh_id=ticket.mesh_id, only_to=ticket.issuers, expires=ticket.expires)
        if config.serves_anyone:
            return Admission()
        raise MembershipError("this relay serves members of its own meshes only")

    return admit
