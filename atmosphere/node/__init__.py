"""
A running member of a mesh: its parts, its state on disk, its local API.
"""
