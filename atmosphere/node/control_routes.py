# -*- test-case-name: tests.node.test_control -*-
"""
What the local API can be asked: each path and method, its arguments, and the
call to the node that answers it. C{docs/local_api.md} has the same list.
"""

from __future__ import annotations

from collections.abc import Callable

from twisted.internet.defer import Deferred, maybeDeferred

from .api import JSON, Emit, NodeAPI
from .control_arguments import Arguments

__all__ = ["LASTING", "ROUTES", "Route"]

Route = Callable[[NodeAPI, Arguments, Emit], "Deferred[JSON]"]


def _status(api: NodeAPI, arguments: Arguments, emit: Emit) -> Deferred[JSON]:
    """
    Serve C{GET /v1/status}.
    """
    arguments.finish()
    return maybeDeferred(api.status)


def _peers(api: NodeAPI, arguments: Arguments, emit: Emit) -> Deferred[JSON]:
    """
    Serve C{GET /v1/peers}.
    """
    arguments.finish()
    return maybeDeferred(lambda: {"peers": api.peers()})


def _network(api: NodeAPI, arguments: Arguments, emit: Emit) -> Deferred[JSON]:
    """
    Serve C{GET /v1/network}.
    """
    arguments.finish()
    return maybeDeferred(api.network)


def _network_by(api: NodeAPI, arguments: Arguments, emit: Emit) -> Deferred[JSON]:
    """
    Serve C{POST /v1/network}: ask further STUN servers as well.
    """
    stun = arguments.optional_list("stun", most=8, maximum=256) or []
    arguments.finish()
    return maybeDeferred(api.network, stun)


def _invitations(api: NodeAPI, arguments: Arguments, emit: Emit) -> Deferred[JSON]:
    """
    Serve C{GET /v1/invitations}.
    """
    arguments.finish()
    return maybeDeferred(lambda: {"invitations": api.invitations()})


def _why(api: NodeAPI, arguments: Arguments, emit: Emit) -> Deferred[JSON]:
    """
    Serve C{POST /v1/why}.
    """
    peer = arguments.text("peer", maximum=256)
    arguments.finish()
    return maybeDeferred(api.why, peer)


def _ping(api: NodeAPI, arguments: Arguments, emit: Emit) -> Deferred[JSON]:
    """
    Serve C{POST /v1/ping}: a line for each reply, the last one is the summary.
    """
    peer = arguments.text("peer", maximum=256)
    count = arguments.integer("count", 5, 0, 1_000_000)
    interval = arguments.number("interval", 1.0, 0.01, 3600)
    timeout = arguments.number("timeout", 10.0, 0.01, 3600)
    until_direct = arguments.boolean("until_direct")
    arguments.finish()
    return api.ping(
        peer,
        count=count,
        interval=interval,
        timeout=timeout,
        until_direct=until_direct,
        emit=emit,
    )


def _invite(api: NodeAPI, arguments: Arguments, emit: Emit) -> Deferred[JSON]:
    """
    Serve C{POST /v1/invite}.
    """
    hours = arguments.number("hours", 24.0, 1 / 3600, 168)
    uses = arguments.integer("uses", 1, 1, 1_000)
    mesh_name = arguments.optional_text("mesh_name", maximum=63)
    approve = arguments.boolean("approve")
    arguments.finish()
    return api.invite(hours=hours, uses=uses, mesh_name=mesh_name, approve=approve)


def _found(api: NodeAPI, arguments: Arguments, emit: Emit) -> Deferred[JSON]:
    """
    Serve C{POST /v1/mesh}.
    """
    mesh_name = arguments.optional_text("mesh_name", maximum=63)
    arguments.finish()
    return maybeDeferred(api.found, mesh_name)


def _revoke_invitation(api: NodeAPI, arguments: Arguments, emit: Emit) -> Deferred[JSON]:
    """
    Serve C{POST /v1/invitations/revoke}.
    """
    invite_id = arguments.text("invite_id", maximum=64)
    arguments.finish()
    return maybeDeferred(api.revoke_invitation, invite_id)


def _requests(api: NodeAPI, arguments: Arguments, emit: Emit) -> Deferred[JSON]:
    """
    Serve C{GET /v1/requests}.
    """
    arguments.finish()
    return maybeDeferred(lambda: {"requests": api.requests()})


def _approve(api: NodeAPI, arguments: Arguments, emit: Emit) -> Deferred[JSON]:
    """
    Serve C{POST /v1/requests/approve}.
    """
    request = arguments.text("request", maximum=256)
    arguments.finish()
    return maybeDeferred(api.approve, request)


def _deny(api: NodeAPI, arguments: Arguments, emit: Emit) -> Deferred[JSON]:
    """
    Serve C{POST /v1/requests/deny}.
    """
    request = arguments.text("request", maximum=256)
    arguments.finish()
    return maybeDeferred(api.deny, request)


def _join(api: NodeAPI, arguments: Arguments, emit: Emit) -> Deferred[JSON]:
    """
    Serve C{POST /v1/join}: a line while an admin is to approve, and the result.
    """
    code = arguments.text("code", maximum=8192)
    timeout = arguments.number("timeout", 0, 0, 30 * 86400)
    arguments.finish()
    return api.join(code, timeout=timeout or None, emit=emit)


def _follow_answer(api: NodeAPI, arguments: Arguments, emit: Emit) -> Deferred[JSON]:
    """
    Serve C{POST /v1/join/answer}: lines about what is done, and the result.
    """
    answer = arguments.text("answer", maximum=8192)
    timeout = arguments.number("timeout", 60, 1, 3600)
    arguments.finish()
    return api.follow_answer(answer, timeout=timeout, emit=emit)


def _leave(api: NodeAPI, arguments: Arguments, emit: Emit) -> Deferred[JSON]:
    """
    Serve C{POST /v1/leave}.
    """
    arguments.finish()
    return api.leave()


def _services(api: NodeAPI, arguments: Arguments, emit: Emit) -> Deferred[JSON]:
    """
    Serve C{GET /v1/services}.
    """
    arguments.finish()
    return maybeDeferred(api.service_list)


def _expose(api: NodeAPI, arguments: Arguments, emit: Emit) -> Deferred[JSON]:
    """
    Serve C{POST /v1/services/expose}.
    """
    service = arguments.text("service", maximum=64)
    target = arguments.text("target", maximum=1024)
    to = arguments.optional_list("to", most=256, maximum=64) or []
    keep = arguments.boolean("keep")
    arguments.finish()
    return maybeDeferred(api.expose, service=service, target=target, to=to, keep=keep)


def _unexpose(api: NodeAPI, arguments: Arguments, emit: Emit) -> Deferred[JSON]:
    """
    Serve C{POST /v1/services/unexpose}.
    """
    service = arguments.text("service", maximum=64)
    arguments.finish()
    return maybeDeferred(api.unexpose, service)


def _forward(api: NodeAPI, arguments: Arguments, emit: Emit) -> Deferred[JSON]:
    """
    Serve C{POST /v1/services/forward}: what is kept is answered at once, what
    is not lasts until the client hangs up.
    """
    listen = arguments.text("listen", maximum=256)
    peer = arguments.text("peer", maximum=256)
    service = arguments.text("service", maximum=64)
    keep = arguments.boolean("keep")
    arguments.finish()
    return maybeDeferred(
        api.forward, listen=listen, peer=peer, service=service, keep=keep, emit=emit
    )


def _unforward(api: NodeAPI, arguments: Arguments, emit: Emit) -> Deferred[JSON]:
    """
    Serve C{POST /v1/services/unforward}.
    """
    listen = arguments.text("listen", maximum=256)
    arguments.finish()
    return maybeDeferred(api.unforward, listen)


ROUTES: dict[bytes, dict[bytes, Route]] = {
    b"/v1/status": {b"GET": _status},
    b"/v1/peers": {b"GET": _peers},
    b"/v1/network": {b"GET": _network, b"POST": _network_by},
    b"/v1/invitations": {b"GET": _invitations},
    b"/v1/invitations/revoke": {b"POST": _revoke_invitation},
    b"/v1/services": {b"GET": _services},
    b"/v1/services/expose": {b"POST": _expose},
    b"/v1/services/unexpose": {b"POST": _unexpose},
    b"/v1/services/forward": {b"POST": _forward},
    b"/v1/services/unforward": {b"POST": _unforward},
    b"/v1/ping": {b"POST": _ping},
    b"/v1/why": {b"POST": _why},
    b"/v1/invite": {b"POST": _invite},
    b"/v1/requests": {b"GET": _requests},
    b"/v1/requests/approve": {b"POST": _approve},
    b"/v1/requests/deny": {b"POST": _deny},
    b"/v1/join": {b"POST": _join},
    b"/v1/join/answer": {b"POST": _follow_answer},
    b"/v1/leave": {b"POST": _leave},
    b"/v1/mesh": {b"POST": _found},
}

#: Requests that last for hours: once begun they do not count among the clients;
#: the node has a limit of its own for them.
LASTING = frozenset({b"/v1/join", b"/v1/join/answer", b"/v1/services/forward"})
