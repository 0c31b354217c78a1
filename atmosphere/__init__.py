"""
Join machines on different networks into one encrypted mesh, whatever NATs stand between.

Every part is a Twisted service, protocol or endpoint. Importing this package
does nothing: no reactor is installed and no file is read. Import the room that
you need, for example C{atmosphere.network.stun} or C{atmosphere.node}.
"""

__all__ = ["__version__"]

__version__ = "0.1.0"
