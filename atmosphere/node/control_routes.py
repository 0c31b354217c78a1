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


#: What the node says, now or later.
Answer = JSON | Deferred[JSON]


async def _answer(ask: Callable[[], Answer]) -> JSON:
    """
    Ask the node.
    """
    found = ask()
    return await found if isinstance(found, Deferred) else found


def _plain(ask: Callable[[NodeAPI], Answer]) -> Route:
    """
    Make a route that takes no argument.
    """

    def serve(api: NodeAPI, arguments: Arguments, emit: Emit) -> Deferred[JSON]:
        arguments.finish()
        return Deferred.fromCoroutine(_answer(lambda: ask(api)))

    return serve


def _about(name: str, maximum: int, ask: Callable[[NodeAPI, str], Answer]) -> Route:
    """
    Make a route that takes one text.

    @param name: the argument's.
    @param maximum: its length in characters.
    """

    def serve(api: NodeAPI, arguments: Arguments, emit: Emit) -> Deferred[JSON]:
        text = arguments.text(name, maximum=maximum)
        arguments.finish()
        return Deferred.fromCoroutine(_answer(lambda: ask(api, text)))

    return serve


def _network_by(api: NodeAPI, arguments: Arguments, emit: Emit) -> Deferred[JSON]:
    """
    Serve C{POST /v1/network}: ask further STUN servers as well.
    """
    stun = arguments.optional_list("stun", most=8, maximum=256) or []
    arguments.finish()
    return maybeDeferred(api.network, stun)


def _ping(api: NodeAPI, arguments: Arguments, emit: Emit) -> Deferred[JSON]:
    """
    Serve C{POST /v1/ping}: a line for each reply, the last one is the summary.
    """
    peer = arguments.text("peer", maximum=256)
    count = arguments.integer("count", 5, 0, 1_000_000)
    interval = arguments.number("interval", 1.0, 0.01, 3600)
    timeout = arguments.number("timeout", 10.0, 0.01, 3600)
    until_direct = arguments.boolean("until_direct")
    path = arguments.optional_text("path", maximum=16) or "auto"
    arguments.finish()
    return api.ping(
        peer,
        count=count,
        interval=interval,
        timeout=timeout,
        until_direct=until_direct,
        emit=emit,
        path=path,
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


def _join(api: NodeAPI, arguments: Arguments, emit: Emit) -> Deferred[JSON]:
    """
    Serve C{POST /v1/join}: a line while an admin is to approve, and the result.
    """
    code = arguments.text("code", maximum=8192)
    timeout = arguments.number("timeout", 0, 0, 30 * 86400)
    answers = arguments.boolean("answers")
    arguments.finish()
    return api.join(code, timeout=timeout or None, answers=answers, emit=emit)


def _follow_answer(api: NodeAPI, arguments: Arguments, emit: Emit) -> Deferred[JSON]:
    """
    Serve C{POST /v1/join/answer}: lines about what is done, and the result.
    """
    answer = arguments.text("answer", maximum=8192)
    timeout = arguments.number("timeout", 60, 1, 3600)
    arguments.finish()
    return api.follow_answer(answer, timeout=timeout, emit=emit)


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


ROUTES: dict[bytes, dict[bytes, Route]] = {
    b"/v1/status": {b"GET": _plain(lambda api: api.status())},
    b"/v1/peers": {b"GET": _plain(lambda api: {"peers": api.peers()})},
    b"/v1/network": {b"GET": _plain(lambda api: api.network()), b"POST": _network_by},
    b"/v1/invitations": {b"GET": _plain(lambda api: {"invitations": api.invitations()})},
    b"/v1/invitations/revoke": {
        b"POST": _about("invite_id", 64, lambda api, text: api.revoke_invitation(text))
    },
    b"/v1/services": {b"GET": _plain(lambda api: api.service_list())},
    b"/v1/services/expose": {b"POST": _expose},
    b"/v1/services/unexpose": {
        b"POST": _about("service", 64, lambda api, text: api.unexpose(text))
    },
    b"/v1/services/forward": {b"POST": _forward},
    b"/v1/services/unforward": {
        b"POST": _about("listen", 256, lambda api, text: api.unforward(text))
    },
    b"/v1/ping": {b"POST": _ping},
    b"/v1/why": {b"POST": _about("peer", 256, lambda api, text: api.why(text))},
    b"/v1/invite": {b"POST": _invite},
    b"/v1/requests": {b"GET": _plain(lambda api: {"requests": api.requests()})},
    b"/v1/requests/approve": {b"POST": _about("request", 256, lambda api, text: api.approve(text))},
    b"/v1/requests/deny": {b"POST": _about("request", 256, lambda api, text: api.deny(text))},
    b"/v1/join": {b"POST": _join},
    b"/v1/join/answer": {b"POST": _follow_answer},
    b"/v1/leave": {b"POST": _plain(lambda api: api.leave())},
    b"/v1/mesh": {b"POST": _found},
}

#: Requests that last for hours: once begun they do not count among the clients;
#: the node has a limit of its own for them.
LASTING = frozenset({b"/v1/join", b"/v1/join/answer", b"/v1/services/forward"})
