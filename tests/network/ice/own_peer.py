"""
Our own ICE agent in a process, for tests that need one elsewhere. It speaks with its
tester as L{tests.network.ice.aioice_peer} does.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
from typing import Any

from twisted.internet import reactor  # noqa: TID251, a program names its reactor
from twisted.internet.defer import Deferred, DeferredQueue
from twisted.internet.stdio import StandardIO
from twisted.internet.task import react
from twisted.protocols.basic import LineOnlyReceiver
from typing_extensions import override

from atmosphere.addresses import TransportAddress
from atmosphere.network.ice.candidates import decode_candidate, encode_candidate
from atmosphere.network.ice.connection import IceConnection
from atmosphere.network.ice.description import IceDescription
from atmosphere.network.nat.credentials import Credentials


class Lines(LineOnlyReceiver):
    """
    Standard input, line by line.

    @ivar lines: those that came.
    """

    delimiter = b"\n"
    MAX_LENGTH = 65536

    def __init__(self) -> None:
        self.lines: DeferredQueue[dict[str, Any]] = DeferredQueue()

    @override
    def lineReceived(self, line: bytes) -> None:
        """
        Take a line.
        """
        self.lines.put(json.loads(line))

    def tell(self, **message: Any) -> None:
        """
        Write a line.
        """
        self.sendLine(json.dumps(message).encode())


async def serve(options: argparse.Namespace) -> None:
    """
    Be a peer until killed.
    """
    lines = Lines()
    StandardIO(lines)

    def received(data: bytes) -> None:
        if not data.startswith(b"echo "):
            ice.send(b"echo " + data)

    server = [TransportAddress.from_text(options.stun)] if options.stun else []
    ice = IceConnection(
        reactor,
        is_controlling=options.controlling,
        entropy=os.urandom,
        on_data=received,
        stun_servers=server,
    )
    ours = await ice.gather()
    lines.tell(
        ufrag=ours.credentials.ufrag,
        pwd=ours.credentials.pwd,
        candidates=[encode_candidate(each).removeprefix("candidate:") for each in ours.candidates],
    )
    other = await lines.lines.get()
    began = reactor.seconds()
    ice.set_remote(
        IceDescription(
            Credentials(other["ufrag"], other["pwd"]),
            tuple(decode_candidate(f"candidate:{each}") for each in other["candidates"]),
            is_complete=True,
        )
    )
    selected = await ice.connect()
    lines.tell(
        connected=True,
        controlling=ice.agent.is_controlling,
        seconds=reactor.seconds() - began,
        local=selected.local.kind,
        remote=selected.remote.kind,
    )
    ice.send(b"hello")
    await Deferred()


def main() -> None:
    """
    Read the options, and be a peer.
    """
    parser = argparse.ArgumentParser()
    parser.add_argument("--controlling", action="store_true")
    parser.add_argument("--stun")
    options = parser.parse_args(sys.argv[1:])
    react(lambda _: Deferred.fromCoroutine(serve(options)))


if __name__ == "__main__":
    main()
