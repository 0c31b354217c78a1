"""
The names of the program that atmosphere succeeds, as thin faces over ours.

Programs find them where they always were: in L{atmosphere.network} and
L{atmosphere.mesh}. What the original returned as a coroutine is a Deferred
here: C{await} it in Twisted's coroutines, or in asyncio's by C{asFuture}.
"""
