# -*- test-case-name: tests.node.test_embed -*-
"""
Nodes and relays for programs that are not ours: one call each, with the real
clock and the real randomness, unless they are told others.

C{from atmosphere.node.embed import make_node}
"""

from __future__ import annotations

import random as _random
import secrets
import socket
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, TypedDict, Unpack

from twisted.internet.defer import Deferred, maybeDeferred
from twisted.logger import Logger
from typing_extensions import override

from atmosphere.errors import ConfigurationError
from atmosphere.network.nat.candidates import Interface
from atmosphere.network.nat.interfaces import list_interfaces as list_real_interfaces
from atmosphere.network.relay.limits import RelayConfig
from atmosphere.network.relay.service import RelayService
from atmosphere.text import escape_peer_text, tidy_name

from .config import NodeConfig, check_name, with_fallback, with_options
from .interface_watch import watch_interfaces
from .relaying import make_relay as _make_relay
from .service import NodeService
from .store import NodeStore

__all__ = ["NodeOptions", "make_node", "make_relay"]

_system_random = _random.SystemRandom().random


class NodeOptions(TypedDict, total=False):
    """
    What else a node may be told; each stands for the setting of that name in
    C{config.toml}, and the lists are added to those that are there.
    """

    relay_ca: str | None
    stun: Sequence[str]
    udp_port: int | None
    interfaces: Sequence[str]
    advertise: Sequence[str]
    no_public_stun: bool
    allow_loopback: bool
    path_policy: str | None


class _EmbeddedNode(NodeService):
    """
    A node that has its state directory to itself.
    """

    def __init__(self, reactor: Any, store: NodeStore, config: NodeConfig, **sources: Any) -> None:
        super().__init__(reactor, store, config, **sources)
        self._own_store = store
        self.name = f"node in {store.path}"  # a parent has each name once

    @override
    def stopService(self) -> Deferred[Any]:
        """
        Stop the node, then let go of its state directory.
        """

        def close(result: Any) -> Any:
            self._own_store.close()
            return result

        return maybeDeferred(super().stopService).addBoth(close)


def make_node(
    reactor: Any,
    state: str | Path,
    *,
    name: str | None = None,
    relays: Sequence[str] = (),
    has_control: bool = True,
    list_interfaces: Callable[[], list[Interface]] = list_real_interfaces,
    entropy: Callable[[int], bytes] = secrets.token_bytes,
    wall: Callable[[], float] = time.time,
    random: Callable[[], float] = _system_random,
    **options: Unpack[NodeOptions],
) -> NodeService:
    """
    Make a node for a program of any kind; the node runs once it is started, by
    C{setServiceParent} or its own C{startService}.

    Its state directory is made if there is no node in it yet, with these
    arguments as its C{config.toml}. Otherwise they are laid over what that file
    says, for this run. The directory is the node's until the service has
    stopped; the node cannot be started again then, but another one can be made.

    @param reactor: has UDP, TCP, UNIX sockets, time and name resolution.
    @param state: the state directory.
    @param name: what the node is called; by default as the machine is, or as
        it was when it was made.
    @param relays: C{ws://} or C{wss://} URLs of relays to use.
    @param has_control: whether the command line may talk to the node, and
        other programs of this user open streams through it.
    @param list_interfaces: lists the machine's interfaces. Those that you list are looked
        at every ten seconds; of the real ones the system may tell when they change.
    @param entropy: makes keys.
    @param wall: tells POSIX time.
    @param random: spreads retries.
    @raise ConfigurationError: an argument does not fit, or the node that is
        there has another name.
    @raise StateError: the directory cannot be used: it is in use by another
        process, open to others, damaged or in a newer format.
    """
    path = Path(state).expanduser().absolute()
    wanted = None if name is None else check_name(name)

    def with_arguments(config: NodeConfig) -> NodeConfig:
        return with_fallback(with_options(config, relays=relays, **options), {})

    if NodeStore.exists(path):
        store = NodeStore.open(path, wall=wall)
    else:
        host_name = tidy_name(socket.gethostname().split(".")[0])
        config = with_arguments(NodeConfig(wanted or host_name))
        store = NodeStore.create(path, config, wall=wall, entropy=entropy)
    try:
        for notice in store.notices:
            Logger(source=make_node).warn("{notice}", notice=notice)
        if wanted not in (None, store.settings.name):
            found = escape_peer_text(store.settings.name)
            raise ConfigurationError(
                f"the node in {path} is called {found}, not {wanted}: a name is given once,"
                " when the node is made"
            )
        node = _EmbeddedNode(
            reactor,
            store,
            with_arguments(store.settings),
            entropy=entropy,
            wall=wall,
            random=random,
            interfaces=list_interfaces,
            watch=watch_interfaces if list_interfaces is list_real_interfaces else None,
            has_control=has_control,
        )
        store.database.rest()
    except BaseException:
        store.close()
        raise
    return node


def make_relay(
    reactor: Any,
    config: RelayConfig,
    *,
    entropy: Callable[[int], bytes] = secrets.token_bytes,
    wall: Callable[[], float] = time.time,
) -> RelayService:
    """
    Make a relay for a program of any kind: members of the meshes that it
    serves come in, and joiners by the ticket of their code.

    @param reactor: has TCP, UDP and time.
    @raise ConfigurationError: the certificate or its key cannot be used.
    """
    return _make_relay(reactor, config, entropy=entropy, wall=wall)
