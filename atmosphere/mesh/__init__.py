"""
Who belongs to a mesh, and how one joins it.
"""
