"""
Tests for atmosphere.lab; those that need root and a kernel with NAT skip without.
"""
