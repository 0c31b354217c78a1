"""
Tests that run the programs of C{docs/examples}.
"""
