# -*- test-case-name: tests.node.test_control -*-
"""
What the local API asks of a node: the seam between C{control.py} and
whatever runs the node, L{atmosphere.node.service.NodeService} or a fake.

Everything that comes back is ready for JSON: strings, numbers, booleans,
C{None}, and lists and dictionaries of them with strings as keys. Text that a
peer chose is handed on as it is; whoever shows it escapes it. A failure is
one of L{atmosphere.errors}; the command line ends with its C{exit_code}.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Protocol

from twisted.internet.defer import Deferred

__all__ = ["JSON", "Emit", "NodeAPI"]

JSON = dict[str, Any]
Emit = Callable[[JSON], None]


class NodeAPI(Protocol):
    """
    A running node, as the command line sees it.
    """

    def status(self) -> JSON:
        """
        Say who the node is and how it fares.

        @return: C{node_id}, C{name}, C{mesh_id} (C{None} outside a mesh),
            C{mesh_name}, C{listening} (a list of C{IP:PORT}), C{relay}
            (C{{"url": …, "ok": …, "error": …}}, or C{None} without one),
            C{relays} (a list of the same), C{peers}
            (C{{"known": n, "connected": n}}), C{warnings} (a list of texts).
        """
        ...

    def peers(self) -> list[JSON]:
        """
        List the other members.

        @return: of each C{node_id}, C{name}, C{state} (C{connected},
            C{reachable}, C{connecting}, C{away} or C{gone}) and C{path}: C{None}, or C{kind}
            (C{direct}, C{punched}, C{relayed}), C{remote}, C{rtt_ms}.
        """
        ...

    def why(self, peer: str) -> JSON:
        """
        Explain how a peer is reached, or why it is not.

        @param peer: a name, a node ID or the beginning of one.
        @return: C{peer}, C{node_id}, C{state} and C{path} as for L{peers},
            C{policy}, C{summary} (a text), C{rule} (C{number}, C{text}; or
            C{None}), C{ways}, C{decisions}, C{here}, C{there}, C{help} (a list
            of texts): see C{docs/local_api.md}.
        """
        ...

    def ping(
        self,
        peer: str,
        *,
        count: int,
        interval: float,
        timeout: float,
        until_direct: bool,
        emit: Emit,
        path: str = "auto",
    ) -> Deferred[JSON]:
        """
        Measure the way to a peer.

        @param peer: a name, a node ID or the beginning of one.
        @param count: pings to send; 0 means until cancelled.
        @param interval: seconds between them.
        @param timeout: seconds to wait for each reply, and for the link.
        @param until_direct: stop at the first reply by a path that is not
            relayed.
        @param emit: called with C{seq}, C{rtt_ms} and C{path} (C{kind},
            C{remote}) for each reply.
        @param path: C{relayed} or C{direct} for pings by such a path alone.
        @return: C{peer}, C{node_id}, C{sent}, C{received}, C{rtt_ms}
            (C{min}, C{median}, C{max}, or C{None}), C{path},
            C{first_reply_ms}, C{direct_ms}, C{replies}. Cancelling ends the
            pings.
        """
        ...

    def invite(
        self, *, hours: float, uses: int, mesh_name: str | None, approve: bool = False
    ) -> Deferred[JSON]:
        """
        Make a join code; found a mesh if the node is in none.

        @param mesh_name: the name of a mesh to be founded; C{None} means C{home}.
        @param approve: make a code without a secret, for the local network:
            whoever uses it waits until it is approved.
        @return: C{code} (with its prefix), C{expires_at} (POSIX seconds),
            C{invite_id} and C{uses} (C{None} without a secret), C{mesh_id},
            C{mesh_name}, C{founded} (whether that happened now),
            C{needs_approval}, C{needs_answer} (the code names no relay, so
            that the joiner may print an answer for L{follow_answer}), C{warnings}.
        """
        ...

    def found(self, mesh_name: str | None) -> JSON:
        """
        Found a mesh without inviting anybody yet.

        @param mesh_name: its name; C{None} means C{home}.
        @return: C{mesh_id}, C{mesh_name}.
        @raise JoinError: the node is in a mesh.
        """
        ...

    def invitations(self) -> list[JSON]:
        """
        List the invitations that this node gave: of each C{invite_id},
        C{expires_at}, C{uses}, C{redeemed_by} (node IDs), C{revoked}.
        """
        ...

    def revoke_invitation(self, invite_id: str) -> JSON:
        """
        Make an invitation worthless from now on.

        @param invite_id: its ID, or the beginning of it.
        @return: C{invite_id}.
        """
        ...

    def requests(self) -> list[JSON]:
        """
        List those that ask to be let in: of each C{node_id}, C{name} (what it
        wants to be called), C{capabilities}, C{address}, C{came},
        C{expires_at}, C{state} (C{waiting}, C{approved}, C{admitted},
        C{denied}), C{is_waiting} (whether it is there now).
        """
        ...

    def approve(self, request: str) -> JSON:
        """
        Let one of them in.

        @param request: the name that it wants, its node ID, or the beginning of that.
        @return: C{node_id}, C{name}, C{admitted} (or whether it has to come back first).
        """
        ...

    def deny(self, request: str) -> JSON:
        """
        Let one of them not in.

        @return: C{node_id}, C{name}.
        """
        ...

    def join(
        self,
        code: str,
        *,
        timeout: float | None = None,
        answers: bool = False,
        emit: Emit = lambda line: None,
    ) -> Deferred[JSON]:
        """
        Become a member by a join code.

        @param timeout: seconds to wait for approval, if the code needs that, or for
            the answer to be carried.
        @param answers: somebody is there to carry an answer: make one when no relay leads
            to the issuer, and wait.
        @param emit: called with C{waiting}, C{mesh_name}, C{asked},
            C{node_id}, C{seconds} when an admin is to approve. Called with C{answer},
            C{expires_at}, C{addresses}, C{issuer}, C{mesh_name}, C{has_changed},
            C{stable_port} when no relay leads to the issuer, and with C{waiting_for}
            (C{answer}) and C{seconds} now and then while that waits to be carried.
        @return: C{mesh_id}, C{mesh_name}, C{node_id}, C{name}, C{admitted_by}.
            Cancelling gives up; a code that was redeemed meanwhile may be
            redeemed again by this node.
        """
        ...

    def follow_answer(
        self, answer: str, *, timeout: float, emit: Emit = lambda line: None
    ) -> Deferred[JSON]:
        """
        Let a joiner in that no relay leads to, by the answer that L{join} made there.

        @param timeout: seconds to wait for it.
        @param emit: called with C{knocking} (true), C{joiner} (its node ID),
            C{addresses}, C{refused} (of each C{address}, C{reason}) and C{seconds};
            with C{warning} (a text) if something is in the way; with C{reached} (true)
            and C{path} when it came.
        @return: C{node_id}, C{name}, C{mesh_name}, C{path} as for L{peers}. Cancelling
            ends the knocking.
        """
        ...

    def leave(self) -> Deferred[JSON]:
        """
        Leave the mesh and forget its members.

        @return: C{mesh_id} and C{mesh_name} of the mesh that was left.
        """
        ...

    def expose(self, *, service: str, target: str, to: list[str], keep: bool) -> JSON:
        """
        Let members reach a server through this node; said again, it replaces
        what was said before.

        @param target: a Twisted client endpoint string, or a port of this machine.
        @param to: the names or node IDs of the members, and nobody else.
        @param keep: also after the next start.
        @return: C{service}, C{target}, C{to}, C{keep}, C{open}, C{problem} as
            for L{service_list}, and C{unknown}: those of C{to} that are no members now.
        """
        ...

    def unexpose(self, service: str) -> JSON:
        """
        Let nobody reach a server any more; connections that are open stay.

        @return: C{service}.
        """
        ...

    def forward(
        self, *, listen: str, peer: str, service: str, keep: bool, emit: Emit
    ) -> Deferred[JSON]:
        """
        Lead whoever connects to a place on this machine to a peer's service.

        @param listen: a port, an address and a port, or C{unix:} and a path.
        @param keep: also after the next start; the answer comes at once.
            Otherwise it lasts until it is cancelled.
        @param emit: called with what L{service_list} says of it when it listens,
            and with C{problem} when a client could not be served.
        @return: what L{service_list} says of it.
        """
        ...

    def unforward(self, listen: str) -> JSON:
        """
        End a forward that was kept; connections that are open stay.

        @return: C{listen}.
        """
        ...

    def service_list(self) -> JSON:
        """
        List what is exposed and forwarded.

        @return: C{exposed}: of each C{service}, C{target}, C{to}, C{keep},
            C{open} (connections) and C{problem} (a text or C{None});
            C{forwards}: of each C{listen}, C{peer}, C{service}, C{keep},
            C{open} and C{problem}.
        """
        ...

    def network(self, stun: Sequence[str] = ()) -> Deferred[JSON]:
        """
        Measure this node's network, see L{atmosphere.node.report}.

        @param stun: further STUN servers to ask, as C{HOST:PORT}.
        @return: see C{docs/local_api.md}.
        @raise ConfigurationError: one of C{stun} makes no sense.
        """
        ...
