"""
Tests of C{atmosphere.cli}.
"""
