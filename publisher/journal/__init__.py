"""The journal: nothing is published before it is kept, and what is kept is found again after any end.

The road appends entries to a `publisher.log.Journal`: `memory` (no `--data-dir`) or `disk`, whose loop side hands
them to the thread in `committer`, which commits groups through `store` (SQLite, off the loop) and says so.
`reader` reads ranges on the loop, `checkpointer` moves committed pages from the write-ahead log into the
database on a second thread, `recovery` finds at the start where to go on, `tidying` lets the old go, `ceiling`
is the file that tells a lost tail, `tool` is `execgate publisher inspect | verify | export`.
docs/adr/0011-journal.md says why it is so.
"""
