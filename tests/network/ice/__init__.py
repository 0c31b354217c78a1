"""
Tests of L{atmosphere.network.ice}.
"""
