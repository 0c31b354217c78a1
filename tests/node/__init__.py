"""
Tests of C{atmosphere.node}.
"""
