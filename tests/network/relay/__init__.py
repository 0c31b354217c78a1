"""
Tests of C{atmosphere.network.relay}.
"""
