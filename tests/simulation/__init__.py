"""The deterministic simulation: publisher, gateways and clients on virtual time, from a seed (ADR 13).

    plan       what happens when, from the seed alone; a failing one is made short
    world      plays a plan, and holds what must be true at its end
    nodes      publishers and gateways: the real modules, put together as `app` and `worker` do
    client     a subscriber that resumes; `oracle` judges every event that it gets
    bookkeeping    what it writes down of them, and `execgate audit`'s books judge at the end
    clock, zeromq, tcp, disk    what is not real: time and loops, ZeroMQ, sockets, the disk
    mutations  defects that are planted, each of which must be found

`python -m tests.simulation --seed N` plays one history and says what was found.
"""
