"""
Tests of C{atmosphere.testing}.
"""
