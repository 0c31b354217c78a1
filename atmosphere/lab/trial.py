# -*- test-case-name: tests.lab.test_trial -*-
"""
A relay and two nodes in a laboratory, portland and seattle: what happens when one
looks for the other.
"""

from __future__ import annotations

import signal
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median
from typing import Any, Protocol

from atmosphere.errors import AtmosphereError, LinkError, NotRunningError
from atmosphere.network.stun.behavior import Dependence

from .behavior import describe
from .internet import Home, Internet
from .kinds import Kind, Prospect, prospect
from .namespaces import LabError, Namespace
from .places import RELAY
from .programs import Running

__all__ = ["Client", "Event", "Outcome", "Run", "Trial"]

JSON = dict[str, Any]

#: Nearly every firewall lets this port out.
RELAY_PORT = 443
RELAY_URL = f"ws://{RELAY}:{RELAY_PORT}"

#: How often two nodes are started anew when they found each other before they were asked.
MAX_STARTS = 4

#: Seconds between pings.
PING_INTERVAL = 0.25


class Client(Protocol):
    """
    What asks a running node; C{atmosphere.cli.client.LocalClient} is such a one.
    """

    def get(self, path: str, *, timeout: float = ...) -> JSON:
        """
        Read something.
        """

    def post(self, path: str, arguments: JSON | None = ..., *, timeout: float = ...) -> JSON:
        """
        Have something done.
        """


@dataclass(frozen=True, slots=True)
class Event:
    """
    Something that a node decided.

    @ivar at: seconds after seattle asked for portland, to a few milliseconds.
    @ivar node: whose decision it was.
    @ivar text: what, and why.
    """

    at: float
    node: str
    text: str


@dataclass(frozen=True, slots=True)
class Run:
    """
    How it went once: both nodes fresh, all routers without memory.

    @ivar first_reply_ms: from when the link was asked for to the first echo, if any.
    @ivar direct_ms: likewise to the first echo by a path that is not relayed.
    @ivar path: the last one; C{None} if nothing came.
    @ivar rtt_ms: of all echoes: C{min}, C{median}, C{max}.
    @ivar error: why there was no link.
    @ivar events: what happened when.
    @ivar why: what C{atmosphere why portland} says at seattle after it.
    """

    first_reply_ms: float | None = None
    direct_ms: float | None = None
    path: JSON | None = None
    rtt_ms: JSON | None = None
    error: str | None = None
    events: tuple[Event, ...] = ()
    why: JSON | None = None

    def as_json(self) -> JSON:
        """
        Write it down.
        """
        return {
            "first_reply_ms": self.first_reply_ms,
            "direct_ms": self.direct_ms,
            "path": self.path,
            "rtt_ms": self.rtt_ms,
            "error": self.error,
            "events": [
                {"at_ms": round(each.at * 1000, 1), "node": each.node, "text": each.text}
                for each in self.events
            ],
            "why": self.why,
        }


@dataclass
class Outcome:
    """
    What became of a pair.

    @ivar kinds: of portland's home and of seattle's.
    @ivar behaviors: what was measured in them.
    @ivar join_ms: how long it took to join, over the relay.
    @ivar runs: one for each time that they looked for each other.
    @ivar error: why it came to nothing, or not to all runs.
    """

    kinds: tuple[Kind, Kind]
    behaviors: list[JSON | None] = field(default_factory=list)
    join_ms: float | None = None
    runs: list[Run] = field(default_factory=list)
    error: str | None = None

    @property
    def pair(self) -> str:
        """
        The pair, as it is asked for.
        """
        return " x ".join(kind.value for kind in self.kinds)

    @property
    def prospect(self) -> Prospect:
        """
        What its NATs allow.
        """
        return prospect(*self.kinds)

    @property
    def is_connected(self) -> bool:
        """
        Whether echoes came back, each time.
        """
        return bool(self.runs) and all(run.first_reply_ms is not None for run in self.runs)

    @property
    def direct(self) -> int:
        """
        How many runs became direct.
        """
        return sum(run.direct_ms is not None for run in self.runs)

    def times(self, name: str) -> JSON | None:
        """
        Sum up C{first_reply_ms} or C{direct_ms} of the runs that have it.
        """
        found = [value for run in self.runs if (value := getattr(run, name)) is not None]
        return {"median": median(found), "max": max(found)} if found else None

    def as_json(self) -> JSON:
        """
        Write it down.
        """
        return {
            "pair": self.pair,
            "kinds": [kind.value for kind in self.kinds],
            "prospect": self.prospect.value,
            "behaviors": self.behaviors,
            "connected": self.is_connected,
            "direct": self.direct,
            "error": self.error,
            "join_ms": self.join_ms,
            "first_reply_ms": self.times("first_reply_ms"),
            "direct_ms": self.times("direct_ms"),
            "runs": [run.as_json() for run in self.runs],
        }


class _Node:
    """
    A node in a home.

    @ivar name: C{portland} or C{seattle}.
    @ivar client: asks it.
    """

    def __init__(
        self, name: str, home: Home, internet: Internet, connect: Callable[[Path], Client]
    ) -> None:
        self.name = name
        self.state = internet.programs.folder / name
        self.client = connect(self.state)
        self.running: Running | None = None
        self._host: Namespace = home.host
        self._kind = home.kind
        self._programs = internet.programs

    def make(self) -> Running:
        """
        Make its identity.
        """
        options = ("init", "--name", self.name, "--relay", RELAY_URL)
        return self._programs.start(None, f"{self.name}-init", "--state", str(self.state), *options)

    def start(self) -> None:
        """
        Start it.
        """
        options = ("--state", str(self.state), "serve")
        self.running = self._programs.start(self._host, self.name, *options)

    def wait(self) -> None:
        """
        Wait until its relay has welcomed it.
        """
        assert self.running is not None
        self.running.wait_until(self._is_ready, "its relay welcomed it")

    def _is_ready(self) -> bool:
        """
        Ask whether its relay has welcomed it.
        """
        try:
            status = self.client.get("/v1/status")
        except NotRunningError:
            return False
        return bool(status["relay"] and status["relay"]["ok"])

    def is_linked(self) -> bool:
        """
        Ask whether it is connected with anybody.
        """
        return any(each["state"] == "connected" for each in self.client.get("/v1/peers")["peers"])

    def wait_until_measured(self, peer: str) -> None:
        """
        Wait until it knows how others see it, where that can be known, and that its NAT
        takes another port for each of them, if it does.
        """
        assert self.running is not None
        if self._kind.expected.udp:
            self.running.wait_until(lambda: self._is_measured(peer), "STUN servers answered")

    def _is_measured(self, peer: str) -> bool:
        """
        Ask whether it knows how others see it.
        """
        why = self.why(peer)
        if why is None or why["here"]["udp"] is not True:
            return False
        is_stable = self._kind.expected.mapping is Dependence.ENDPOINT_INDEPENDENT
        return is_stable or why["here"]["stable_port"] is False

    def stop(self) -> None:
        """
        Stop it.
        """
        if self.running is not None:
            self.running.stop()

    def why(self, peer: str) -> JSON | None:
        """
        Ask how a peer is reached, and why so.

        @return: C{None} if the node cannot say.
        """
        try:
            answer = self.client.post("/v1/why", {"peer": peer})
        except AtmosphereError:
            return None
        answer.pop("version", None)
        return answer


class Trial:
    """
    One pair: both homes measured, both nodes in one mesh, and one asking for the other.
    """

    def __init__(
        self,
        internet: Internet,
        connect: Callable[[Path], Client],
        tell: Callable[[str, str], None],
    ) -> None:
        """
        @param internet: with two homes.
        @param connect: makes what asks the node of a state directory.
        @param tell: is told who has done what.
        """
        self.internet = internet
        self._times = internet.programs.times
        self._tell = tell
        one, two = internet.homes
        self._portland = _Node("portland", one, internet, connect)
        self._seattle = _Node("seattle", two, internet, connect)
        self.outcome = Outcome((one.kind, two.kind))

    @property
    def _nodes(self) -> tuple[_Node, _Node]:
        """
        Both.
        """
        return self._portland, self._seattle

    def _begin_relay(self) -> Running:
        """
        Start the relay.
        """
        options = ("relay", "--host", RELAY, "--port", str(RELAY_PORT), "--open")
        return self.internet.programs.start(self.internet.middle, "relay", *options)

    def start_relay(self) -> None:
        """
        Start the relay again, and wait until it is there.
        """
        self._relay = self._begin_relay()
        self._relay.wait_for("--relay")

    def kill_relay(self) -> None:
        """
        Kill the relay, which does nothing more.
        """
        self._relay.signal(signal.SIGKILL)

    def signal(self, name: str, number: int) -> None:
        """
        Send a signal to the node of that name.
        """
        (node,) = (each for each in self._nodes if each.name == name)
        assert node.running is not None
        node.running.signal(number)

    def prepare(self) -> None:
        """
        Measure the homes, start the relay, and bring both nodes into one mesh.

        @raise LabError: a home is not what it should be, or a program fails.
        """
        measuring = self.internet.start_measuring()
        self._relay = self._begin_relay()
        for making in [node.make() for node in self._nodes]:
            making.finish()
        self._relay.wait_for("--relay")
        for node in self._nodes:  # they start while the homes are still being measured
            node.start()
        self.internet.judge(measuring)
        for node, home in zip(self._nodes, self.internet.homes, strict=True):
            assert home.behavior is not None
            self.outcome.behaviors.append(home.behavior)
            self._tell(node.name, f"{home.kind.value}, measured: {describe(home.behavior)}")
        self._tell("relay", f"{RELAY_URL}, and STUN beside it")
        for node in self._nodes:
            node.wait()
        begin = self._times.elapsed()
        code = self._portland.client.post("/v1/invite", {"mesh_name": "lab"})["code"]
        try:
            joined = self._seattle.client.post("/v1/join", {"code": code}, timeout=60)
        except AtmosphereError as error:
            raise LabError(f"seattle cannot join: {error}") from None
        self.outcome.join_ms = round((self._times.elapsed() - begin) * 1000, 1)
        self._tell("join", f"both are in {joined['mesh_id']}, {self.outcome.join_ms:.0f} ms")

    def _start_anew(self, *, is_early: bool) -> None:
        """
        Start both nodes behind routers that remember nothing.

        @param is_early: whether that their relay welcomed them is enough.
        """
        for node in reversed(self._nodes):
            node.stop()
        self.internet.forget_connections()
        for node in self._nodes:
            node.start()
        for node in self._nodes:
            node.wait()
        if not is_early:
            self._portland.wait_until_measured("seattle")
            self._seattle.wait_until_measured("portland")

    def run(self, timeout: float, *, is_early: bool = False) -> Run:
        """
        Have seattle look for portland once.

        @param timeout: seconds to wait for a direct path.
        @param is_early: whether that is as soon as their relay welcomed both, and not only
            when they know how others see them.
        @raise LabError: they never were apart.
        """
        for _ in range(MAX_STARTS):
            self._start_anew(is_early=is_early)
            if not self._seattle.is_linked():
                break
        else:
            raise LabError("the nodes find each other sooner than they can be asked to")
        begin = self._times.elapsed()
        arguments = {
            "peer": "portland",
            "count": 0,
            "interval": PING_INTERVAL,
            "timeout": timeout,
            "until_direct": True,
        }
        answer: JSON = {}
        try:
            answer = self._seattle.client.post("/v1/ping", arguments, timeout=timeout * 2 + 30)
        except (LinkError, AtmosphereError) as error:
            answer["error"] = str(error)
        answers = [node.why(peer.name) for node, peer in (self._nodes, self._nodes[::-1])]
        seconds = self._times.elapsed() - begin
        events = [
            event
            for node, why in zip(self._nodes, answers, strict=True)
            for event in _events(node.name, why or {}, seconds)
        ]
        run = Run(
            first_reply_ms=answer.get("first_reply_ms"),
            direct_ms=answer.get("direct_ms"),
            path=answer.get("path"),
            rtt_ms=answer.get("rtt_ms"),
            error=answer.get("error"),
            events=tuple(sorted(events, key=lambda each: each.at)),
            why=answers[1],
        )
        self.outcome.runs.append(run)
        return run


def _events(node: str, why: JSON, seconds: float) -> list[Event]:
    """
    Read what a node has decided since it was asked.

    @param why: its answer to C{/v1/why}.
    @param seconds: how long it took until that.
    """
    return [
        Event(
            seconds - each["age_s"],
            node,
            each["text"] if each["way"] is None else f"{each['way']}: {each['text']}",
        )
        for each in why.get("decisions", [])
        if each["age_s"] <= seconds
    ]
