"""
Which way a datagram takes to a peer, and why.
"""
