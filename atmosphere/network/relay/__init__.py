"""
Relays: the way to a peer that is always open.

L{service<.service>} is a relay, L{client<.client>} keeps a node connected to
one; what they say to each other is in C{docs/protocols/relay.md}. Each file
says in its first lines what it is for; those named C{server}, C{client},
C{service}, C{port}, C{connection}, C{dial} and C{endpoint} know Twisted, the
others are bytes and rules. This face imports nothing, so that the latter can be used
without loading the former.
"""
