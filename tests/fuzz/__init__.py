"""
What strangers may send to each decoder, and what the decoder may do about it: see
L{tests.fuzz.targets}. C{python -m tests.fuzz} searches for inputs that break it.
"""
