# -*- test-case-name: tests.test_tap -*-
"""
C{twistd atmosphere}: a node, a relay, or both in one process.

It does what C{atmosphere serve} and C{atmosphere relay} do, and goes through
the same code from options to configuration.
"""

from __future__ import annotations

import os
import random
import secrets
import sys
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

from twisted.application.service import IService, MultiService, Service
from twisted.internet.defer import Deferred, maybeDeferred
from twisted.logger import Logger
from twisted.python import usage
from typing_extensions import override

from atmosphere import __version__
from atmosphere.errors import AtmosphereError, ConfigurationError
from atmosphere.node.clock import use_steady_clock
from atmosphere.node.config import NodeConfig, with_fallback, with_options
from atmosphere.node.program import program_for
from atmosphere.node.readiness import tell_ready, tell_stopping
from atmosphere.node.relay_options import relay_config
from atmosphere.node.store import NodeStore, default_state_directory

if TYPE_CHECKING:
    from atmosphere.network.relay.service import RelayService

__all__ = ["Options", "makeService"]

EXAMPLES = """
Examples:
  twistd -n atmosphere --relay --port 8080
  twistd -n atmosphere --node --use-relay ws://relay.example.org:8080
  twistd -n atmosphere --relay --node --port 8080 --udp-port 7777
"""

#: Options that may be given several times, and their variables.
_LISTS = {
    "use-relay": "RELAY",
    "stun": "STUN",
    "advertise": "ADVERTISE",
    "stun-address": "STUN_ADDRESS",
    "mesh": "MESH",
    "name": "RELAY_NAME",
    "trusted-proxy": "TRUSTED_PROXY",
    "limit": "LIMIT",
}

_FLAGS = (
    ("open", "OPEN", "the relay serves anyone, at a limited rate"),
    ("no-public-stun", "NO_PUBLIC_STUN", "never ask public STUN servers"),
    ("allow-loopback", "ALLOW_LOOPBACK", "reach peers on this machine by loopback addresses"),
)

#: Options with one value: name, variable, type, meaning.
_VALUES = (
    ("host", "HOST", str, "address to listen on: the relay's, or without one the node's"),
    (
        "port",
        "PORT",
        int,
        "the relay's TCP port (default 8080); without a relay the node's UDP port",
    ),
    ("udp-port", "UDP_PORT", int, "the node's UDP port (default 7777, or any free one)"),
    ("state", "HOME", str, "the node's state directory (default ~/.atmosphere)"),
    ("relay-ca", "RELAY_CA", str, "file of certificates to verify wss:// relays with"),
    ("paths", "PATHS", str, "auto, relayed or direct: which paths the node uses"),
    ("stun-port", "STUN_PORT", int, "the relay's UDP port for STUN, 0 is off (default 3478)"),
    (
        "second-stun-port",
        "SECOND_STUN_PORT",
        int,
        "the relay's UDP port to dial nodes back from, 0 is off (default the next one)",
    ),
    ("cert", "CERT", str, "file with the relay's certificate and its chain, for wss://"),
    ("key", "KEY", str, "file with the certificate's private key"),
    ("rate", "RATE", float, "bytes a second for each client of the relay"),
)


def _collector(name: str, meaning: str) -> Callable[[Options, str], None]:
    """
    Make the method that takes one value of a repeatable option.

    @param meaning: what the option's help says.
    """

    def collect(self: Options, value: str) -> None:
        self.lists[name].append(value)

    collect.__doc__ = meaning
    return collect


def _reader(name: str, kind: Callable[[str], Any]) -> Callable[[str], Any]:
    """
    Make what reads the number in an option's value.
    """

    def read(text: str) -> Any:
        try:
            return kind(text)
        except ValueError:
            raise ValueError(f"--{name} wants a number, not {text[:80]!a}") from None

    return read


class Options(usage.Options):
    """
    The command line of C{twistd atmosphere}.
    """

    synopsis = "[options] --node | --relay"
    longdesc = (
        "A member of an encrypted peer-to-peer mesh, a relay, or both. Every option can"
        " also be given by a variable, ATMOSPHERE_ and its name; --state is ATMOSPHERE_HOME."
    )

    optFlags = [
        ["node", None, "run this machine's node, made by `atmosphere init`"],
        ["relay", None, "run a relay"],
        *([name, None, meaning] for name, _, meaning in _FLAGS),
    ]

    optParameters = [
        [name, None, None, meaning, str if kind is str else _reader(name, kind)]
        for name, _, kind, meaning in _VALUES
    ]

    def __init__(self, environ: Mapping[str, str] | None = None) -> None:
        self.environ = os.environ if environ is None else environ
        self.lists: dict[str, list[str]] = {name: [] for name in _LISTS}
        super().__init__()

    opt_use_relay = _collector("use-relay", "URL of a relay for the node to use; repeatable")
    opt_stun = _collector("stun", "HOST:PORT of a STUN server for the node to ask; repeatable")
    opt_advertise = _collector("advertise", "IP:PORT at which others reach the node; repeatable")
    opt_stun_address = _collector(
        "stun-address", "address for the relay to answer STUN on, if not --host; one or two"
    )
    opt_mesh = _collector("mesh", "ID of a mesh whose members the relay serves; repeatable")
    opt_name = _collector("name", "HOST[:PORT] by which nodes dial the relay; repeatable")
    opt_trusted_proxy = _collector(
        "trusted-proxy", "proxy whose X-Forwarded-For the relay believes; repeatable"
    )
    opt_limit = _collector("limit", "NAME=NUMBER, another limit of the relay; repeatable")

    @override
    def opt_version(self) -> None:
        """
        Show the version of atmosphere.
        """
        sys.stdout.write(f"atmosphere {__version__}\n")
        raise SystemExit(0)

    @override
    def getUsage(self, width: int | None = None) -> str:
        """
        Show the examples below the options.
        """
        return super().getUsage(width) + EXAMPLES

    @override
    def parseOptions(self, options: Any = None) -> None:
        """
        Refuse C{--relay=URL} in words that help.
        """
        given = list(options) if options is not None else sys.argv[1:]
        for each in given:
            if each.startswith("--relay="):
                self._refuse_url(each.removeprefix("--relay="))
        super().parseOptions(given)

    def _refuse_url(self, text: str) -> None:
        """
        Say that C{--relay} takes no URL.
        """
        raise usage.UsageError(
            "--relay takes no value, it runs a relay here; a relay to use is named by"
            f" --use-relay {text}"
        )

    @override
    def parseArgs(self, *rest: str) -> None:
        """
        Refuse what is no option, above all a URL behind C{--relay}.
        """
        if rest and self["relay"]:
            self._refuse_url(rest[0])
        if rest:
            raise usage.UsageError(f"{rest[0]!r} is no option")

    @override
    def postOptions(self) -> None:
        """
        Fill in the variables, and make the configurations of both roles.
        """
        if not self["node"] and not self["relay"]:
            raise usage.UsageError("say what to run: --node, --relay, or both")
        self._read_environment()
        self["state"] = str(
            Path(self["state"]).expanduser().absolute()
            if self["state"]
            else default_state_directory(self.environ).absolute()
        )
        try:
            self["relay-config"] = self._relay_config() if self["relay"] else None
            if self["node"]:
                self.node_config(NodeConfig("node"))
        except ConfigurationError as error:
            raise usage.UsageError(str(error)) from None
        if self["node"] and not NodeStore.exists(Path(self["state"])):
            program = program_for(Path(self["state"]), self.environ)
            _end(f"there is no node in {self['state']}: make one with `{program} init`", 2)

    def _read_environment(self) -> None:
        """
        Take from variables what was not said by options.
        """
        for name, variable, kind, _ in _VALUES:
            text = self.environ.get(f"ATMOSPHERE_{variable}")
            if self[name] is None and text and name != "state":
                try:
                    self[name] = kind(text)
                except ValueError:
                    raise usage.UsageError(f"ATMOSPHERE_{variable}={text!a} is no number") from None
        for name, variable in _LISTS.items():
            text = self.environ.get(f"ATMOSPHERE_{variable}")
            if not self.lists[name] and text:
                self.lists[name] = text.split()
        for name, variable, _ in _FLAGS:
            text = self.environ.get(f"ATMOSPHERE_{variable}", "").strip().lower()
            if text not in ("", "0", "no", "false", "off"):
                self[name] = 1

    def _relay_config(self) -> Any:
        """
        Make the relay's configuration.
        """
        return relay_config(
            host=self["host"],
            port=self["port"],
            stun_port=self["stun-port"],
            second_stun_port=self["second-stun-port"],
            stun_addresses=self.lists["stun-address"],
            meshes=self.lists["mesh"],
            is_open=bool(self["open"]),
            cert=self["cert"],
            key=self["key"],
            names=self.lists["name"],
            trusted_proxies=self.lists["trusted-proxy"],
            rate=self["rate"],
            limits=self.lists["limit"],
        )

    def node_config(self, config: NodeConfig) -> NodeConfig:
        """
        Lay the options over the node's settings.

        Without a relay C{--host} and C{--port} are the node's.
        """
        is_alone = not self["relay"]
        udp_port = self["udp-port"]
        if udp_port is None and is_alone:
            udp_port = self["port"]
        changed = with_options(
            config,
            relays=self.lists["use-relay"],
            relay_ca=self["relay-ca"],
            stun=self.lists["stun"],
            udp_port=udp_port,
            interfaces=[self["host"]] if is_alone and self["host"] else [],
            advertise=self.lists["advertise"],
            no_public_stun=bool(self["no-public-stun"]),
            allow_loopback=bool(self["allow-loopback"]),
            path_policy=self["paths"],
        )
        return with_fallback(changed, self.environ)


def _end(text: str, status: int) -> NoReturn:
    """
    End the process with one line for people.
    """
    sys.stderr.write(f"atmosphere: {' '.join(text.split())}\n")
    raise SystemExit(status)


class _NodeRole(Service):
    """
    The node: its state is opened when twistd has forked and given up its
    privileges, not before. Its name and ports are logged once it runs.
    """

    _log = Logger()

    def __init__(self, reactor: Any, options: Options) -> None:
        self._reactor = reactor
        self._options = options
        self._store: NodeStore | None = None
        self._node: Any = None

    @override
    def startService(self) -> None:
        """
        Open the state directory and start the node.
        """
        from atmosphere.node.service import NodeService

        super().startService()
        self._store = store = NodeStore.open(Path(self._options["state"]), wall=time.time)
        for notice in store.notices:
            self._log.warn("{notice}", notice=notice)
        self._node = NodeService(
            self._reactor,
            store,
            self._options.node_config(store.settings),
            entropy=secrets.token_bytes,
            wall=time.time,
            random=random.SystemRandom().random,
        )
        self._node.privilegedStartService()
        self._node.startService()
        self._node.when_started().addCallback(lambda _: self._tell())

    def _tell(self) -> None:
        """
        Log who the node is and where it listens.
        """
        status = self._node.status()
        self._log.info(
            "node {name} ({node_id}) listens on UDP {ports}",
            name=status["name"],
            node_id=status["node_id"],
            ports=", ".join(status["listening"]),
        )

    @override
    def stopService(self) -> Deferred[None]:
        """
        Stop the node, then let go of its state directory.
        """
        super().stopService()
        node, self._node = self._node, None
        stopped = maybeDeferred(lambda: None if node is None else node.stopService())

        def close(result: Any) -> Any:
            if self._store is not None:
                self._store.close()
                self._store = None
            return result

        return stopped.addBoth(close)


class _Roles(MultiService):
    """
    What was asked for; an error at the start ends the process with its own status.

    @ivar relay: the relay, if one was asked for; the ports to open for it are logged.
    """

    _log = Logger()
    relay: RelayService | None = None

    @override
    def privilegedStartService(self) -> None:
        """
        Bind the ports that may need privileges.
        """
        try:
            super().privilegedStartService()
        except AtmosphereError as error:
            _end(str(error), error.exit_code)

    @override
    def startService(self) -> None:
        """
        Start everything.
        """
        try:
            super().startService()
        except AtmosphereError as error:
            _end(str(error), error.exit_code)
        if self.relay is not None:
            from atmosphere.node.relaying import describe

            self._log.info("{line}", line=describe(self.relay))
        tell_ready()

    @override
    def stopService(self) -> Deferred[Any]:
        """
        Stop everything.
        """
        tell_stopping()
        stopped: Deferred[Any] = super().stopService()
        return stopped


def makeService(options: Options) -> IService:
    """
    Make the service that twistd runs.
    """
    from twisted.internet import reactor

    use_steady_clock(reactor)
    roles = _Roles()
    if options["relay"]:
        from atmosphere.node.relaying import make_relay

        try:
            relay = make_relay(
                reactor, options["relay-config"], entropy=secrets.token_bytes, wall=time.time
            )
        except AtmosphereError as error:
            _end(str(error), error.exit_code)
        relay.setServiceParent(roles)
        roles.relay = relay
    if options["node"]:
        _NodeRole(reactor, options).setServiceParent(roles)
    return roles
