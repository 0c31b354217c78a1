"""
Tests of C{atmosphere.network}.
"""
