"""
Tests that run several whole nodes and relays together.
"""
