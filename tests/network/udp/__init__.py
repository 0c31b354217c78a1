"""
Tests of C{atmosphere.network.udp}.
"""
