"""
STUN (RFC 8489): how others see our transport addresses.
"""
