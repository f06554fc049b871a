"""The load generator: many clients of a WebSocket server, and what they saw.

The road of a sample through here: `execgate.measure.pacer` says when it was due -> `subscriber.py` or
`order_client.py` sends and receives through `client.py`'s interface (`raw_client.py` is its first
implementation) -> `core/recorder.py` -> `run_folder.py` or `line_log.py` -> `core/figures.py` or
`core/summary.py`, which make the report from the records alone. At a server that is not ours `foreign.py`
stands in the place of `subscriber.py`.

`crowd.py` holds the clients; `run.py` adds them as an open loop, by `pacing.py`, and judges itself by
`watching.py`, in this process or, by `processes.py`, in several, each of which is a `part.py`. `classic.py`
adds them as the programs of 2012 did; `app.py` is the command. It is a client: it imports nothing of `gateway`
or `publisher`, and meets them over sockets.
"""
