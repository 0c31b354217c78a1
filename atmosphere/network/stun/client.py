# -*- test-case-name: tests.network.stun.test_client -*-
"""
A STUN client for one socket, which asks for our address.

It is an ordinary C{DatagramProtocol}: alone on C{reactor.listenUDP}, or one of
many on a shared port.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

from twisted.internet.defer import Deferred, fail
from twisted.internet.interfaces import IReactorTime
from typing_extensions import override

from atmosphere.addresses import TransportAddress
from atmosphere.errors import (
    DecodeError,
    TransactionRefusedError,
    TransactionTimeoutError,
)
from atmosphere.network.udp.port import EngineProtocol

from .attributes import MAPPED_ADDRESS, XOR_MAPPED_ADDRESS, Attribute
from .message import Message
from .transaction import RC, RM, RTO, Answered, Event, Failed, Refused, TimedOut, Transactions

__all__ = ["Response", "StunClient"]


@dataclass(frozen=True, slots=True)
class Response:
    """
    A success response.

    @ivar message: the response.
    @ivar source: the server that sent it.
    """

    message: Message
    source: TransportAddress

    @property
    def mapped(self) -> TransportAddress | None:
        """
        Where the server saw our request come from, if it says so.
        """
        return self.message.get(XOR_MAPPED_ADDRESS) or self.message.get(MAPPED_ADDRESS)


class StunClient(EngineProtocol[Event]):
    """
    Sends STUN requests and waits for their responses.
    """

    def __init__(self, reactor: IReactorTime, entropy: Callable[[int], bytes]) -> None:
        super().__init__(reactor)
        self._engine = Transactions(entropy)
        self._waiting: dict[bytes, tuple[Deferred[Response], TransportAddress]] = {}

    @property
    def dropped(self) -> int:
        """
        How many datagrams were no response to anything that was asked.
        """
        return self._engine.dropped

    def owns(self, transaction_id: bytes) -> bool:
        """
        Say whether a response to this transaction is waited for here.
        """
        return self._engine.owns(transaction_id)

    def awaits(self, datagram: bytes) -> bool:
        """
        Say whether a datagram is a response that is waited for here, as it seems.
        """
        return len(datagram) >= 20 and datagram[0] == 1 and self.owns(datagram[8:20])

    def request(
        self,
        server: TransportAddress,
        *,
        rto: float = RTO,
        attempts: int = RC,
        patience: float = RM,
        attributes: Iterable[tuple[Attribute[Any], Any]] = (),
        key: bytes | None = None,
    ) -> Deferred[Response]:
        """
        Send a Binding request until its response comes.

        @param rto: seconds until it is sent again; doubled each time.
        @param attempts: how often it is sent in all.
        @param patience: how many C{rto} the last one is waited for.
        @param key: protects the request; the response must hold under it too.
        @return: fires with the success response; fails with
            L{TransactionTimeoutError} when none came or nothing can be sent,
            L{TransactionRefusedError} for an error response, L{DecodeError}
            for a response that demands the unknown. Cancelling ends the
            transaction.
        """
        driver = self._driver
        if driver is None:
            return fail(TransactionTimeoutError("the client is on no port", attempts=0))
        transaction_id = self._engine.request(
            server,
            driver.now(),
            attributes=attributes,
            key=key,
            rto=rto,
            rc=attempts,
            rm=patience,
        )

        def cancel(_: Deferred[Response]) -> None:
            self._engine.cancel(transaction_id)
            self._waiting.pop(transaction_id, None)
            if self._driver is not None:
                self._driver.pump()

        deferred: Deferred[Response] = Deferred(cancel)
        self._waiting[transaction_id] = deferred, server
        driver.pump()
        return deferred

    @override
    def startProtocol(self) -> None:
        """
        Begin: the client has a port.
        """
        self._drive(self._engine)

    @override
    def stopProtocol(self) -> None:
        """
        End: the port is gone, and so are the responses.
        """
        self._stop_driving()
        for transaction_id in list(self._waiting):
            self._fail(transaction_id, "the port was closed")

    @override
    def _send(self, datagrams: list[tuple[bytes, TransportAddress]]) -> None:
        """
        Write requests; one that cannot leave the machine has failed.
        """
        for data, destination in datagrams:
            if self.transport is None:
                return
            try:
                self.transport.write(data, (destination.host, destination.port))
            except OSError as error:
                self._engine.cancel(data[8:20])
                self._fail(data[8:20], error.strerror or str(error))

    def _fail(self, transaction_id: bytes, reason: str) -> None:
        """
        End a transaction that can have no response.
        """
        self._engine.cancel(transaction_id)
        deferred, server = self._waiting.pop(transaction_id, (None, None))
        if deferred is not None:
            deferred.errback(TransactionTimeoutError(f"STUN server {server}: {reason}"))

    @override
    def _event_reported(self, event: Event) -> None:
        """
        Tell whoever waits how its transaction ended.
        """
        deferred, server = self._waiting.pop(event.transaction_id, (None, None))
        if deferred is None:
            return
        match event:
            case Answered(_, message, source):
                deferred.callback(Response(message, source))
            case Refused(_, code, reason):
                text = f"STUN server {server} refuses: {code} {reason[:80]!r}"
                deferred.errback(TransactionRefusedError(text, code=code))
            case Failed(_, reason):
                deferred.errback(DecodeError(f"STUN server {server} {reason}"))
            case TimedOut(_, attempts):
                text = f"no response from STUN server {server}"
                deferred.errback(TransactionTimeoutError(text, attempts=attempts))
