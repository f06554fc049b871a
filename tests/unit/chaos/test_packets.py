"""The line of packets: what becomes of each is the weather's, and the same from the same seed."""

from chaos.packets import Line, Weather

_COUNT = 2_000


def sent_through(weather: Weather, seed: int = 1) -> tuple[Line, list[int]]:
    """Send numbered packets, a millisecond apart; return the line, and what came up to a second later."""
    line = Line(seed)
    line.weather = weather
    come: list[int] = []
    for number in range(_COUNT):
        line.take(number / 1e3, 5, b"%d" % number)
        come += [int(packet) for _, packet in line.due(number / 1e3)]
    come += [int(packet) for _, packet in line.due(_COUNT / 1e3 + 1)]
    return line, come


def test_in_fair_weather_all_comes_at_once_and_in_order() -> None:
    line, come = sent_through(Weather())
    assert come == list(range(_COUNT))
    assert line.did == {"passed": _COUNT, "late": 0, "lost": 0, "doubled": 0, "cut": 0}
    assert line.wait_s(0.0) is None


def test_what_is_lost_doubled_late_and_overtaken_is_counted_and_the_seeds() -> None:
    weather = Weather(delay_ms=10.0, jitter_ms=5.0, loss=0.03, doubles=0.02)
    line, come = sent_through(weather)
    did = line.did
    assert 0 < did["lost"] < _COUNT * 0.06
    assert 0 < did["doubled"] < _COUNT * 0.04
    assert len(come) == did["passed"] == did["late"] == _COUNT - did["lost"] + did["doubled"]
    assert come != sorted(come)
    assert sent_through(weather)[1] == come != sent_through(weather, seed=2)[1]


def test_nothing_is_due_before_its_time_and_the_line_says_how_long_that_is() -> None:
    line = Line(1)
    line.weather = Weather(delay_ms=10.0)
    line.take(1.0, 5, b"packet")
    assert line.due(1.009) == []
    assert 0 < (line.wait_s(1.009) or 0) < 0.0011
    assert line.due(1.011) == [(5, b"packet")]


def test_nothing_passes_a_cut_and_what_was_under_way_does() -> None:
    line = Line(1)
    line.weather = Weather(delay_ms=10.0)
    line.take(1.0, 5, b"before")
    line.weather = Weather(is_cut=True)
    line.take(1.001, 5, b"after")
    assert line.due(2.0) == [(5, b"before")]
    assert line.did["cut"] == 1


def test_a_line_that_is_full_loses_what_comes() -> None:
    line = Line(1)
    line.weather = Weather(delay_ms=1e6)
    for _ in range(20_001):
        line.take(1.0, 5, b"")
    assert line.did["lost"] == 1
