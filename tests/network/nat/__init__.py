"""
Tests of C{atmosphere.network.path}.
"""
