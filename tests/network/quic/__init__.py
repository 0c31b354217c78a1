"""
Tests of C{atmosphere.network.quic}.
"""
