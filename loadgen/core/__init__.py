"""PURE: decisions of the load generator without I/O or clock: stream checks, order books, the recorder."""
