"""
Relays: the way to a peer that is always open.

C{service} is a relay, C{client} keeps a node connected to one; what they say
to each other is in C{docs/protocols/relay.md}. The files C{server},
C{connection}, C{port}, C{service} and C{client}, C{dial}, C{endpoint}, and
C{streams} beneath both, know Twisted; all others are bytes and rules. This
face imports nothing, so that these can be used without loading those.
"""
