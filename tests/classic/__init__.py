"""
Tests for the names of the program that atmosphere succeeds.
"""
