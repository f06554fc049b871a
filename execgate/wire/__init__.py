"""PURE: what crosses a process boundary, as values and decisions without I/O, clock or threads.

An exec's road touches `update` (the four ZeroMQ frames), `tracking` (is it the next one?), `events` (the JSON
envelopes) and `frame_builder`; `replay` is how a gateway asks for what it missed. An order's road touches
`frame_parser` and `events`. `topics` names streams, `close_codes` and `errors` say how things end.
"""
