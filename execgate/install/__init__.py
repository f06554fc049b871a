"""`./run install`: puts a clone's programs, units and settings on this machine, and takes them off again.

`plan` decides, without I/O, what becomes of each file; `app` reads the command line, acts and says what it did;
`place` knows the file system, `environment` makes the virtual environment of one version. They run from a clone,
before anything is installed: by the standard library alone.
"""
