"""PURE: decisions of the publisher without I/O or clock: rows, lines, recorded pace, stamping."""
