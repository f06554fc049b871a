"""A daemon's settings: a file below environment and flags, what is said of a wrong one, and reading it again."""

import asyncio
import dataclasses
import os
import re
import signal
import socket
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from execgate.service.options import one_of, option, positive_number, whole_number
from execgate.service.settings import MAX_FILE_BYTES, Reloader, Settings, merge, to_toml
from execgate.wire.errors import UsageError
from gateway.config import GatewayConfig
from publisher.config import PublisherConfig


@dataclasses.dataclass(frozen=True, slots=True)
class Config:
    max_rows: int = option(2, "rows", parse=whole_number(1, 100), aliases=("ROWS",), reloadable=True)
    rate: float | None = option(None, "updates a second", parse=positive_number, reloadable=True)
    volatile: bool = option(False, "drop what does not fit")
    feed: tuple[str, ...] = option(("a",), "where updates come from", repeatable=True)
    name: str = option("x", "what it is called")
    for_: float | None = option(None, "seconds to run", parse=positive_number)
    mode: str = option("all", "how", parse=one_of("all", "some"), reloadable=True)

    def __post_init__(self) -> None:
        if self.rate is not None and self.rate > 1000 and self.mode == "some":
            raise ValueError("--rate over 1000 and --mode some: expected one of them")


def settings(*arguments: str, config_class: type[Any] = Config, **environment: str) -> Settings[Any]:
    return Settings(
        config_class, "execgate test", arguments, environment, description="Tests it.", examples="  none"
    )


def loaded(tmp_path: Path, text: str, *arguments: str, **environment: str) -> Any:
    path = tmp_path / "test.toml"
    path.write_text(text)
    arguments = ("--config", str(path), *arguments)
    return Settings(Config, "execgate test", arguments, environment, description="", examples="").read()


def test_without_a_file_all_is_as_ever() -> None:
    assert settings().read() == Config()
    assert settings("--rate", "5", ROWS="3").read() == Config(rate=5, max_rows=3)


def test_a_file_says_each_kind_of_value(tmp_path: Path) -> None:
    text = 'max_rows = 7\nrate = 0.5\nvolatile = true\nfeed = ["b", "c d"]\nname = "y"\nfor = 9\nmode = "some"'
    assert loaded(tmp_path, text) == Config(7, 0.5, True, ("b", "c d"), "y", 9.0, "some")
    assert loaded(tmp_path, "# nothing") == Config()
    assert loaded(tmp_path, "feed = []\nvolatile = false") == Config(feed=())


def test_flags_win_over_the_environment_over_the_file_over_defaults(tmp_path: Path) -> None:
    file = "max_rows = 3\nvolatile = true"
    assert loaded(tmp_path, file).max_rows == 3
    assert loaded(tmp_path, file, ROWS="4").max_rows == 4
    assert loaded(tmp_path, file, ROWS="4", EXECGATE_MAX_ROWS="5").max_rows == 5
    assert loaded(tmp_path, file, "--max-rows", "6", EXECGATE_MAX_ROWS="5").max_rows == 6
    assert loaded(tmp_path, file, "--no-volatile").volatile is False


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("max_row = 3", "FILE: max_row: no such setting; did you mean max_rows?"),
        ("max-rows = 3", "FILE: max-rows: no such setting; did you mean max_rows?"),
        ("MAX_ROWS = 3", "FILE: MAX_ROWS: no such setting; did you mean max_rows?"),
        ("for_ = 3", "FILE: for_: no such setting; did you mean for?"),
        ("colour = 3", "FILE: colour: no such setting"),
        ("[test]\nmax_rows = 3", "FILE: test: no such setting"),
        ("[max_rows]\nx = 3", "FILE: max_rows = {'x': 3}: expected a number or a text"),
        ("max_rows = 0", "FILE: max_rows '0': expected a whole number from 1 to 100"),
        ("max_rows = 2.5", "FILE: max_rows '2.5': expected a whole number from 1 to 100"),
        ("max_rows = true", "FILE: max_rows = True: expected a number or a text"),
        ("rate = inf", "FILE: rate 'inf': expected a number over 0"),
        ("rate = 1979-05-27", "FILE: rate = datetime.date(1979, 5, 27): expected a number or a text"),
        ('volatile = "true"', "FILE: volatile = 'true': expected true or false"),
        ("volatile = 1", "FILE: volatile = 1: expected true or false"),
        ('feed = "a"', "FILE: feed = 'a': expected a list of texts"),
        ("feed = [1]", "FILE: feed = [1]: expected a list of texts"),
        ('mode = "none"', "FILE: mode 'none': expected one of all, some"),
        ("rate = 1001\nmode = 'some'", "--rate over 1000 and --mode some: expected one of them"),
        ("rate = ", "FILE: no TOML: "),
        ("rate = 1\nrate = 2", "FILE: no TOML: Cannot overwrite a value"),
    ],
)
def test_what_is_wrong_in_a_file_is_named_with_what_was_expected(tmp_path: Path, text: str, reason: str) -> None:
    with pytest.raises(UsageError) as caught:
        loaded(tmp_path, text)
    said = str(caught.value)
    assert said.startswith(reason.replace("FILE", str(tmp_path / "test.toml")))
    assert "\n" not in said
    if reason.endswith("setting"):
        assert said.endswith("setting")  # nothing is like it


def test_a_file_that_cannot_be_read_is_named(tmp_path: Path) -> None:
    for content, reason in (
        (b"\xff", "byte 0 is no UTF-8"),
        (b"#" * (MAX_FILE_BYTES + 1), "larger than 1024 KiB"),
    ):
        path = tmp_path / "bad.toml"
        path.write_bytes(content)
        with pytest.raises(UsageError, match=rf"--config {re.escape(str(path))}: {reason}"):
            settings("--config", str(path)).read()
    for name, reason in (("/no/such", "No such file"), (str(tmp_path), "Is a directory"), ("a\0b", "null")):
        with pytest.raises(UsageError, match=reason):
            settings("--config", name).read()


def test_a_flag_that_is_none_is_an_error_with_a_suggestion(capsys: pytest.CaptureFixture[str]) -> None:
    for arguments, suggestion in ((("--max-row=3",), "; did you mean --max-rows?"), (("--colour", "3"), ".")):
        with pytest.raises(SystemExit) as caught:
            settings(*arguments)
        assert caught.value.code == 2
        said = capsys.readouterr().err
        assert said.startswith(f"execgate test: unrecognized arguments: {' '.join(arguments)}{suggestion} See ")
        assert said.count("\n") == 1


def looked(_: Any) -> None:
    """Finds nothing wrong."""


def test_show_config_prints_each_value_and_where_it_comes_from(tmp_path: Path) -> None:
    path = tmp_path / "test.toml"
    path.write_text("rate = 2.50\nmax_rows = 9")
    asked = settings("--show-config", "--config", str(path), "--feed", 'b"\\', ROWS="4", EXECGATE_VOLATILE="yes")
    answer = asked.answer(asked.read(), looked)
    assert answer is not None
    assert [re.split(r" +# ", line) for line in answer.splitlines()] == [
        ["max_rows = 4", "ROWS"],
        ["rate = 2.5", str(path)],
        ["volatile = true", "EXECGATE_VOLATILE"],
        [r'feed = ["b\"\\"]', "--feed"],
        ['name = "x"', "default"],
        ["# for =", "default"],
        ['mode = "all"', "default"],
    ]


def test_check_looks_at_what_the_settings_name(tmp_path: Path) -> None:
    def refuse(config: Any) -> None:
        raise UsageError(f"{config.name}: no such key")

    asked = settings("--check", "--name", "y", "--mode", "some")
    assert asked.answer(asked.read(), looked) == "execgate test: the settings are good, 2 of 7 are not the default"
    with pytest.raises(UsageError, match="y: no such key"):
        asked.answer(asked.read(), refuse)
    assert settings().answer(Config(), refuse) is None


@given(
    st.builds(
        Config,
        max_rows=st.integers(1, 100),
        rate=st.none() | st.floats(min_value=0, exclude_min=True, allow_infinity=False),
        volatile=st.booleans(),
        feed=st.lists(st.text(st.characters(codec="utf-8"))).map(tuple),
        name=st.text(st.characters(codec="utf-8")),
    )
)
def test_what_is_shown_is_a_file_that_says_the_same(
    tmp_path_factory: pytest.TempPathFactory, config: Config
) -> None:
    path = tmp_path_factory.getbasetemp() / "shown.toml"
    path.write_text(to_toml(config))
    assert settings("--config", str(path)).read() == config


@pytest.mark.parametrize(
    ("config_class", "arguments"),
    [
        (
            GatewayConfig,
            ["--trusted-proxies", "10.0.0.0/8,127.0.0.1", "--allowed-origin", "http://a", "--ping-s", "2.5"],
        ),
        (GatewayConfig, ["--listen", "[::1]:0", "--replay", "none", "--csv"]),
        (
            PublisherConfig,
            ["--retain-age", "36h", "--interval-ms", "10:99.5", "--source", "-", "--source", "ingest"],
        ),
        (PublisherConfig, []),
    ],
)
def test_real_settings_survive_being_shown(tmp_path: Path, config_class: type[Any], arguments: list[str]) -> None:
    config = settings(*arguments, config_class=config_class).read()
    path = tmp_path / "shown.toml"
    path.write_text(to_toml(config))
    assert settings("--config", str(path), config_class=config_class).read() == config


def test_a_reload_takes_what_is_marked_and_names_the_rest() -> None:
    old, new = Config(name="x", rate=5), Config(max_rows=3, name="y", feed=("b", "c"))
    merged, changed, refused = merge(old, new)
    assert merged == Config(max_rows=3, name="x", rate=None)
    assert changed == ["--max-rows '2' -> '3'", "--rate '5' -> none"]
    assert refused == ["--feed 'a' -> 'b c'", "--name 'x' -> 'y'"]
    assert merge(old, old) == (old, [], [])


class Daemon:
    """One that reads its settings from a file, on SIGHUP to this process too; `told` is what systemd heard."""

    def __init__(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self.path = tmp_path / "daemon.toml"
        self.path.write_text("max_rows = 1")
        self.systemd = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self.systemd.bind(str(tmp_path / "notify"))
        self.systemd.settimeout(5)
        monkeypatch.setenv("NOTIFY_SOCKET", str(tmp_path / "notify"))
        found = settings("--config", str(self.path))
        self.applied: list[Config] = []
        self.is_serving = True
        self.reloader = Reloader(found, found.read(), self._apply, lambda: self.is_serving)

    def _apply(self, config: Config) -> None:
        if config.max_rows == 99:
            raise UsageError("99 can't be had")
        self.applied.append(config)

    def told(self) -> list[str]:
        """The words of the next two datagrams; times are taken out."""
        return [re.sub(r"\d{6,}", "N", self.systemd.recv(1000).decode()) for _ in range(2)]


@pytest.fixture
def daemon(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    made = Daemon(tmp_path, monkeypatch)
    yield made
    made.systemd.close()


def test_sighup_puts_the_file_as_it_is_now_to_work_and_systemd_is_told(
    daemon: Daemon, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO")

    async def play() -> None:
        daemon.reloader.start()
        daemon.path.write_text('max_rows = 3\nname = "y"')
        os.kill(os.getpid(), signal.SIGHUP)
        while not daemon.applied:
            await asyncio.sleep(0.01)

    asyncio.run(asyncio.wait_for(play(), 10))
    assert daemon.applied == [Config(max_rows=3)]
    assert daemon.reloader.config == Config(max_rows=3)
    assert daemon.told() == ["RELOADING=1\nMONOTONIC_USEC=N", "READY=1"]
    assert caplog.messages == [
        "not changed by a reload, only by a restart: --name 'x' -> 'y'",
        "settings reloaded changed=[--max-rows '1' -> '3']",
    ]


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("max_rows = 0", "expected a whole number"),
        ("max_rows =", "no TOML"),
        ("max_rows = 99", "99 can't be had"),
        ("rate = 1001\nmode = 'some'", "expected one of them"),
        (None, "No such file"),
    ],
)
def test_a_reload_that_fails_leaves_everything_as_it_is_and_says_why(
    daemon: Daemon, caplog: pytest.LogCaptureFixture, text: str | None, reason: str
) -> None:
    daemon.path.unlink() if text is None else daemon.path.write_text(text)
    daemon.reloader.reload()
    assert daemon.applied == []
    assert daemon.reloader.config == Config(max_rows=1)
    assert "settings not reloaded, the old ones stay reason=" in caplog.text
    assert reason in caplog.text
    began, ended = daemon.told()
    assert began.startswith("RELOADING=1\n")
    assert ended.startswith("READY=1\nSTATUS=settings not reloaded: ")  # systemd waits for READY in any case


def test_a_daemon_that_is_not_ready_yet_does_not_say_that_it_is(daemon: Daemon) -> None:
    daemon.is_serving = False
    daemon.path.write_text("max_rows = 5")
    daemon.reloader.reload()
    assert daemon.reloader.config == Config(max_rows=5)
    daemon.systemd.setblocking(False)
    with pytest.raises(BlockingIOError):
        daemon.systemd.recv(100)
