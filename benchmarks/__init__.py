"""Side-by-side measurements: the gateway and what people would pick instead, on the same work, on this machine.

`python -m benchmarks` lists the cases (`./run bench` sets everything up first). A case runs each server pinned to
one core, with the measuring client and the source of updates on the other, in interleaved rounds; it prints the
median and the ratio to a reference, with the machine and the versions. Nothing here is imported by the product.
"""
