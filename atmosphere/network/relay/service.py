# -*- test-case-name: tests.network.relay.test_service -*-
"""
A relay as a service: its port, with or without TLS, and STUN beside it.
"""

from __future__ import annotations

import ipaddress
import resource
from collections.abc import Callable
from dataclasses import replace
from errno import EACCES, EADDRINUSE
from typing import Any

from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.serialization import load_pem_private_key
from OpenSSL import SSL, crypto
from twisted.application.service import MultiService
from twisted.internet.defer import Deferred
from twisted.internet.error import CannotListenError
from twisted.internet.interfaces import IListeningPort
from twisted.internet.ssl import CertificateOptions, TLSVersion
from twisted.logger import Logger
from twisted.protocols.tls import TLSMemoryBIOFactory
from typing_extensions import override

from atmosphere.errors import ConfigurationError, ListenError
from atmosphere.network.stun.binding import (
    ACROSS,
    PRIMARY,
    SECOND_ADDRESS,
    SECOND_PORT,
    Corner,
)
from atmosphere.network.stun.server import BindingSockets

from .admission import membership_admission
from .frames import Hello
from .limits import RelayConfig
from .line import Admission
from .port import FrontFactory, make_site
from .server import RelayServer

__all__ = ["RelayService"]

_SHARE_OF_FILES = 0.8
_GOODBYE = 2.0


def _load_certificate(config: RelayConfig) -> tuple[CertificateOptions, tuple[str, ...]] | None:
    """
    Read the certificate and its key.

    @return: what TLS needs, and the names in the certificate; C{None} without a certificate.
    @raise ConfigurationError: they cannot be read, or do not fit together.
    """
    if config.certificate is None or config.private_key is None:
        return None
    try:
        with open(config.certificate, "rb") as file:
            chain = x509.load_pem_x509_certificates(file.read())
    except OSError as error:
        raise ConfigurationError(f"{config.certificate} cannot be read: {error.strerror}") from None
    except ValueError:
        raise ConfigurationError(f"{config.certificate} is no certificate in PEM") from None
    try:
        with open(config.private_key, "rb") as file:
            key = load_pem_private_key(file.read(), password=None)
    except (OSError, TypeError, ValueError, UnsupportedAlgorithm) as error:
        reason = getattr(error, "strerror", None) or "it is no private key in PEM"
        raise ConfigurationError(f"{config.private_key} cannot be used: {reason}") from None
    options = CertificateOptions(
        privateKey=key,  # type: ignore[arg-type]  # typed for pyOpenSSL keys, takes both
        certificate=crypto.X509.from_cryptography(chain[0]),
        extraCertChain=[crypto.X509.from_cryptography(each) for each in chain[1:]],
        raiseMinimumTo=TLSVersion.TLSv1_2,
    )
    try:
        options.getContext().check_privatekey()
    except SSL.Error:
        raise ConfigurationError(
            f"{config.private_key} is not the key of {config.certificate}"
        ) from None
    try:
        names = chain[0].extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except x509.ExtensionNotFound:
        return options, ()
    hosts = names.get_values_for_type(x509.DNSName)
    addresses = names.get_values_for_type(x509.IPAddress)
    return options, (*hosts, *(_bracketed(each) for each in addresses))


def _bracketed(address: object) -> str:
    """
    Write an IP address as it stands in a URL.
    """
    return f"[{address}]" if isinstance(address, ipaddress.IPv6Address) else str(address)


class RelayService(MultiService):
    """
    A relay: listens, serves, and says goodbye.

    @ivar config: as given, with the names in the certificate added.
    @ivar server: what is behind the port.
    """

    log = Logger()

    def __init__(
        self,
        reactor: Any,
        config: RelayConfig,
        *,
        entropy: Callable[[int], bytes],
        wall: Callable[[], float],
        admit: Callable[[Hello], Admission] | None = None,
    ) -> None:
        """
        @param reactor: provides TCP, UDP and time.
        @param entropy: random bytes, for challenges.
        @param wall: POSIX time.
        @param admit: decides about nodes; without it L{membership_admission} does,
            and nobody is let in by a ticket.
        @raise ConfigurationError: the certificate or its key cannot be used.
        """
        super().__init__()
        loaded = _load_certificate(config)
        if loaded is not None:
            config = replace(config, names=(*config.names, *loaded[1]))
        files, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
        if files != resource.RLIM_INFINITY:
            most = min(config.limits.connections, int(files * _SHARE_OF_FILES))
            config = replace(config, limits=replace(config.limits, connections=most))
        self.config = config
        self.server = RelayServer(
            reactor,
            config,
            entropy=entropy,
            wall=wall,
            admit=membership_admission(config, wall=wall) if admit is None else admit,
            stun_ports=lambda: (self.stun_port,) if self.stun_port else (),
        )
        self._reactor = reactor
        self._front = FrontFactory(reactor, self.server, make_site(reactor, self.server))
        self._factory: Any = self._front
        if loaded is not None:
            self._factory = TLSMemoryBIOFactory(loaded[0], False, self._front)
            self._factory.noisy = False
        self._tcp: IListeningPort | None = None
        self._udp: dict[Corner, IListeningPort] = {}

    @property
    def is_secure(self) -> bool:
        """
        Whether the relay speaks TLS by itself.
        """
        return self.config.certificate is not None

    @property
    def port(self) -> int:
        """
        The TCP port that is bound; 0 before the service is started.
        """
        return 0 if self._tcp is None else int(getattr(self._tcp.getHost(), "port", 0))

    @property
    def stun_port(self) -> int:
        """
        The UDP port that answers STUN; 0 if none does.
        """
        return self._udp_port(PRIMARY)

    @property
    def second_stun_port(self) -> int:
        """
        The UDP port that answers for the other one, to show what a client's
        firewall lets in; 0 if none does.
        """
        return self._udp_port(SECOND_PORT)

    @property
    def stun_addresses(self) -> tuple[str, ...]:
        """
        The addresses that answer STUN, as they were given; with two of them nodes
        can find out all that RFC 5780 knows.
        """
        given = self.config.stun_addresses or (self.config.host,)
        corners = (PRIMARY, SECOND_ADDRESS)
        return tuple(
            host for host, corner in zip(given, corners, strict=False) if corner in self._udp
        )

    def _udp_port(self, corner: Corner) -> int:
        """
        Find a UDP port that is bound; 0 if it is not.
        """
        listening = self._udp.get(corner)
        return 0 if listening is None else int(getattr(listening.getHost(), "port", 0))

    def ports_to_open(self) -> str:
        """
        Say in a few words what a firewall must let in.
        """
        text = f"open TCP {self.port or self.config.port}"
        udp = [str(port) for port in (self.stun_port, self.second_stun_port) if port]
        if not udp:
            return text
        where = f" of {' and '.join(self.stun_addresses)}" if self.config.stun_addresses else ""
        return f"{text} and UDP {', '.join(udp)}{where}"

    def warnings(self) -> list[str]:
        """
        Say in one line each what whoever runs this relay should know.
        """
        lines = []
        if not self.config.meshes and not self.config.is_open:
            lines.append("this relay serves anyone, at a limited rate; --mesh ID serves a mesh")
        if not self.config.names and not self.config.is_loopback_only:
            lines.append(
                "this relay does not know its own name, so a hostile relay could forward"
                " logins to it; --name HOST tells it"
            )
        addresses = self.config.stun_addresses
        if addresses and self.config.host not in ("", "0.0.0.0", "::", *addresses):
            lines.append(
                f"nodes ask for STUN where they dial this relay, at {self.config.host}, which is"
                " no --stun-address"
            )
        return lines

    @override
    def privilegedStartService(self) -> None:
        """
        Bind the ports.

        @raise ListenError: the TCP port is taken, or not ours to take.
        """
        super().privilegedStartService()
        self._listen()

    def _listen(self) -> None:
        """
        Bind what is not yet bound.

        @raise ListenError: the TCP port is taken, or not ours to take.
        """
        config = self.config
        host = "127.0.0.1" if config.host == "localhost" else config.host
        if self._tcp is not None:
            return
        try:
            self._tcp = self._reactor.listenTCP(
                config.port, self._factory, backlog=1024, interface=host
            )
        except CannotListenError as error:
            is_port = getattr(error.socketError, "errno", None) in (EADDRINUSE, EACCES)
            remedy = "--port N takes another" if is_port else "--host takes one of this machine's"
            where = f"TCP port {config.port} of {config.host}"
            raise ListenError(
                f"{where} cannot be bound: {_reason(error)}; {remedy}",
                port=config.port,
            ) from None
        if config.stun_port != 0:
            self._listen_udp(host)

    def _listen_udp(self, host: str) -> None:
        """
        Bind the ports for STUN that can be had; the relay runs without those that cannot.
        """
        first, second = self.config.stun_port, self.config.second_stun_port
        if second is None and first is not None:
            second = first + 1 if first < 65535 else 0
        sockets = BindingSockets(self._reactor)
        addresses = self.config.stun_addresses or (host,)
        for corner, port, loss, remedy in (
            (PRIMARY, first, "without STUN", "--stun-port N takes another port"),
            (
                SECOND_PORT,
                second,
                "without dialling nodes back",
                "--second-stun-port N takes another port",
            ),
        ):
            if port == 0 or (corner is SECOND_PORT and PRIMARY not in self._udp):
                continue
            if not self._open(sockets, corner, addresses[0], port or 0, loss, remedy):
                addresses = addresses[:1]
        if len(addresses) > 1:
            self._listen_at_second_address(sockets, addresses[1])

    def _listen_at_second_address(self, sockets: BindingSockets, host: str) -> None:
        """
        Bind the ports of the first address at the second one too, all or none.
        """
        for corner in (SECOND_ADDRESS, ACROSS):
            port = self._udp_port(Corner(is_other_port=corner.is_other_port))
            remedy = "--stun-address takes one of this machine's"
            if not self._open(sockets, corner, host, port, "with one address for STUN", remedy):
                opened = self._udp.pop(SECOND_ADDRESS, None)
                if opened is not None:
                    opened.stopListening()
                return

    def _open(
        self, sockets: BindingSockets, corner: Corner, host: str, port: int, loss: str, remedy: str
    ) -> bool:
        """
        Bind one UDP port, or say that the relay runs without it.

        @param loss: how the relay runs then.
        @param remedy: what would help.
        """
        try:
            self._udp[corner] = self._reactor.listenUDP(
                port, sockets.protocol(corner), interface=host
            )
        except CannotListenError as error:
            self.log.warn(  # noqa: G010  # Twisted's logger has no other
                "UDP port {port} of {host} cannot be bound: {reason}; the relay runs {loss},"
                " {remedy}",
                port=port,
                host=host,
                reason=_reason(error),
                loss=loss,
                remedy=remedy,
            )
            return False
        return True

    @override
    def startService(self) -> None:
        """
        Serve, and tell what should be known.
        """
        super().startService()
        self._listen()
        for line in self.warnings():
            self.log.warn("{line}", line=line)  # noqa: G010  # likewise

    @override
    def stopService(self) -> Deferred[None]:
        """
        Listen no more, tell everyone, and close all connections.

        @return: fires once all is closed, within two seconds; cannot be cancelled.
        """
        return Deferred.fromCoroutine(self._stop())

    async def _stop(self) -> None:
        """
        Do what L{stopService} says.
        """
        ports, self._tcp, self._udp = (self._tcp, *self._udp.values()), None, {}
        for port in ports:
            if port is not None:
                stopped = port.stopListening()
                if stopped is not None:
                    await stopped
        self.server.drain(0)
        self.server.shut_down()
        await self._front.when_empty(_GOODBYE)
        done = super().stopService()
        if done is not None:
            await done


def _reason(error: CannotListenError) -> str:
    """
    Find the system's words.
    """
    return str(getattr(error.socketError, "strerror", None) or error.socketError)
