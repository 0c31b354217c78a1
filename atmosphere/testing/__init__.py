"""
Simulated networks and clocks, for our tests and for those who embed atmosphere.
"""
