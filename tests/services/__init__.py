"""
Tests of C{atmosphere.services}.
"""
