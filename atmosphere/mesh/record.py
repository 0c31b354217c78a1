# -*- test-case-name: tests.mesh.test_record -*-
"""
A node's record: where it can be reached and what it serves, signed by itself.

The format stands in C{docs/protocols/membership.md}. Endpoints in it are
claims: they pass L{atmosphere.addresses.candidate_refusal} before use.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from atmosphere.addresses import TransportAddress
from atmosphere.certificates import is_mesh_id
from atmosphere.errors import DecodeError
from atmosphere.identity import SIGNATURE_LENGTH, NodeID, NodeKey
from atmosphere.statements import Fields, sign_statement, split_statement

from .code_text import is_relay_url

__all__ = ["NodeRecord", "decode_record", "sign_record"]

MAXIMUM_RECORD = 2048
MAXIMUM_ENDPOINTS = 16
MAXIMUM_RELAYS = 8
MAXIMUM_SERVICES = 32
MAXIMUM_SERVICE = 64
MAXIMUM_VERSION = 32
MAXIMUM_SEQUENCE = 2**63 - 1
MAXIMUM_URL = 256

RECORD_DOMAIN = b"atmosphere record v1\0"


@dataclass(frozen=True, slots=True)
class NodeRecord:
    """
    What a node says about itself.

    @ivar sequence: grows with each change.
    @ivar time: when it was signed, POSIX time.
    @ivar endpoints: where it listens, as far as it knows.
    @ivar relays: the URLs of its relays, the home relay first.
    @ivar services: what it serves; escape before showing.
    @ivar version: of its program; escape before showing.
    @ivar encoded: the exact bytes, signature included.
    """

    mesh_id: str
    node: NodeID
    sequence: int
    time: int
    endpoints: tuple[TransportAddress, ...]
    relays: tuple[str, ...]
    services: tuple[str, ...]
    version: str
    encoded: bytes = field(repr=False)

    def is_signed(self) -> bool:
        """
        Say whether the node's signature holds.
        """
        body, signature = self.encoded[:-SIGNATURE_LENGTH], self.encoded[-SIGNATURE_LENGTH:]
        return self.node.verifies(signature, RECORD_DOMAIN + body)


def sign_record(
    key: NodeKey,
    mesh_id: str,
    sequence: int,
    *,
    wall: float,
    endpoints: Sequence[TransportAddress] = (),
    relays: Sequence[str] = (),
    services: Sequence[str] = (),
    version: str = "",
) -> NodeRecord:
    """
    Write our own record.

    @param sequence: one more than the last that was ever published.
    @raise DecodeError: a value cannot be, or all together are too long.
    """
    body = {
        0: 1,
        1: mesh_id,
        2: key.node_id.raw,
        3: sequence,
        4: int(wall),
        5: [address.packed + address.port.to_bytes(2, "big") for address in endpoints],
        6: list(relays),
        7: list(services),
        8: version,
    }
    return decode_record(sign_statement(key, RECORD_DOMAIN, body))


def decode_record(data: bytes) -> NodeRecord:
    """
    Read a record; its signature is not checked here.

    @raise DecodeError: anything else.
    """
    what = "record"
    body, _ = split_statement(data, limit=MAXIMUM_RECORD, what=what)
    fields = Fields.decode(body, limit=MAXIMUM_RECORD, what=what)
    fields.version()
    found = NodeRecord(
        fields.text(1, 64),
        fields.node(2),
        fields.number(3, MAXIMUM_SEQUENCE, minimum=1),
        fields.time(4),
        tuple(_endpoint(packed) for packed in fields.octet_strings(5, MAXIMUM_ENDPOINTS, 18, 6)),
        fields.texts(6, MAXIMUM_RELAYS, MAXIMUM_URL),
        fields.texts(7, MAXIMUM_SERVICES, MAXIMUM_SERVICE),
        fields.text(8, MAXIMUM_VERSION, 0),
        data,
    )
    fields.finish()
    if not is_mesh_id(found.mesh_id) or not all(map(is_relay_url, found.relays)):
        raise DecodeError("record: the mesh id or a relay cannot be")
    return found


def _endpoint(packed: bytes) -> TransportAddress:
    """
    Read an address and port.

    @raise DecodeError: neither an IPv4 nor an IPv6 address.
    """
    return TransportAddress.from_bytes(packed[:-2], int.from_bytes(packed[-2:], "big"))
