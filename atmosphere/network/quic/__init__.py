"""
Links: encrypted QUIC connections between two nodes.
"""
