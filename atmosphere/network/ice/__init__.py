"""
ICE as RFC 8445 has it, for peers that are not atmosphere: an agent for one
component of one stream, which interoperates with others' agents.
"""
