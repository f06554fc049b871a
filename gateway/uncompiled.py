"""Stands in for the `cython` module where Cython is not installed: what runs then is the Python source itself."""

compiled = False
