"""
What stands between a node and the world: its interfaces, and the candidates
that a peer may try (RFC 8445).
"""
