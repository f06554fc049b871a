"""Every clear error of the gateway's command line: one line that names the flag, exit 2, no traceback."""

import re

from tests.commands import run_each
from tests.harness import Process

WRONG: list[tuple[tuple[str, ...], str]] = [
    (("--listen", "8124"), "HOST:PORT"),
    (("--listen", "127.0.0.1"), "HOST:PORT"),
    (("--listen", "127.0.0.1:http"), "HOST:PORT"),
    (("--listen", "127.0.0.1:65536"), "0 to 65535"),
    (("--listen", "127.0.0.1:-1"), "0 to 65535"),
    (("--listen", "::1:8124"), "brackets"),
    (("--listen", ""), "HOST:PORT"),
    (("--listen", "0.0.0.0:0"), "--insecure-listen"),
    (("--listen", "[::]:0"), "--insecure-listen"),
    (("--listen", "192.0.2.1:0"), "--insecure-listen"),
    (("--listen", "192.0.2.1:0", "--insecure-listen"), "192.0.2.1:0"),  # TEST-NET-1: nobody has it
    (("--listen", "no such host:0", "--insecure-listen"), "no such host:0"),
    (("--stats-listen", "0.0.0.0:0"), "--insecure-listen"),
    (("--feed", "127.0.0.1:5550"), "tcp://HOST:PORT or ipc://PATH"),
    (("--feed", "http://127.0.0.1:5550"), "tcp://HOST:PORT or ipc://PATH"),
    (("--feed", "ipc://"), "tcp://HOST:PORT or ipc://PATH"),
    (("--feed", "tcp://127.0.0.1"), "HOST:PORT"),
    (("--feed", "tcp://127.0.0.1:99999"), "0 to 65535"),
    (("--feed", "tcp://*:5550"), "--insecure-feed"),
    (("--feed", "tcp://192.0.2.1:5550"), "--insecure-feed"),
    (("--feed", "tcp://example.com:5550"), "--insecure-feed"),
    (
        ("--feed", "ipc:///tmp/" + "x" * 200, "--replay", "none", "--listen", "127.0.0.1:0"),
        "--feed",
    ),  # bound by then
    (("--feed", "ipc:///tmp/" + "x" * 100), "--replay"),  # made from it
    (("--workers", "0"), "whole number from 1 to 256"),
    (("--workers", "1.5"), "whole number from 1 to 256"),
    (("--workers", "257"), "whole number from 1 to 256"),
    (("--max-connections", "0"), "whole number from 1"),
    (("--max-message-kib", "many"), "whole number from 1 to 16384"),
    (("--max-depth", "1"), "whole number from 2 to 500"),
    (("--messages-per-s", "-1"), "from 0"),
    (("--heartbeat-s", "0"), "number over 0"),
    (("--heartbeat-s", "nan"), "number over 0"),
    (("--drain-s", "inf"), "number over 0"),
    (("--ping-s", "45"), "--idle-s"),
    (("--log-level", "loud"), "debug, info, warning, error"),
    (("--no-such-flag",), "--no-such-flag"),
    (("--liste", "127.0.0.1:0"), "--liste"),  # no abbreviations: they would break when a flag is added
    (("--listen",), "--listen"),
    (("stray",), "stray"),
]
ENVIRONMENT: list[tuple[dict[str, str], str]] = [
    ({"EXECGATE_WORKERS": "none"}, "EXECGATE_WORKERS"),
    ({"MAX_THREADS": "-1"}, "MAX_THREADS"),
    ({"EMIT_VOLATILE": "perhaps"}, "EMIT_VOLATILE"),
    ({"OUTLIER_SIZE": "x"}, "OUTLIER_SIZE"),
    ({"EXECGATE_LISTEN": "x"}, "EXECGATE_LISTEN"),
]


def test_what_is_wrong_is_one_line_that_names_it_and_says_what_was_expected_and_exit_2() -> None:
    """Flags by their names, values of the environment by their variables."""
    wrong: list[tuple[tuple[str, ...], dict[str, str], str]]
    wrong = [(("gateway", *flags), {}, expected) for flags, expected in WRONG]
    wrong += [(("gateway",), environment, name) for environment, name in ENVIRONMENT]
    commands = [(words, environment) for words, environment, _ in wrong]
    for case, ended in zip(wrong, run_each(commands, imports=["gateway.app"]), strict=True):
        assert (ended.status, ended.stdout) == (2, []), (case, ended)
        (line,) = ended.stderr
        assert line.startswith("execgate gateway: "), case
        assert case[2] in line, case


def test_help_lists_every_flag_on_standard_output() -> None:
    process = Process("gateway", "--help")
    try:
        assert process.wait() == 0
        text = "\n".join(process.stdout)
        for flag in ("--listen", "--feed", "--workers", "--share-port", "--explicit-subscribe", "--csv"):
            assert re.search(rf"^\s+{flag}\b", text, re.MULTILINE), flag
        assert not process.stderr
    finally:
        process.close()


def test_no_publisher_is_no_error_it_waits_and_says_so() -> None:
    process = Process("gateway", "--listen", "127.0.0.1:0", "--feed", "tcp://127.0.0.1:9")
    try:
        process.wait_for("waiting for the feed")
        assert process.stop() == 0
        assert not process.stdout
    finally:
        process.close()
