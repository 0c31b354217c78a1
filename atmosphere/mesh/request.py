# -*- test-case-name: tests.mesh.test_request -*-
"""
Requests to join: what a machine without a secret sends, for an admin to decide.

A request is signed by the joiner, for one issuer and on one link, so that it
means nothing anywhere else. The format stands in C{docs/protocols/join.md}.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from atmosphere import wire
from atmosphere.certificates import is_mesh_id
from atmosphere.errors import DecodeError
from atmosphere.identity import SIGNATURE_LENGTH, NodeID, NodeKey
from atmosphere.statements import Fields

__all__ = ["RequestAsked", "decode_request", "make_request"]

DOMAIN = b"atmosphere join request v1\0"

MAXIMUM_NAME = 63
MAXIMUM_CAPABILITIES = 16
MAXIMUM_CAPABILITY = 32
MINIMUM_BINDING = 16


def _signed(body: dict[str, object], issuer: NodeID, joiner: NodeID, binding: bytes) -> bytes:
    """
    Write what the signature of a request is over.

    @raise ValueError: a binding that binds nothing.
    """
    if len(binding) < MINIMUM_BINDING:
        raise ValueError("without a channel binding there is no request")
    return DOMAIN + issuer.raw + joiner.raw + binding + wire.encode(body)


@dataclass(frozen=True, slots=True)
class RequestAsked:
    """
    A joiner wants in, and shows nothing but its key. Keep the request, and let
    an admin decide.

    @ivar joiner: who has dialled and proven its key.
    @ivar mesh_id: the mesh that it wants to join.
    @ivar wanted_name: a stranger's text, neither valid nor safe; so are
    @ivar capabilities: what it says of itself.
    """

    joiner: NodeID
    mesh_id: str
    wanted_name: str
    capabilities: tuple[str, ...]
    binding: bytes = field(repr=False)
    signature: bytes = field(repr=False)

    def is_signed_for(self, issuer: NodeID) -> bool:
        """
        Say whether the joiner has signed this for us, on this link.
        """
        body = _body(self.mesh_id, self.wanted_name, self.capabilities)
        return self.joiner.verifies(
            self.signature, _signed(body, issuer, self.joiner, self.binding)
        )


def _body(mesh_id: str, name: str, capabilities: Sequence[str]) -> dict[str, object]:
    """
    Put together all but the signature.
    """
    return {"request": mesh_id, "name": name, "capabilities": list(capabilities)}


def make_request(
    key: NodeKey,
    *,
    mesh_id: str,
    issuer: NodeID,
    binding: bytes,
    wanted_name: str,
    capabilities: Sequence[str] = (),
) -> dict[str, object]:
    """
    Make the message by which a joiner asks.

    @param key: the joiner's.
    @param issuer: whom it has dialled.
    @param binding: of the link to it.
    @param wanted_name: any text; it is cut.
    @param capabilities: words about the joiner; at most 16 of 32 characters.
    @raise DecodeError: there are more, or longer ones.
    """
    if len(capabilities) > MAXIMUM_CAPABILITIES or not all(
        1 <= len(each) <= MAXIMUM_CAPABILITY and each.isprintable() for each in capabilities
    ):
        raise DecodeError(
            f"a node has at most {MAXIMUM_CAPABILITIES} capabilities, each of at most"
            f" {MAXIMUM_CAPABILITY} characters"
        )
    body = _body(mesh_id, wanted_name[:MAXIMUM_NAME] or "node", capabilities)
    return {**body, "signature": key.sign(_signed(body, issuer, key.node_id, binding))}


def decode_request(message: Fields, joiner: NodeID, binding: bytes) -> RequestAsked:
    """
    Read a request; its signature is not checked here.

    @param joiner: who has dialled.
    @param binding: of the link.
    @raise DecodeError: it is none.
    """
    found = RequestAsked(
        joiner,
        message.text("request", 64),
        message.text("name", MAXIMUM_NAME),
        message.texts("capabilities", MAXIMUM_CAPABILITIES, MAXIMUM_CAPABILITY),
        binding,
        message.octets("signature", SIGNATURE_LENGTH),
    )
    message.finish()
    if not is_mesh_id(found.mesh_id):
        raise DecodeError("join: the request names no mesh")
    if not all(each.isprintable() for each in found.capabilities):
        raise DecodeError("join: a capability cannot be printed")
    return found
