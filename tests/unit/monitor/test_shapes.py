"""shapes: what texts of several jobs have in common."""

from __future__ import annotations

import pytest

from queuectl.monitor.shapes import GAP, command_shape, program_of, shape_of, usual


@pytest.mark.parametrize(
    ("text", "shape"),
    [
        ("cannot open /srv/a/b.txt: no such file", f"cannot open {GAP}: no such file"),
        ("C:\\Users\\x\\f.txt is missing", f"{GAP} is missing"),
        ("ValueError: row 17 of 300 in data/anna.csv", f"ValueError: row {GAP} of {GAP} in {GAP}"),
        ("https://example.com/a?x=1 refused", f"{GAP} refused"),
        ("job 20261124-031500-120345-7f3k failed", f"job {GAP} failed"),
        ("object at 0x7f3aef of 550e8400-e29b-41d4-a716-446655440000", f"object at {GAP} of {GAP}"),
        ("I/O error and/or requests.exceptions.ReadTimeout", "I/O error and/or requests.exceptions.ReadTimeout"),
        ("photo-0001.jpg: bad header", f"photo-{GAP}.jpg: bad header"),
        ("", ""),
    ],
)
def test_what_differs_from_job_to_job_is_a_gap(text: str, shape: str) -> None:
    """Numbers, paths, addresses and ids differ; words do not, nor what only looks like a path."""
    assert shape_of(text) == shape


def test_a_command_keeps_its_program() -> None:
    """Two scripts of one interpreter are two programs; the arguments are compared by shape."""
    assert command_shape("python3 /srv/a.py --page 7 x") == command_shape("python3 /srv/a.py --page 12 x")
    assert command_shape("python3 /srv/a.py 7") != command_shape("python3 /srv/b.py 7")
    assert program_of("/usr/bin/python3.11 /srv/a.py 7") == "/usr/bin/python3.11 /srv/a.py"
    assert program_of("convert 1.jpg 2.png") == "convert"


def test_usual_duration_is_one_that_was_measured() -> None:
    """The median, not thrown off by one run that hung."""
    assert usual([("a", 1.0), ("a", 900.0), ("b", 5.0), ("a", 2.0), ("b", 7.0)]) == {"a": 2.0, "b": 5.0}


@pytest.mark.parametrize("unit", ["a", "a.", "ab-", "a/", "abcd-", "1.", "a~/", "0x", "/"])
def test_a_hostile_text_takes_bounded_work(unit: str) -> None:
    """A megabyte of anything is cut before it is compared."""
    assert len(shape_of(unit * (2**20 // len(unit)))) <= 200
