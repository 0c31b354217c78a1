# -*- test-case-name: tests.network.relay.test_parking -*-
"""
The register: which line serves each node, and whose lines serve nobody because
their key was copied (C{docs/protocols/relay.md}, section 5).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from .conflicts import Conflicts
from .limits import RelayLimits
from .line import Line

__all__ = ["Change", "Register"]


@dataclass(frozen=True, slots=True)
class Change:
    """
    What follows from a new line of a node.

    @ivar replaced: lines that it takes the place of.
    @ivar parked: lines that serve nobody from now on.
    @ivar is_full: it is one too many, and was not entered.
    """

    replaced: Sequence[Line] = ()
    parked: Sequence[Line] = ()
    is_full: bool = False


class Register:
    """
    The lines of all nodes that were let in.

    @ivar serving: the line of each node that is served, by the 32 bytes of its ID.
    """

    def __init__(self, limits: RelayLimits) -> None:
        self.serving: dict[bytes, Line] = {}
        self._limits = limits
        self._parked: dict[bytes, list[Line]] = {}
        self._conflicts = Conflicts(limits)

    def lines_of(self, node: bytes) -> list[Line]:
        """
        List all lines of a node, those that are parked first.
        """
        served = self.serving.get(node)
        return [*self._parked.get(node, ()), *([] if served is None else [served])]

    def add(self, line: Line, now: float) -> Change:
        """
        Enter a line: the newest of a node counts, unless two take turns.

        @return: what is to be done; replaced lines are out of the register already.
        """
        assert line.node is not None
        node = line.node.raw
        group = self._parked.get(node)
        if group is not None:
            replaced = [each for each in group if each.instance == line.instance]
            if not replaced and len(group) >= self._limits.parked:
                return Change(is_full=True)
            group[:] = [each for each in group if each not in replaced] + [line]
            return Change(replaced, [line])
        older = self.serving.pop(node, None)
        if older is None:
            self.serving[node] = line
            return Change()
        if self._conflicts.replace(node, older.instance, line.instance, now):
            self._parked[node] = [older, line]
            return Change(parked=[older, line])
        self.serving[node] = line
        return Change([older])

    def remove(self, line: Line) -> Line | None:
        """
        Take a line out, if it is in.

        @return: the last of those that were parked, which is served from now on.
        """
        if line.node is None:
            return None
        node = line.node.raw
        if self.serving.get(node) is line:
            del self.serving[node]
        group = self._parked.get(node, [])
        if line not in group:
            return None
        group.remove(line)
        if len(group) > 1:
            return None
        del self._parked[node]
        self._conflicts.forget(node)
        (last,) = group  # there are never fewer than two that are parked
        self.serving[node] = last
        return last
