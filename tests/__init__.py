"""
Tests of atmosphere.
"""
