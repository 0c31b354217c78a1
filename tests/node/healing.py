"""
Two homes and a relay, a transfer between them, and what may happen to it meanwhile:
how long nothing comes.
"""

from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise
from pathlib import Path
from typing import Any

from twisted.internet.error import ConnectionDone
from twisted.internet.task import Clock
from typing_extensions import override

from atmosphere.testing import PORT_RESTRICTED, NatBehaviour

from .harness import SimulatedNode, World
from .transfer import Receiver, Sender

__all__ = ["Healing", "Homes"]

Homes = tuple[NatBehaviour, NatBehaviour]

#: Seconds, one way, on each home's uplink: so a round trip between homes takes 80 ms.
UPLINK = 0.02

#: Bytes a second on each uplink, and seconds that its queue holds.
RATE = 1e6
QUEUE = 0.3


class _Timed(Receiver):
    """
    Notes when bytes came.

    @ivar times: each time.
    """

    def __init__(self, clock: Clock) -> None:
        super().__init__()
        self.times: list[float] = []
        self._clock = clock

    @override
    def dataReceived(self, data: bytes) -> None:
        """
        Note the time too.
        """
        super().dataReceived(data)
        self.times.append(self._clock.seconds())


class Healing:
    """
    A transfer from portland to seattle.

    @ivar world: where it happens.
    @ivar here: portland's node, which sends.
    @ivar there: seattle's.
    @ivar begun: when the fault began.
    """

    def __init__(
        self,
        folder: str | Path,
        *,
        homes: Homes = (PORT_RESTRICTED, PORT_RESTRICTED),
        total: int = 4_000_000,
        seed: int = 1,
        rate: float | None = RATE,
        uplink: float = UPLINK,
    ) -> None:
        """
        Let the two join, and learn of each other what there is to learn.

        @param folder: where state goes; it is made.
        @param total: bytes to send.
        """
        self.total = total
        self.world = World(str(folder), seed, latency=uplink)
        self.clock = self.world.clock
        self.world.network.set_link(self.world.relay_host, latency=0.0)
        self._line: dict[str, Any] = {"rate": rate, "queue": QUEUE}
        self.start_relay()
        self.here = self.world.node("portland", "198.51.100.1", behind=homes[0])
        self.there = self.world.node("seattle", "198.51.100.2", behind=homes[1])
        for node in (self.here, self.there):
            assert node.nat is not None
            self.world.network.set_link(node.nat, **self._line)
        self.world.join(self.here, self.there)
        self.world.until(
            lambda: self.here.is_linked(self.there) and self.there.is_linked(self.here), 20
        )
        self.world.advance(8)
        self.begun = self.clock.seconds()

    def start_relay(self) -> None:
        """
        Start the relay, without a limit to what it carries.
        """
        self.world.start_relay(rate=1e9)

    def send(self, lead: float = 1.0) -> None:
        """
        Begin the transfer, and let it run for a while.
        """
        self.receiver = _Timed(self.clock)
        self.there.service.links.services["test.sink"] = lambda link: self.receiver
        self.sender = Sender(self.total)
        link = self.here.link_to(self.there)
        assert link is not None
        self.sent_at = self.clock.seconds()
        link.open_stream("test.sink", self.sender)
        self.world.advance(lead)
        self.begun = self.clock.seconds()

    @property
    def paths(self) -> tuple[str | None, str | None]:
        """
        By what kind of path each of them sends.
        """
        return self.here.path_to(self.there), self.there.path_to(self.here)

    def is_over(self) -> bool:
        """
        Say whether both ends of the stream have ended.
        """
        return bool(self.receiver.reasons and self.sender.reasons)

    def finish(self, limit: float = 120.0) -> None:
        """
        Let time pass until the transfer is over.

        @raise TimeoutError: it is not, within the limit.
        """
        self.world.until(self.is_over, limit)

    @property
    def is_whole(self) -> bool:
        """
        Whether every byte came, once and in order, and both ends ended well.
        """
        reasons = [type(each) for each in (*self.sender.reasons, *self.receiver.reasons)]
        return (
            self.receiver.received == self.sender.sent == self.total
            and self.receiver.digest.digest() == self.sender.digest.digest()
            and reasons == [ConnectionDone, ConnectionDone]
        )

    def longest_gap(self) -> float:
        """
        Say for how long nothing came at the most, since the fault began.
        """
        times = [self.begun, *(each for each in self.receiver.times if each > self.begun)]
        return max((after - before for before, after in pairwise(times)), default=0.0)

    def gap_after(self, moment: float) -> float:
        """
        Say how long after a moment the next bytes came; none if all had come.
        """
        return next((each for each in self.receiver.times if each > moment), moment) - moment

    def close(self) -> None:
        """
        Stop all in good order, and remove nothing.
        """
        self.world.stop()
        self.world.release()

    # What may happen. Each lets it pass, and says how long nothing came beyond that.

    def reboot(self, node: SimulatedNode, address: str | None = None) -> float:
        """
        Switch a NAT off and on, and give it another public address.
        """
        assert node.nat is not None
        node.nat.reboot(address)
        self.finish()
        return self.longest_gap()

    def _carry(self, node: SimulatedNode, address: str) -> None:
        """
        Carry a machine into another network: behind another NAT, like that which it leaves.

        @param address: the public address there.
        """
        old = node.nat
        assert old is not None
        network, number = self.world.network, len(self.world.nodes) + 1
        nat = network.nat(
            f"other nat of {node.host.name}",
            address,
            old.behaviour,
            gateway=f"192.168.{number}.1",
        )
        network.set_link(nat, **self._line)
        network.move(node.host, f"192.168.{number}.2", on=nat.lan)
        node.nat = nat

    def roam(self, node: SimulatedNode, address: str) -> float:
        """
        Carry a machine into another network while it runs.

        @param address: the public address there.
        """
        self.world.advance(2.2)  # not when each looks at its interfaces anyhow
        self.begun = self.clock.seconds()
        self._carry(node, address)
        self.finish()
        return self.longest_gap()

    def _for_a_while(
        self, seconds: float, begin: Callable[[], object], end: Callable[[], object]
    ) -> float:
        """
        Do something, wait, and undo it.
        """
        begin()
        self.world.advance(seconds)
        end()
        moment = self.clock.seconds()
        self.finish()
        return self.gap_after(moment)

    def cut(self, node: SimulatedNode, seconds: float) -> float:
        """
        Cut an uplink for a while.
        """
        network = self.world.network
        return self._for_a_while(
            seconds, lambda: network.cut(node.host), lambda: network.heal(node.host)
        )

    def sleep(self, node: SimulatedNode, seconds: float) -> float:
        """
        Stop a node as SIGSTOP does, for a while.
        """
        return self._for_a_while(seconds, node.host.sleep, node.host.wake)

    def close_lid(self, node: SimulatedNode, seconds: float, elsewhere: str | None = None) -> float:
        """
        Close a laptop for a while: nothing reaches it, and its NAT forgets it.

        @param elsewhere: it is opened in another network, with that public address.
        """
        nat = node.nat
        assert nat is not None

        def open_lid() -> None:
            nat.reboot()
            if elsewhere is not None:
                self._carry(node, elsewhere)
            node.host.wake()

        return self._for_a_while(seconds, lambda: node.host.sleep(is_offline=True), open_lid)

    def block(self) -> float:
        """
        Let no UDP through between the two any more; the relay goes on.
        """
        self.world.network.cut(self.here.host, self.there.host, tcp=False)
        self.finish()
        return self.longest_gap()

    def kill_relay(self, seconds: float, *, is_silent: bool = False) -> float:
        """
        Kill the relay, and start it again after a while.

        @param is_silent: its machine goes as well, so that nobody is told.
        """

        def start() -> None:
            self.world.relay_host.restart()
            self.start_relay()

        return self._for_a_while(
            seconds, lambda: self.world.relay_host.kill(is_silent=is_silent), start
        )
