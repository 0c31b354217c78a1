"""
Tests of C{atmosphere.mesh}.
"""
