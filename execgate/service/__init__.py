"""What a daemon needs of the operating system: settings, logs, signals, systemd, sockets, vitals.

The publisher, the gateway and the load generator call it from their shells; their cores never do.
"""
