"""names: ids and the names of job files."""

from __future__ import annotations

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from queuectl.model import names
from tests.helpers import NOON_AT


@pytest.mark.parametrize("job_id", ["a", "job1", "A.b_c-d", "2026-report", "x" * 100, "console", "com10", "a..b"])
def test_good_ids_are_accepted(job_id: str) -> None:
    """Letters, digits, dot, underscore and dash, up to the limit."""
    assert names.why_bad_id(job_id) == ""


@pytest.mark.parametrize(
    "job_id",
    [
        "",
        "x" * 101,
        "-a",
        ".a",
        "_a",
        "a b",
        "a/b",
        "a\\b",
        "../x",
        "a,due=1",
        "é",
        "a\n",
        "a\0",
        "a.",
        "con",
        "NUL.txt",
        "Com1",
        "lpt9.a.b",
        "aux",
    ],
)
def test_bad_ids_are_refused_with_a_reason(job_id: str) -> None:
    """What cannot be a file's name on every system, or leads out of the folder, is no id (P10)."""
    assert names.why_bad_id(job_id)


@pytest.mark.parametrize(
    "job_id", ["a.tmp", "b.TMP9", "c.rclone", "d.sync-conflict-20270115-080000", "e_conflict-20270115-080000"]
)
def test_id_whose_file_would_be_taken_for_unfinished_is_refused(job_id: str) -> None:
    """A job must not get a name that every listing passes over: it would be accepted and never run (P1)."""
    assert names.is_temporary(f"{job_id}.json")
    assert names.why_bad_id(job_id)


@pytest.mark.parametrize(
    ("stem", "job_id"),
    [
        ("report", "report"),
        ("my report (2)", "my-report-2"),
        ("..hidden", "hidden"),
        ("con", "job-con"),
        ("-x-", "x"),
    ],
)
def test_stem_is_cleaned_into_an_id(stem: str, job_id: str) -> None:
    """A dropped file's name becomes an id that still reads like it."""
    assert names.clean_id(stem) == job_id


@pytest.mark.parametrize("stem", ["", "...", "日本", "\udcff", "con." + "x" * 200, "a.tmp", "x" * 300, "nul.", "\0"])
def test_cleaned_id_is_always_good(stem: str) -> None:
    """Whatever a file is called, an id can be made of it (P6)."""
    assert names.why_bad_id(names.clean_id(stem)) == ""


def test_stems_without_a_usable_letter_get_different_ids() -> None:
    """Two files named in a script that ids cannot hold do not become one job."""
    assert names.clean_id("日本") != names.clean_id("中国")


def test_suffixed_id_stays_within_the_limit() -> None:
    """An id that is taken can always be made longer."""
    made = names.with_suffix("x" * 100, "20270115T080000-ab")
    assert len(made) == names.ID_MAX_CHARS
    assert made.endswith("-20270115T080000-ab")
    assert names.why_bad_id(made) == ""


def test_generated_ids_sort_by_time() -> None:
    """A listing of generated ids is in the order they were made, to the microsecond."""
    rng = random.Random(1)
    made = [names.generate_id(NOON_AT + step / 1e6, rng) for step in (0, 1, 999_999, 1_000_000, 86_400_000_000)]
    assert made == sorted(made)
    assert all(names.is_generated(item) and not names.why_bad_id(item) for item in made)
    assert made[0].startswith("20270115-080000-000000-")


def test_ids_that_differ_in_case_share_a_stripe() -> None:
    """Ids are unique ignoring case, so one lock must guard all spellings (P3)."""
    assert names.stripe_of("Job-A") == names.stripe_of("jOB-a")
    assert 0 <= names.stripe_of("x") < names.STRIPE_COUNT


def test_stripe_of_an_id_never_changes() -> None:
    """Two versions of queuectl on one spool must agree on the stripe (P3)."""
    assert [names.stripe_of(item) for item in ("job1", "report", "20270115-080000-000000-abcd")] == [57, 4, 60]


def test_stripes_are_used_evenly() -> None:
    """No stripe guards much more than its share."""
    counts = [0] * names.STRIPE_COUNT
    for number in range(6400):
        counts[names.stripe_of(f"job{number}")] += 1
    assert min(counts) > 50 and max(counts) < 180


@pytest.mark.parametrize(
    ("file_name", "parts"),
    [
        ("a.json", ("a", None, 0, "")),
        ("a,prio=9.json", ("a", None, 9, "")),
        ("a,prio=-3.json", ("a", None, -3, "")),
        ("a,due=20270115T080000Z.json", ("a", NOON_AT, 0, "")),
        ("a,due=20270115T080000.500Z,prio=2.json", ("a", NOON_AT + 0.5, 2, "")),
        ("a b.json", ("a b", None, 0, "")),
        ("a,b.json", ("a,b", None, 0, "")),
        ("a,due=soon.json", ("a,due=soon", None, 0, "")),
        ("a,prio=1234567.json", ("a,prio=1234567", None, 0, "")),
        ("a,by=anna.json", ("a", None, 0, "anna")),
        ("20261124-031500-120345-7f3k,by=anna-2.json", ("20261124-031500-120345-7f3k", None, 0, "anna-2")),
        ("20261124-031500-120345-7f3k,by=a.b_c.json", ("20261124-031500-120345-7f3k", None, 0, "a.b_c")),
        ("a,due=20270115T080000Z,prio=2,by=anna,hold.json", ("a", NOON_AT, 2, "anna")),
        ("a,by=.json", ("a,by=", None, 0, "")),
        ("a,by=.x.json", ("a,by=.x", None, 0, "")),
        ("a,by=a b.json", ("a,by=a b", None, 0, "")),
        (f"a,by={'o' * 33}.json", (f"a,by={'o' * 33}", None, 0, "")),
        (",prio=9.json", (",prio=9", None, 0, "")),
    ],
)
def test_name_is_read_and_never_a_reason_to_refuse(file_name: str, parts: tuple[str, float | None, int, str]) -> None:
    """Flags that cannot be read belong to the stem (P6)."""
    found = names.parse(file_name)
    assert found is not None
    assert found[:4] == parts
    assert found.arrived == ""


@pytest.mark.parametrize(
    ("file_name", "stem", "priority", "arrived"),
    [
        ("apple,in=20261125T001500.123456Z.json", "apple", 0, "20261125-001500-123456"),
        ("my file,in=20261125T001500.123456Z,prio=9,hold.json", "my file", 9, "20261125-001500-123456"),
        ("a,b,in=99991231T235959.999999Z,prio=-3,by=anna.json", "a,b", -3, "99991231-235959-999999"),
        ("a_b,in=20261125T001500.123456Z.json", "a_b", 0, "20261125-001500-123456"),
        ("apple,in=20261125T001500.123Z.json", "apple,in=20261125T001500.123Z", 0, ""),
        ("apple,in=20261325T001500.123456Z.json", "apple,in=20261325T001500.123456Z", 0, ""),
        ("apple,in=20261125T241500.123456Z.json", "apple,in=20261125T241500.123456Z", 0, ""),
        ("apple,in=garbage,prio=2.json", "apple,in=garbage", 2, ""),
        ("apple,in=.json", "apple,in=", 0, ""),
    ],
)
def test_name_tells_when_its_job_arrived(file_name: str, stem: str, priority: int, arrived: str) -> None:
    """The arrival is read to the microsecond, or is part of the stem: a name is no reason to refuse a file (P6)."""
    parts = names.parse(file_name)
    assert parts is not None
    assert (parts.stem, parts.priority, parts.arrived) == (stem, priority, arrived)
    made = names.waiting_name(stem, None, priority, parts.owner, arrived)
    assert not arrived or made == names.released_name(file_name)
    assert not names.is_temporary(file_name)


def test_a_name_tells_one_instant() -> None:
    """A due time, and the time in a generated id, stand for the arrival: neither gets a flag for that beside it."""
    arrived = "20261125-001500-123456"
    assert names.waiting_name("a", NOON_AT, 0, "", arrived) == "a,due=20270115T080000Z.json"
    generated = "20261124-031500-120345-7f3k"
    assert names.waiting_name(generated, None, 0, "", arrived) == f"{generated}.json"
    assert names.stamp(NOON_AT + 0.000001) == "20270115-080000-000001"


@pytest.mark.parametrize(
    ("file_name", "dropped"),
    [
        ("a.json", "a.json"),
        ("a b,in=20261125T001500.123456Z,prio=3.json", "a b.json"),
        ("a,due=20270115T080000Z.json", "a,due=20270115T080000Z.json"),
        ("a,prio=3.json", "a,prio=3.json"),
        ("a,b.jsonl", "a,b.jsonl"),
    ],
)
def test_name_of_a_judged_drop_leads_to_the_one_it_came_with(file_name: str, dropped: str) -> None:
    """What the record keeps as the name of the file is what its producer called it."""
    assert names.as_dropped(file_name) == dropped


@pytest.mark.parametrize("file_name", [".json", "a.txt", "a.JSONX", "a.jsonl", "a", "a.json.tmp", "~a.json", "#a.json"])
def test_names_that_are_no_jobs(file_name: str) -> None:
    """Only NAME.json, in capitals or not, is a job (P11)."""
    assert names.parse(file_name) is None


@pytest.mark.parametrize(
    "file_name",
    [
        ".a.json.Xyz12",
        ".a.json",
        "~a.json",
        "#a.json#",
        "a.json~",
        "a.json.part",
        "a.json.filepart",
        "a.crdownload",
        "a.json.swp",
        "a.sync-conflict-20270115-080000.json",
        "a (Ann's conflicted copy 2027-01-15).json",
        "a (conflicted copy 2027-01-15 080000).json",
        "a (SFConflict ann@example.org 2027-01-15-08-00-00).json",
        "a_conflict-ann-20270115-080000.json",
        "a (Case Conflict 1).json",
        "a (case clash from ann).json",
        "a [Conflict].json",
        "a [conflicted].json",
        "a.conflict1.json",
        "a.Conflict.jsonl",
        "a_NAS_Jan-15-080000-2027_Conflict.json",
        "a.json.opdownload",
        "a_conflict-20270115-080000.json",
        "a.tmpAb12.json",
        "a.json.reason.txt",
        "desktop.ini",
        "Thumbs.db",
    ],
)
def test_names_that_clients_use_while_they_write_are_left_alone(file_name: str) -> None:
    """Half-written and conflict copies of real clients are never jobs (P11)."""
    assert names.is_temporary(file_name)
    assert names.parse(file_name) is None


@pytest.mark.parametrize(
    "file_name",
    [
        "template.json",
        "a.tmpl.v2.json",
        "lock.json",
        "backup.json",
        "partial.json",
        "resolve_conflict.json",
        "conflict.json",
        "a-LAPTOP.json",
        "a (1).json",
    ],
)
def test_ordinary_names_are_not_taken_for_temporary(file_name: str) -> None:
    """A job whose name only reminds of a temporary file runs."""
    assert names.parse(file_name) is not None


@given(st.from_regex(names._PLAIN, fullmatch=True))
def test_a_plain_name_never_looks_unfinished(file_name: str) -> None:
    """It is not looked up among the names that clients use, which takes ten times as long."""
    assert names._temporary().search(file_name) is None
    assert names.is_plain(file_name) and not names.is_temporary(file_name)


def test_copies_are_told_from_other_strangers() -> None:
    """Names of unfinished and conflicting copies are counted; a desktop's own files and texts are not among them."""
    assert all(
        map(names.is_copy, ["a.json.sb-1a2b-Xy", "a.json___jb_tmp___", "a.jsonl.part", ".a.json.Xy", "~$a.json"])
    )
    assert not any(map(names.is_copy, [".DS_Store", "Thumbs.db", "notes.txt", "a.json", "a.jsonl"]))


def test_batch_names() -> None:
    """NAME.jsonl holds one job a line; temporary ones and a bare ending do not."""
    assert names.is_batch("a.jsonl")
    assert not names.is_batch(".jsonl")
    assert not names.is_batch("~a.jsonl")
    assert not names.is_batch("a.json")


def test_waiting_name_says_only_what_is_not_ordinary() -> None:
    """A job that is simply next is ID.json."""
    assert names.waiting_name("a", None, 0) == "a.json"
    assert names.waiting_name("a", NOON_AT, 9) == "a,due=20270115T080000Z,prio=9.json"


@pytest.mark.parametrize(
    ("name", "suffix", "room", "made"),
    [
        ("a.json", "-x", 0, "a-x.json"),
        ("a,due=20261124T031500Z,prio=9.json", "-x", 0, "a-x,due=20261124T031500Z,prio=9.json"),
        ("m" * 250 + ".json", "-x", 0, "m" * 248 + "-x.json"),
        ("m" * 250 + ".json", "", 11, "m" * 239 + ".json"),
        ("\u00fc" * 125 + ".json", "-x", 0, "\u00fc" * 124 + "-x.json"),
        ("a," + "m" * 245 + ".json", "-xyz", 0, "a," + "m" * 244 + "-xyz.json"),
        ("b\udcff.json", "-x", 0, "b\udcff-x.json"),
    ],
)
def test_name_beside_fits_a_folder(name: str, suffix: str, room: int, made: str) -> None:
    """A file that finds its name taken gets one beside it that is never too long for a file (P7)."""
    assert names.beside(name, suffix, room=room) == made


@pytest.mark.parametrize("digits", ["٢٠٢٦١١٢٤-٠٣١٥٠٠-١٢٠٣٤٥-7f3k", "２０２６１１２４-031500-120345-7f3k"])
def test_digits_of_other_scripts_make_no_generated_id(digits: str) -> None:
    """An id is ASCII, also where it looks like one of ours."""
    assert not names.is_generated(digits)
    assert names.why_bad_id(digits)


@pytest.mark.parametrize(
    "broken", [[], ["x\n20261124-031500-120345-7f3k.json"], ["20261124-031500-120345-7f3k.json\n"]]
)
def test_generated_names_are_told_apart_in_one_go(broken: list[str]) -> None:
    """The same as one by one, also where a name holds a line feed (POSIX) or what no text can hold."""
    listed = ["b.json", "20261124-031500-120345-7f3k.json", "20261124-031500-120345-7f3k,prio=2.json", *broken]
    listed += ["20261124-031500-120345-7F3K.json", "20261124-031500-120345-7f3kx.json", "\udcff.json", "a", ""]
    assert names.split_generated(listed) == (listed[1:2], [listed[0], *listed[2:]])
    assert names.split_generated([]) == ([], [])
    assert names.split_generated([""]) == ([], [""])
    assert names.split_generated(listed[1:2]) == (listed[1:2], [])


@pytest.mark.parametrize(
    ("name", "parts"),
    [
        ("JOB.JSON", names.NameParts("JOB", None, 0)),
        ("Job.Json", names.NameParts("Job", None, 0)),
        ("job,prio=3.JSON", names.NameParts("job", None, 3)),
        (".JSON", None),
        ("x.TMP.JSON~", None),
    ],
)
def test_an_ending_in_capitals_is_an_ending(name: str, parts: names.NameParts | None) -> None:
    """Windows users drop `JOB.JSON`, and expect that it runs."""
    assert names.parse(name) == parts
    assert names.ends_as_job("LINES.JSONL") and names.is_batch("LINES.JSONL") and not names.is_batch("JOB.JSON")


def test_a_job_with_an_ending_in_capitals_can_be_held() -> None:
    """Held and released, it has the usual ending."""
    assert names.held_name("JOB.JSON") == "JOB,hold.json"
    assert names.is_held("JOB,HOLD.JSON") and names.released_name("JOB,HOLD.JSON") == "JOB.json"


@pytest.mark.parametrize("name", ["con.json", "CONIN$.json", "nul.jsonl", "Com1.x.json", "aux .json", "lpt9.JSON"])
def test_names_of_devices_are_left_alone_on_windows_only(monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    """P6: there nothing may open or look at them; elsewhere such a file is a drop like any other."""
    for has_devices in (True, False):
        monkeypatch.setattr(names, "_HAS_DEVICES", has_devices)
        assert names.is_temporary(name) is has_devices
        assert (names.parse(name) is None and not names.is_batch(name)) is has_devices
        assert not names.is_copy(name)
