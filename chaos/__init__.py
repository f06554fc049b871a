"""`./run chaos`: everything under load while a scripted adversary breaks it, and an audit at the end.

    plan (PURE: a seed gives a list of faults) -> faults -> daemons, relay, crowd, disk
    producer -> publisher -> relay -> gateways -> crowd (a process of its own) -> records -> `execgate audit`

A package of its own beside `benchmarks/`, not in the distribution: whoever has a clone can run it for as long as
they like, the suite runs it for a minute, and no program imports it. Each module has one of the parts above;
`__main__` puts them together.
"""
