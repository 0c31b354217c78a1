"""
Who belongs to a mesh, and how one joins it.

The names of the program that atmosphere succeeds are handed out here. They
are looked up when they are asked for: importing this package loads nothing.
"""

from typing import TYPE_CHECKING

from atmosphere.lazy import lazy_names

__all__ = ["MeshIdentity", "Node", "NodeIdentity"]

if TYPE_CHECKING:
    from atmosphere.classic.mesh import MeshIdentity, Node, NodeIdentity
else:
    __getattr__, __dir__ = lazy_names(__name__, {"atmosphere.classic.mesh": __all__})
