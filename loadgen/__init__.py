"""The load generator: many clients of a WebSocket server, and what they saw.

The road of a sample through here: a pacer says when it was due -> the client shell sends or receives -> the
recorder -> the interval log -> the report. It is a client: it imports nothing of `gateway` or `publisher`, and
meets them over sockets, or starts them as processes.
"""
