"""
Join codes and joining, by the names that they had in the original program.

They are looked up when they are asked for: importing this package loads
nothing. The conversation itself is in L{atmosphere.mesh.joiner} and
L{atmosphere.mesh.issuer}.
"""

from typing import TYPE_CHECKING

from atmosphere.lazy import lazy_names

__all__ = [
    "JoinCode",
    "MeshJoin",
    "generate_join_code",
    "generate_join_code_with_discovery",
]

if TYPE_CHECKING:
    from atmosphere.classic.join import (
        JoinCode,
        MeshJoin,
        generate_join_code,
        generate_join_code_with_discovery,
    )
else:
    __getattr__, __dir__ = lazy_names(__name__, {"atmosphere.classic.join": __all__})
