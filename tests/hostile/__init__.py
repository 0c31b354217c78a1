"""
Strangers that flood and lie: small and with a seed in every run, and as commands
(C{python -m tests.hostile.datagrams} and its neighbours) for the figures in
C{docs/SECURITY.md}. Everything is on loopback.
"""
