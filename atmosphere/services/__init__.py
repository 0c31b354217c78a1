"""
What travels over links.
"""
