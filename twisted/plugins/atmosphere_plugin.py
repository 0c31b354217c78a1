"""
Tell twistd about C{twistd atmosphere}; the work is in L{atmosphere.tap}.
"""

from twisted.application.service import ServiceMaker

atmosphere = ServiceMaker(
    "atmosphere",
    "atmosphere.tap",
    "A member of an encrypted peer-to-peer mesh, a relay, or both.",
    "atmosphere",
)
