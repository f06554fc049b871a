"""Bytes of the journal's files flipped or cut: never a wrong update, and the damage is named."""

import random
import shutil
import sqlite3
from pathlib import Path
from unittest.mock import ANY

import pytest

from execgate.wire.update import Update
from publisher.journal import tool
from publisher.journal.reader import Reader
from publisher.journal.schema import JournalError
from publisher.journal.store import Store
from tests.unit.publisher.journal.making import ENDLESS, extend, store

COUNT = 60


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, list[Update]]:
    """A journal that was ended cleanly, of some twenty pages."""
    directory = tmp_path_factory.mktemp("whole")
    one = store(directory, lag=20)
    updates = extend(one, COUNT, text="y" * 900)
    one.tidy(0, idle=True)
    one.settle()
    one.close()
    return directory, updates


def look(directory: Path, updates: list[Update]) -> str:
    """Open a damaged journal as a publisher would, read all of it; say what came of it.

    Whatever it is, no update may be other than it was, and no numbering may go on over a tail that is not there.
    """
    try:
        one = Store(directory, ENDLESS, 8, synced=False, boot="this-boot")
    except (JournalError, sqlite3.Error):
        return "refused"
    try:
        if one.recovered.epoch != 7:
            return "new epoch"
        assert one.recovered.last == COUNT, "an epoch goes on without its tail"
        reader = Reader(directory, 7, one.recovered.base)
        try:
            read = reader.read(1, COUNT, 1 << 30)
            assert read == updates[: len(read)], "a wrong update"
            return "whole" if len(read) == COUNT else "prefix"
        finally:
            reader.close()
    finally:
        one.close()


def verified(directory: Path) -> int:
    return tool.main(["verify", str(directory)])


def test_the_journal_is_whole_before(whole: tuple[Path, list[Update]], tmp_path: Path) -> None:
    shutil.copytree(whole[0], tmp_path / "image")
    assert look(tmp_path / "image", whole[1]) == "whole"
    assert verified(tmp_path / "image") == 0


@pytest.mark.parametrize("seed", range(4))
def test_a_flipped_byte_never_gives_a_wrong_update(
    whole: tuple[Path, list[Update]], tmp_path: Path, seed: int, capsys: pytest.CaptureFixture[str]
) -> None:
    """Each page's header, and places at random all over the file."""
    content = (whole[0] / "journal.db").read_bytes()
    chosen = random.Random(seed)
    places = [page + offset for page in range(0, len(content), 4096) for offset in (0, 3, 8, 12)][seed::4]
    places += [chosen.randrange(len(content)) for _ in range(60)]
    outcomes: dict[str, int] = {}
    for place in places:
        image = tmp_path / "image"
        shutil.rmtree(image, ignore_errors=True)
        shutil.copytree(whole[0], image)
        with (image / "journal.db").open("r+b") as file:
            file.seek(place)
            file.write(bytes([content[place] ^ (1 << chosen.randrange(8))]))
        outcome = look(image, whole[1])
        outcomes[outcome] = outcomes.get(outcome, 0) + 1
        if outcome == "prefix":
            capsys.readouterr()
            assert verified(image) == 1
            assert any(word in "".join(capsys.readouterr()) for word in ("seq ", "damaged", "journal.db")), place
    assert outcomes.get("prefix"), outcomes  # the fault struck


def test_control_without_checksums_a_flipped_byte_gives_a_wrong_update(
    whole: tuple[Path, list[Update]],
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("publisher.journal.recovery.row_crc", lambda *_: ANY)
    with pytest.raises(AssertionError, match="a wrong update"):
        test_a_flipped_byte_never_gives_a_wrong_update(whole, tmp_path, 0, capsys)


def test_a_file_cut_anywhere_is_never_taken_for_the_whole(
    whole: tuple[Path, list[Update]], tmp_path: Path
) -> None:
    content = (whole[0] / "journal.db").read_bytes()
    for cut in [*range(0, len(content), 2048), *range(1, len(content), 9001)]:
        image = tmp_path / "image"
        shutil.rmtree(image, ignore_errors=True)
        shutil.copytree(whole[0], image)
        (image / "journal.db").write_bytes(content[:cut])
        assert look(image, whole[1]) != "whole", cut
        shutil.rmtree(image)
        shutil.copytree(whole[0], image)
        (image / "journal.db").write_bytes(content[:cut])
        try:
            assert verified(image) == 1, cut
        except SystemExit:
            raise AssertionError(cut) from None


def test_the_good_prefix_of_a_damaged_journal_is_exported(
    whole: tuple[Path, list[Update]], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    shutil.copytree(whole[0], tmp_path / "image")
    other = sqlite3.connect(tmp_path / "image" / "journal.db")
    other.execute("UPDATE updates SET payload = replace(payload, 'yyy', 'yyz') WHERE id = 41")
    other.commit()
    other.close()
    assert tool.main(["export", str(tmp_path / "image")]) == 1
    said = capsys.readouterr()
    assert len(said.out.splitlines()) == 40
    assert "seq 41: its checksum is wrong; exported up to there" in said.err
    assert verified(tmp_path / "image") == 1
    assert "seq 41: its checksum is wrong" in capsys.readouterr().out
