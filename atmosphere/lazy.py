# -*- test-case-name: tests.test_lazy -*-
"""
Names that a package hands out without importing what stands behind them.

A face such as C{atmosphere.network} offers names from rooms above it. They
are looked up when they are asked for (PEP 562), so that importing the face
costs nothing and turns no ladder round.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from importlib import import_module
from typing import Any

__all__ = ["lazy_names"]


def lazy_names(
    package: str, homes: Mapping[str, Sequence[str]]
) -> tuple[Callable[[str], Any], Callable[[], list[str]]]:
    """
    Make the functions by which a package hands names out.

    Use it where type checkers do not look, and show them the real imports::

        if TYPE_CHECKING:
            from atmosphere.classic.stun import get_local_ip
        else:
            __getattr__, __dir__ = lazy_names(__name__, {"atmosphere.classic.stun": __all__})

    @param package: the package's own name, for what it says of names that it does not have.
    @param homes: names by the module that has them.
    @return: C{__getattr__} and C{__dir__} of the package.
    """
    home_of = {name: home for home, names in homes.items() for name in names}

    def get(name: str) -> Any:
        home = home_of.get(name)
        if home is None:
            raise AttributeError(f"module {package!r} has no attribute {name!r}")
        return getattr(import_module(home), name)

    def names() -> list[str]:
        return sorted(home_of)

    return get, names
