"""
The names of the program that atmosphere succeeds, as thin faces over ours.

Programs find them where they always were: in L{atmosphere.network} and
L{atmosphere.mesh}. What the original returned as a coroutine is a Deferred
here: C{await} it in Twisted's coroutines, or in asyncio's by C{asFuture}.

All of them take one keyword more, C{world}: the reactor, clocks and randomness
to use instead of the real ones; see L{atmosphere.classic.world}.
"""
