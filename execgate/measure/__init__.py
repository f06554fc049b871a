"""PURE: measuring without I/O or clock: when something is due, how long it took, what an interval adds up to.

The publisher paces its sources, the load generator its orders, and both sides sum up as in 2012 with the same
few classes. Whoever calls passes times in; nothing here reads a clock.
"""
