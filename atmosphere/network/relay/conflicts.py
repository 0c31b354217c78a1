# -*- test-case-name: tests.network.relay.test_conflicts -*-
"""
Conflicts: two processes that use one node's key.

A node that connects anew replaces its older connection. When an I{instance}
that was replaced comes back, and that again and again, there are two of them:
then none is served until all but one have left.
"""

from __future__ import annotations

from collections import OrderedDict

from .limits import RelayLimits

__all__ = ["Conflicts"]

_KNOWN_NODES = 4_096
_KNOWN_INSTANCES = 8


class _History:
    """
    The latest replacements of one node.
    """

    __slots__ = ("replaced", "returns")

    def __init__(self) -> None:
        self.replaced: OrderedDict[bytes, float] = OrderedDict()
        self.returns: list[float] = []


class Conflicts:
    """
    Notices when two instances of a node take turns.
    """

    def __init__(self, limits: RelayLimits) -> None:
        self._limits = limits
        self._histories: OrderedDict[bytes, _History] = OrderedDict()

    def replace(self, node: bytes, older: bytes, newer: bytes, now: float) -> bool:
        """
        Note that one instance takes the place of another.

        @param node: the node ID's 32 bytes.
        @return: whether they have taken turns so often that both are to be parked.
        """
        if older == newer:
            return False
        history = self._histories.setdefault(node, _History())
        self._histories.move_to_end(node)
        if len(self._histories) > _KNOWN_NODES:
            self._histories.popitem(last=False)
        since = now - self._limits.alternation_window
        history.returns = [at for at in history.returns if at > since]
        if history.replaced.get(newer, since) > since:
            history.returns.append(now)
        history.replaced[older] = now
        history.replaced.move_to_end(older)
        if len(history.replaced) > _KNOWN_INSTANCES:
            history.replaced.popitem(last=False)
        return len(history.returns) >= self._limits.alternations

    def forget(self, node: bytes) -> None:
        """
        Begin anew with a node.
        """
        self._histories.pop(node, None)
