"""The publisher: stamps execution updates and pushes them over ZeroMQ to any number of gateways.

The road of an exec through here: `sources` (a checked batch of rows) -> `road` -> `core.sequencer` (stamped and
serialised once) -> `journal` (kept) -> `feed` (four frames over PUB). `replay` hands out what is kept to whoever
missed it. It never knows what a gateway or a subscriber is. `app` puts the parts together; `refusals` counts and
logs what was not taken.
"""
