"""The gateway: fans updates out to WebSocket subscribers and answers their orders.

The road of an exec: `feed` drains ZeroMQ -> `core.hub` (sequence, topics, one prepared frame) -> each
subscriber's `outbound` queue -> after the drain one write a subscriber. The road of an order: `connection` reads
-> the frame parser -> `core.session` (returns actions) -> `orders` -> `outbound`. Exactly one file touches a
socket's write side: `outbound`.
"""
