"""PURE: decisions of a gateway without I/O or clock: sessions, topics, orders, limits."""
