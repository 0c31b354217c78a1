# -*- test-case-name: tests.network.relay.test_endpoint -*-
"""
From a relay's URL to a connection, and from a failed one to a line that people can use.
"""

from __future__ import annotations

import os
import re
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

from OpenSSL import SSL, crypto
from service_identity import VerificationError
from twisted.internet import error
from twisted.internet.endpoints import (
    HostnameEndpoint,
    TCP4ClientEndpoint,
    TCP6ClientEndpoint,
    wrapClientTLS,
)
from twisted.internet.interfaces import IStreamClientEndpoint
from twisted.internet.ssl import (
    Certificate,
    TLSVersion,
    optionsForClientTLS,
    trustRootFromCertificates,
)
from twisted.python.failure import Failure

from atmosphere.errors import ConfigurationError

from .limits import authority_of

__all__ = [
    "RelayURL",
    "connection_endpoint",
    "describe_failure",
    "parse_relay_url",
    "read_certificates",
]

_PEM = re.compile(rb"-----BEGIN CERTIFICATE-----.+?-----END CERTIFICATE-----", re.DOTALL)
_CONNECT_TIMEOUT = 10


@dataclass(frozen=True, slots=True)
class RelayURL:
    """
    Where a relay is.

    @ivar text: the URL as it was written.
    @ivar resource: the path to ask for.
    """

    text: str
    is_secure: bool
    host: str
    port: int
    resource: str

    @property
    def authority(self) -> str:
        """
        What a login is signed for.
        """
        return authority_of(self.host, self.port)


def parse_relay_url(text: str) -> RelayURL:
    """
    Read C{ws://relay:8080}, C{wss://relay.example} or C{ws://[::1]:8080/some/relay}.

    @raise ConfigurationError: anything else.
    """
    complaint = f"{text!r:.100} is not a relay's URL, such as ws://HOST:8080 or wss://HOST"
    try:
        parts = urlsplit(text)
        port = parts.port
    except ValueError:
        raise ConfigurationError(complaint) from None
    host = parts.hostname
    if (
        parts.scheme not in ("ws", "wss")
        or not host
        or port == 0
        or parts.username is not None
        or parts.query
        or parts.fragment
        or not (text.isascii() and text.isprintable() and " " not in text)
    ):
        raise ConfigurationError(complaint)
    is_secure = parts.scheme == "wss"
    path = parts.path.rstrip("/")
    return RelayURL(
        text,
        is_secure,
        host,
        port if port is not None else 443 if is_secure else 80,
        path if path.endswith("/relay") else f"{path}/relay",
    )


def connection_endpoint(
    reactor: Any, url: RelayURL, ca_file: str | None = None, address: str | None = None
) -> IStreamClientEndpoint:
    """
    Make the endpoint that connects to a relay.

    @param reactor: provides C{IReactorTCP}, C{IReactorTime} and C{IReactorPluggableNameResolver}.
    @param ca_file: PEM certificates to trust instead of the platform's.
    @param address: the IP address to dial, if the name need not be looked up.
    @raise ConfigurationError: the file cannot be read.
    """
    endpoint: IStreamClientEndpoint
    if address is None:
        endpoint = HostnameEndpoint(reactor, url.host, url.port, timeout=_CONNECT_TIMEOUT)
    else:
        by_address = TCP6ClientEndpoint if ":" in address else TCP4ClientEndpoint
        endpoint = by_address(reactor, address, url.port, timeout=_CONNECT_TIMEOUT)
    if not url.is_secure:
        return endpoint
    options = optionsForClientTLS(
        url.host,
        trustRoot=None if ca_file is None else read_certificates(ca_file),
        extraCertificateOptions={"raiseMinimumTo": TLSVersion.TLSv1_2},
    )
    return wrapClientTLS(options, endpoint, clock=reactor)


def read_certificates(ca_file: str) -> Any:
    """
    Read the certificates to trust.

    @raise ConfigurationError: there are none.
    """
    try:
        with open(ca_file, "rb") as file:
            certificates = [Certificate.loadPEM(each) for each in _PEM.findall(file.read())]
    except OSError as problem:
        raise ConfigurationError(f"{ca_file} cannot be read: {problem.strerror}") from None
    except crypto.Error:
        raise ConfigurationError(f"{ca_file} holds something that is no certificate") from None
    if not certificates:
        raise ConfigurationError(f"{ca_file} has no certificate in it")
    return trustRootFromCertificates(certificates)


def describe_failure(url: RelayURL, failure: Failure) -> str:
    """
    Say in one line why there is no connection, and what might help.
    """
    value, where = failure.value, url.authority
    if isinstance(value, error.DNSLookupError):
        return f"{url.host}: no address is known for that name; is DNS working?"
    if isinstance(value, error.ConnectionRefusedError):
        return f"{where} refuses connections; is the relay running there?"
    if isinstance(value, (error.TimeoutError, error.TCPTimedOutError)):
        return f"{where} does not answer; is a firewall in between?"
    if isinstance(value, (error.NoRouteError, error.ConnectError)):
        number = value.osError
        reason = os.strerror(number) if isinstance(number, int) else "no way leads there"
        return f"{where} cannot be reached ({reason}); is it running, and this machine online?"
    if isinstance(value, VerificationError):
        return f"{where}: the certificate is for another name"
    if isinstance(value, SSL.Error):
        return f"{where}: TLS failed ({_tls_reason(value)})"
    if isinstance(value, (error.ConnectionDone, error.ConnectionLost)):
        doubt = "is it a relay?" if url.is_secure else "is it a relay, and not one for wss://?"
        return f"{where} closed the connection; {doubt}"
    return f"{where}: {failure.getErrorMessage()}"


def _tls_reason(problem: SSL.Error) -> str:
    """
    Find the words in OpenSSL's list of errors.
    """
    reasons = [entry[-1] for entry in (problem.args[0] if problem.args else ()) if entry]
    text = ", ".join(str(reason) for reason in reasons) or "the connection was cut"
    if "certificate verify failed" in text:
        return "no authority trusted here signed its certificate; --relay-ca FILE names one"
    if "wrong version number" in text:
        return "it does not speak TLS; does the URL begin with ws:// instead?"
    return text
