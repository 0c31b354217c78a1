"""
How two nodes reach each other.
"""
