# -*- test-case-name: tests.node.test_answering -*-
"""
Making answers: what a joiner does when no relay leads to the issuer of its code.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.task import deferLater
from twisted.logger import Logger
from twisted.python.failure import Failure

from atmosphere.addresses import AddressKind, TransportAddress, address_kind
from atmosphere.identity import NodeID
from atmosphere.mesh.answer import make_answer
from atmosphere.mesh.invitation import invitation_key
from atmosphere.mesh.join_code import JoinCode
from atmosphere.mesh.knock import KnockCredentials, is_knock
from atmosphere.network.nat.candidates import Candidate, CandidateType

from .api import JSON
from .mappings import MappingKeeper
from .surroundings import Surroundings

__all__ = ["AnswerOffer"]

#: Seconds in which we see whether our NAT takes another port for each destination.
PATIENCE = 1.0
GLANCE = 0.1

#: The sources of knocks that are remembered.
MAX_SOURCES = 2

#: Knocks that are known again: more than the 72 that one answer brings.
MAX_KNOCKS = 256


class AnswerOffer:
    """
    The answer of one joiner to one code, for as long as it waits to be carried.

    @ivar sources: where knocks came from, the last first.
    @ivar expires_at: when the answer ends, in POSIX time; C{None} while there is none.
    @ivar problem: why there can be none.
    """

    _log = Logger()

    def __init__(
        self,
        reactor: Any,
        code: JoinCode,
        joiner: NodeID,
        surroundings: Surroundings,
        *,
        wall: Callable[[], float],
        emit: Callable[[JSON], None],
        knocked: Callable[[], None],
    ) -> None:
        """
        @param emit: told each answer, and now and then that it is still waited for.
        @param knocked: called when the issuer knocks.
        """
        self.sources: list[TransportAddress] = []
        self.expires_at: float | None = None
        self.problem: str | None = None
        self._reactor = reactor
        self._code = code
        self._joiner = joiner
        self._surroundings = surroundings
        self._wall = wall
        self._emit = emit
        self._knocked = knocked
        self._told: tuple[Candidate, ...] = ()
        self._heard: dict[bytes, None] = {}
        self._starting: Deferred[None] | None = None
        self._keeper = MappingKeeper(reactor, surroundings, lambda: True, self._kept)
        assert code.secret is not None
        key = invitation_key(code.secret, code.invite_id)
        self._credentials = KnockCredentials.of(key, code.issuer, joiner)

    def start(self) -> None:
        """
        Find out where we are, and make the answer.
        """
        self._surroundings.ports.knocked = self._check_received
        self._starting = Deferred.fromCoroutine(self._start())
        self._starting.addErrback(self._failed)

    async def _start(self) -> None:
        """
        Do what L{start} says.
        """
        where = self._surroundings
        await where.learn_public_address()
        for _ in range(round(PATIENCE / GLANCE)):
            if where.has_stable_port is not None:
                break
            await deferLater(self._reactor, GLANCE)
        self._tell()
        self._keeper.start()

    def _failed(self, failure: Failure) -> None:
        """
        There is no answer.
        """
        if failure.check(CancelledError) is None:
            self._log.failure("no answer could be made", failure)

    def stop(self) -> None:
        """
        Wait for nobody any more.
        """
        self._surroundings.ports.knocked = None
        self._keeper.stop()
        if self._starting is not None:
            self._starting.cancel()

    def _candidates(self) -> tuple[Candidate, ...]:
        """
        List where others may reach us from outside.
        """
        return tuple(
            each
            for each in self._surroundings.candidates()
            if each.type is not CandidateType.HOST
            or address_kind(each.address.packed) is AddressKind.GLOBAL
        )

    def _tell(self) -> None:
        """
        Make the answer, if it is another than before.
        """
        candidates = self._candidates()
        if not candidates:
            self.problem = (
                "this machine does not know its public address, which an answer would have to"
                " name: name a STUN server, with --stun HOST:PORT, or give both sides a relay"
            )
            return
        if {each.address for each in candidates} == {each.address for each in self._told}:
            return
        has_changed = bool(self._told)
        self._told = candidates
        self.problem = None
        where = self._surroundings
        text, self.expires_at = make_answer(
            self._code,
            self._joiner,
            candidates,
            has_stable_port=where.has_stable_port,
            wall=self._wall(),
        )
        self._emit(
            {
                "answer": text,
                "expires_at": int(self.expires_at),
                "addresses": [str(each.address) for each in candidates],
                "issuer": str(self._code.issuer),
                "mesh_name": self._code.mesh_name,
                "has_changed": has_changed,
                "stable_port": where.has_stable_port,
            }
        )

    def _kept(self) -> None:
        """
        Our mapping was asked for: it may be another now.
        """
        self._tell()
        if self.expires_at is not None:
            left = max(0, int(self.expires_at - self._wall()))
            self._emit({"waiting_for": "answer", "seconds": left})

    def _check_received(self, data: bytes, source: TransportAddress) -> bool:
        """
        See whether what came is a knock, and have the issuer dialled then. One that came
        before was overheard: its source says nothing of where the issuer is.
        """
        if not is_knock(data, self._credentials):
            return False
        transaction_id = data[8:20]
        if transaction_id in self._heard:
            return True
        self._heard[transaction_id] = None
        if len(self._heard) > MAX_KNOCKS:
            del self._heard[next(iter(self._heard))]
        if source in self.sources:
            self.sources.remove(source)
        self.sources.insert(0, source)
        del self.sources[MAX_SOURCES:]
        self._knocked()
        return True
