"""
Relays: the way to a peer that is always open.
"""
