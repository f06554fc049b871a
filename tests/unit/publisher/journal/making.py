"""Updates, entries and stores for the journal's tests."""

from collections.abc import Sequence
from pathlib import Path

from execgate.wire.update import Kind, Update, epoch_text
from publisher.journal.store import Store
from publisher.log import Entry, Retention

ENDLESS = Retention(max_updates=1_000_000, max_bytes=1 << 40, max_age_s=None, max_keys=1000)
BOOT = "this-boot"


def update(
    epoch: int, seq: int, tseq: int | None = None, topic: str = "ex.A.", key: str = "", text: str = ""
) -> Update:
    """An update with a payload that says which it is."""
    tseq = seq if tseq is None else tseq
    payload = (
        f'{{"request":{seq},"rows":1,"timestamp":{seq},"ts_us":{seq * 1000},"topic":"{topic}",'
        f'"epoch":"{epoch_text(epoch)}","seq":{seq},"tseq":{tseq},"execs":[{{"symbol":"A","text":"{text}"}}]}}'
    )
    return Update(Kind.DATA, topic.encode(), epoch, seq, tseq, seq * 1000, key.encode(), payload.encode())


def entry(updates: Sequence[Update], batch_id: bytes = b"") -> Entry:
    return Entry(updates, sum(len(one.payload) for one in updates), batch_id, lambda _entry: None)


def store(
    directory: Path,
    retention: Retention = ENDLESS,
    new_epoch: int = 7,
    synced: bool = False,
    boot: str = BOOT,
    lag: int = 20_000,
) -> Store:
    directory.mkdir(exist_ok=True)
    return Store(directory, retention, new_epoch, synced=synced, boot=boot, lag=lag)


def extend(one: Store, count: int, text: str = "") -> list[Update]:
    """Append `count` updates, one a group, behind what the store has."""
    begin = one._last + 1
    updates = [update(one.recovered.epoch, seq, text=text) for seq in range(begin, begin + count)]
    for each in updates:
        one.append([entry([each])])
    return updates
