"""
Tests of C{atmosphere.network.stun}.
"""
