"""
A node without anything behind it, for tests of whatever talks to one.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from twisted.internet.defer import Deferred, fail, succeed

from atmosphere.errors import ConfigurationError, JoinError, LinkError
from atmosphere.node.api import JSON, Emit


class FakeNode:
    """
    A node that answers from a script and remembers what it was asked.

    @ivar calls: the names and arguments of the calls.
    @ivar pinging: the Deferred of a ping that is under way.
    @ivar replies: what a ping is answered with; C{None} leaves it to the test.
    @ivar relay_ok: what the status says of the relay.
    @ivar mistake: what listing the peers raises.
    @ivar peer_list: the peers.
    @ivar forwarding: the Deferred of a forward that lasts.
    @ivar service_lists: what is exposed and forwarded.
    @ivar explanation: how the peer that it names is reached.
    @ivar request_list: who asks to be let in.
    @ivar is_waiting: whether those are there to hear that they were approved.
    @ivar stops: how often it stopped while it joined.
    """

    def __init__(self) -> None:
        self.calls: list[tuple[Any, ...]] = []
        self.replies: list[JSON] | None = None
        self.relay_ok = True
        self.mistake: Exception | None = None
        self.peer_list: list[JSON] = []
        self.invitation_list: list[JSON] = []
        self.pinging: Deferred[JSON] = Deferred()
        self.emit: Emit = print
        self.forwarding: Deferred[JSON] = Deferred()
        self.request_list: list[JSON] = []
        self.is_waiting = True
        self.stops = 0
        self.service_lists: JSON = {"exposed": [], "forwards": []}
        self.explanation: JSON = {"peer": "portland", "path": None}

    def status(self) -> JSON:
        """
        Answer.
        """
        relay = {"url": "ws://relay:8080", "ok": self.relay_ok, "error": None}
        return {
            "node_id": "p" * 52,
            "name": "portland",
            "mesh_id": "mesh-abc",
            "mesh_name": "home",
            "listening": ["0.0.0.0:7777"],
            "relay": relay,
            "relays": [relay],
            "peers": {"known": 2, "connected": 1},
            "warnings": [],
        }

    def peers(self) -> list[JSON]:
        """
        Answer, or fail as code with a mistake in it does.
        """
        if self.mistake is not None:
            raise self.mistake
        return self.peer_list

    def why(self, peer: str) -> JSON:
        """
        Answer, or say that nobody is called so.
        """
        self.calls.append(("why", peer))
        if peer != self.explanation["peer"]:
            raise ConfigurationError(f"no member is called {peer}; see atmosphere peers")
        return self.explanation

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
        Reply from the script, or hand the work to the test.
        """
        self.calls.append(("ping", peer, count, interval, timeout, until_direct, path))
        self.emit = emit
        if self.replies is None:
            return self.pinging
        if peer != "portland":
            return fail(LinkError(f"no member is called {peer}"))
        for reply in self.replies:
            emit(reply)
        times = sorted(reply["rtt_ms"] for reply in self.replies)
        direct = [each for each in self.replies if each["path"]["kind"] != "relayed"]
        return succeed(
            {
                "peer": peer,
                "node_id": "p" * 52,
                "sent": 2,
                "received": len(times),
                "rtt_ms": {"min": times[0], "median": times[0], "max": times[-1]}
                if times
                else None,
                "path": self.replies[-1]["path"] if times else None,
                "first_reply_ms": times[0] if times else None,
                "direct_ms": 50.0 if direct else None,
                "replies": self.replies,
            }
        )

    def invite(
        self, *, hours: float, uses: int, mesh_name: str | None, approve: bool = False
    ) -> Deferred[JSON]:
        """
        Answer.
        """
        self.calls.append(("invite", hours, uses, mesh_name, *([approve] if approve else [])))
        return succeed(
            {
                "code": "plain" if approve else "atm1-secret",
                "needs_approval": approve,
                "needs_answer": not approve and hours == 2,
                "expires_at": 1790000000.0,
                "invite_id": "7f3a",
                "uses": uses,
                "mesh_id": "mesh-abc",
                "mesh_name": mesh_name or "home",
                "founded": True,
                "warnings": ["no relay: the code works on this LAN only"],
            }
        )

    def invitations(self) -> list[JSON]:
        """
        Answer.
        """
        return self.invitation_list

    def revoke_invitation(self, invite_id: str) -> JSON:
        """
        Answer.
        """
        return {"invite_id": invite_id}

    def requests(self) -> list[JSON]:
        """
        Answer.
        """
        return self.request_list

    def approve(self, request: str) -> JSON:
        """
        Answer.
        """
        self.calls.append(("approve", request))
        if request != "seattle":
            raise ConfigurationError(f"nobody called {request} asks to join")
        return {"node_id": "s" * 52, "name": "seattle", "admitted": self.is_waiting}

    def deny(self, request: str) -> JSON:
        """
        Answer.
        """
        self.calls.append(("deny", request))
        return {"node_id": "s" * 52, "name": request}

    def join(
        self,
        code: str,
        *,
        timeout: float | None = None,
        answers: bool = False,
        emit: Emit = lambda line: None,
    ) -> Deferred[JSON]:
        """
        Take one code, have another approved, and refuse all others.
        """
        self.calls.append(("join", code, *([] if timeout is None else [timeout])))
        if code == "plain":
            emit(
                {
                    "waiting": True,
                    "mesh_name": "ho\x1bme",
                    "asked": "p" * 52,
                    "node_id": "s" * 52,
                    "seconds": 86400,
                }
            )
            code = "atm1-good"
        if code == "atm1-stops":
            self.stops += 1
            if self.stops == 1:  # a node that is stopped ends its answer so
                return succeed({"answer": "atma1-here", "addresses": [], "issuer": "p" * 52})
            emit({"answer": "atma1-again", "addresses": [], "issuer": "p" * 52})
            code = "atm1-good"
        if code == "atm1-far":
            for has_changed in (False, True):
                emit(
                    {
                        "answer": "atma1-there" if has_changed else "atma1-here",
                        "expires_at": 1790000000,
                        "addresses": [f"192.0.2.{1 + has_changed}:7777"],
                        "issuer": "p" * 52,
                        "mesh_name": "ho\x1bme",
                        "has_changed": has_changed,
                        "stable_port": not has_changed,
                    }
                )
            emit({"waiting_for": "answer", "seconds": 3580})
            code = "atm1-good"
        if code == "atm1-good":
            answer = {"mesh_id": "mesh-abc", "mesh_name": "home", "name": "seattle"}
            return succeed({**answer, "node_id": "s" * 52, "admitted_by": "p" * 52})
        return fail(JoinError("the code was used"))

    def follow_answer(
        self, answer: str, *, timeout: float, emit: Emit = lambda line: None
    ) -> Deferred[JSON]:
        """
        Let one in, and refuse all others.
        """
        self.calls.append(("follow_answer", answer, timeout))
        if answer == "atma1-stops":
            return succeed({"knocking": True, "addresses": []})
        if answer != "atma1-here":
            return fail(JoinError("the answer cannot be read"))
        emit(
            {
                "knocking": True,
                "joiner": "s" * 52,
                "addresses": ["192.0.2.1:7777"],
                "refused": [{"address": "10.0.0.1:7777", "reason": "a private address"}],
                "seconds": int(timeout),
            }
        )
        emit({"warning": "both NATs are \x1bhard"})
        path = {"kind": "punched", "remote": "192.0.2.1:7777", "rtt_ms": 23.4}
        emit({"reached": True, "path": path})
        return succeed(
            {"node_id": "s" * 52, "name": "sea\x1bttle", "mesh_name": "home", "path": path}
        )

    def found(self, mesh_name: str | None) -> JSON:
        """
        Answer.
        """
        self.calls.append(("found", mesh_name))
        return {"mesh_id": "mesh-abc", "mesh_name": mesh_name or "home"}

    def leave(self) -> Deferred[JSON]:
        """
        Answer.
        """
        self.calls.append(("leave",))
        return succeed({"mesh_id": "mesh-abc", "mesh_name": "home"})

    def expose(self, *, service: str, target: str, to: list[str], keep: bool) -> JSON:
        """
        Answer.
        """
        self.calls.append(("expose", service, target, to, keep))
        unknown = [name for name in to if name == "tacoma"]
        return {
            "service": service,
            "target": target,
            "to": to,
            "keep": keep,
            "open": 0,
            "problem": None,
            "unknown": unknown,
        }

    def unexpose(self, service: str) -> JSON:
        """
        Answer.
        """
        self.calls.append(("unexpose", service))
        return {"service": service}

    def forward(
        self, *, listen: str, peer: str, service: str, keep: bool, emit: Emit
    ) -> Deferred[JSON]:
        """
        Answer, or leave the end to the test.
        """
        self.calls.append(("forward", listen, peer, service, keep))
        answer = {"listen": "127.0.0.1:2222", "peer": peer, "service": service, "keep": keep}
        if keep:
            return succeed({**answer, "open": 0, "problem": None})
        emit({**answer, "open": 0, "problem": None})
        emit({"problem": f"{peer} refused {service}: its server refuses connections"})
        return self.forwarding

    def unforward(self, listen: str) -> JSON:
        """
        Answer.
        """
        self.calls.append(("unforward", listen))
        return {"listen": listen}

    def service_list(self) -> JSON:
        """
        Answer.
        """
        return self.service_lists

    def network(self, stun: Sequence[str] = ()) -> Deferred[JSON]:
        """
        Answer.
        """
        self.calls.append(("network", *stun))
        return succeed(
            {
                "local": {"ip": "192.168.1.4", "port": 7777},
                "public": [{"ip": "192.0.2.1", "port": 7777, "source": "stun:relay:3478"}],
                "behind_nat": True,
                "reachable": None,
                "mapping": "endpoint-independent",
                "filtering": None,
                "relays": [{"url": "ws://relay:8080", "rtt_ms": 23.0, "ok": True}],
                "udp": True,
                "ipv6": False,
            }
        )
