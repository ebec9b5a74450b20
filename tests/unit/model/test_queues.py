"""queues, parking and turns: which name of which queue is next. And the names that say a queue and a key."""

from __future__ import annotations

import pytest

from queuectl.errors import InvalidJobError, InvalidSettingsError
from queuectl.model import job, names, record, settings
from queuectl.model.job import RetryDefaults
from queuectl.model.needs import Choice
from queuectl.model.queues import Place, Queue, place
from queuectl.model.run_order import Turns, in_order
from queuectl.model.run_queue import RunQueue
from queuectl.spool import settings_file
from tests.helpers import NOON_AT

DEFAULTS = RetryDefaults(3, 2, 3600.0, 0)
BASE = "20261124-031500-120345-"


def _name(number: int, flags: str = "") -> str:
    return f"{BASE}{number:04d}{flags}.json"


def _take_all(queue: RunQueue) -> list[str]:
    return [name.removeprefix(BASE).removesuffix(".json") for name in iter(queue.take, None)]


def _queue(
    *listed: str, limits: dict[str, Queue] | None = None, slots: int = 8, only: tuple[str, ...] = ()
) -> RunQueue:
    made = RunQueue(limits, slots=slots, choice=Choice(frozenset(only)))
    made.update(*names.split_generated(sorted(listed)), NOON_AT)
    return made


# -------------------------------------------------------------------------------------------------------------- names


@pytest.mark.parametrize(
    "key", ["berlin", "A-1", "4711", "x" * 32, "x" * 33, "https://a.de/x", "ä", " ", "a.b", "a_b", "-a", "a~b", "\n"]
)
def test_key_in_a_name_is_read_back(key: str) -> None:
    """The flag of any key is one that a name can hold and that no file in the making looks like (P11)."""
    flag = names.key_flag(key)
    name = names.waiting_name("a", None, 0, place=("mail", flag, ""))
    assert names.parse(name) == names.NameParts("a", None, 0, "", "", "mail", flag)
    assert not names.is_temporary(name)
    assert len(flag) <= 32
    assert (flag == key) == (key in ("berlin", "A-1", "4711", "x" * 32))


def test_other_keys_have_other_flags() -> None:
    """A long or odd key is told from every other by its hash, and never taken for a plain one."""
    flags = {names.key_flag(key) for key in ("a b", "a  b", "a-b", "a.b", "A b", "x" * 33, "x" * 34)}
    assert len(flags) == 7


def test_longest_name_has_room() -> None:
    """All flags at their longest fit into a name of 255 bytes."""
    longest = names.waiting_name(
        "i" * 100, NOON_AT + 0.123, -999_999, "o" * 32, place=("q" * 24, names.key_flag("x" * 200), "")
    )
    assert len(names.held_name(longest)) <= names.NAME_MAX_BYTES - 6
    parts = names.parse(longest)
    assert parts is not None
    assert (parts.stem, parts.queue, len(parts.key)) == ("i" * 100, "q" * 24, 32)


@pytest.mark.parametrize("name", ["a,q=Mail.json", "a,q=.json", "a,key=.json", "a,key=a.b.json", "a,q=a_b.json"])
def test_flag_that_cannot_be_read_is_part_of_the_stem(name: str) -> None:
    """A name is never a reason to refuse a file."""
    assert names.parse(name) == names.NameParts(name.removesuffix(".json"), None, 0)


# --------------------------------------------------------------------------------------------------------------- jobs


def test_record_with_a_queue_has_format_2() -> None:
    """An older queuectl must refuse what it cannot gate; a record without queue and key stays as it was."""
    made = job.normalise({"command": "x", "queue": "mail", "key": "a b"}, defaults=DEFAULTS, now_at=0).spec
    item = record.decode(record.frame({"id": "a", **made}, []))
    assert (item.format, item.place) == (2, ("mail", names.key_flag("a b"), ""))
    plain = job.normalise({"command": "x", "queue": "default"}, defaults=DEFAULTS, now_at=0).spec
    assert "queue" not in plain
    assert record.frame({"id": "a", **plain}, []).startswith(b'{\n "format": 1,')


@pytest.mark.parametrize(
    ("keys", "what"),
    [
        ({"queue": "Mail"}, "queue: 'Mail' must have 1 to 24 characters of a-z 0-9 -"),
        ({"queue": ""}, "queue: '' must have"),
        ({"queue": 5}, "queue"),
        ({"key": ""}, "key"),
        ({"key": "x" * 201}, "key"),
        ({"key": 4711}, "key"),
    ],
)
def test_bad_queue_or_key_is_refused(keys: dict[str, object], what: str) -> None:
    """The error names the key and what it takes."""
    with pytest.raises(InvalidJobError, match=what):
        job.normalise({"command": "x", **keys}, defaults=DEFAULTS, now_at=0)


def test_queue_has_defaults_for_its_jobs() -> None:
    """Retry settings, timeout and priority of a queue are copied into its jobs; what the job says wins."""
    own = Queue(priority=5, max_retries=9, backoff_base=3, backoff_max=60.0, jitter=0.5, timeout=30.0)
    defaults = DEFAULTS._replace(queues={"mail": own})
    made = job.normalise({"command": "x", "queue": "mail"}, defaults=defaults, now_at=0).spec
    assert {
        key: made[key] for key in ("max_retries", "backoff_base", "backoff_max", "jitter", "timeout", "priority")
    } == {
        "max_retries": 9,
        "backoff_base": 3,
        "backoff_max": 60,
        "jitter": 0.5,
        "timeout": 30,
        "priority": 5,
    }
    given = {"command": "x", "queue": "mail", "priority": 0, "max_retries": 1, "timeout": "5s"}
    made = job.normalise(given, defaults=defaults, now_at=0).spec
    assert (made["max_retries"], made["timeout"], "priority" in made) == (1, 5, False)
    assert job.normalise({"command": "x"}, defaults=defaults, now_at=0).spec["max_retries"] == 3


# ----------------------------------------------------------------------------------------------------------- settings


def test_queues_are_read_from_the_settings() -> None:
    """A table per queue; `config set` makes it and changes one value of it."""
    text = settings_file.edit(settings.default_text(), "queues.mail.slots", 8)
    text = settings_file.edit(text, "queues.mail.key", "owner")
    text = settings_file.edit(text, "queues.slow-disk.weight", 3)
    assert settings.parse(text).queues == {"mail": Queue(slots=8, key="owner"), "slow-disk": Queue(weight=3)}
    assert settings.parse(settings_file.remove(text, "queues.mail.slots")).queues["mail"] == Queue(key="owner")


@pytest.mark.parametrize(
    ("text", "what"),
    [
        ("[queues.mail]\nslot = 1", "line 2: queues.mail.slot: unknown key; did you mean slots?"),
        ("[queues.mail]\nslots = -1", "line 2: queues.mail.slots: takes a whole number from 0 to 1000"),
        ("[queues.mail]\nslots = true", "queues.mail.slots: takes"),
        ("[queues.Mail]\nslots = 1", "queues.Mail: the name of a queue must have 1 to 24 characters"),
        ('[queues."a.b"]\nslots = 1', "the name of a queue must have"),
        ("[queues]\nmail = 3", r"queues.mail: takes a table \[queues.NAME\]"),
        ("queues = 3", r"queues: takes tables \[queues.NAME\]"),
        ('[queues.mail]\nkey = "tag"', "queues.mail.key: takes"),
        ('[queues.mail]\ntimeout = "forever"', "queues.mail.timeout: takes a duration"),
    ],
)
def test_mistake_in_a_queue_is_named(text: str, what: str) -> None:
    """The error names the line, the key and what is allowed."""
    with pytest.raises(InvalidSettingsError, match=what):
        settings.parse(text)


def test_place_is_none_without_a_limit() -> None:
    """A job passes a gate only if its queue has slots or it has a key."""
    limits = {"mail": Queue(slots=2, key="owner"), "free": Queue(weight=5)}
    assert place("", "", "anna", limits) is None
    assert place("free", "", "anna", limits) is None
    assert place("mail", "", "", limits) == Place("mail", "", 2, 1)
    assert place("mail", "", "anna", limits) == Place("mail", "anna", 2, 1)
    assert place("free", "k", "anna", limits) == Place("free", "k", 0, 1)


# -------------------------------------------------------------------------------------------------------------- turns


def test_queues_take_turns_by_weight() -> None:
    """At equal priority a queue of weight 2 takes two names in its turn; a higher priority goes first."""
    mail = [_name(number, ",q=mail") for number in range(4)]
    plain = [_name(number) for number in range(10, 14)]
    urgent = [_name(99, ",prio=1")]
    taken = _take_all(_queue(*mail, *plain, *urgent, limits={"mail": Queue(weight=2)}))
    assert taken == [
        "0099,prio=1",
        "0000,q=mail",
        "0001,q=mail",
        "0010",
        "0002,q=mail",
        "0003,q=mail",
        "0011",
        "0012",
        "0013",
    ]


def test_owners_take_turns_within_a_queue() -> None:
    """The turns of owners are within their queue."""
    listed = [_name(number, ",by=anna,q=mail") for number in range(3)] + [_name(9, ",by=ben,q=mail"), _name(20)]
    taken = _take_all(_queue(*listed))
    assert [name for name in taken if "mail" in name] == [
        "0000,by=anna,q=mail",
        "0009,by=ben,q=mail",
        "0001,by=anna,q=mail",
        "0002,by=anna,q=mail",
    ]


def test_full_queue_is_left_out_until_one_ends() -> None:
    """No more names are out than may run, and others pass."""
    queue = _queue(*(_name(n, ",q=mail") for n in range(4)), _name(10), limits={"mail": Queue(slots=2)})
    assert sorted(_take_all(queue)) == ["0000,q=mail", "0001,q=mail", "0010"]
    assert len(queue) == 2
    queue.forget(_name(0, ",q=mail"))
    assert _take_all(queue) == ["0002,q=mail"]
    queue.put_first(_name(2, ",q=mail"))
    assert _take_all(queue) == ["0002,q=mail"]


def test_names_behind_a_full_key_come_back_in_order() -> None:
    """A name whose key is full is parked, once; it comes back by priority, then arrival."""
    listed = [_name(n, ",key=a") for n in range(3)] + [_name(5, ",prio=-1,key=b"), _name(7, ",prio=-1,key=a"), _name(9)]
    queue = _queue(*listed)
    assert _take_all(queue) == ["0000,key=a", "0009", "0005,prio=-1,key=b"]
    for number, then in ((0, "0001,key=a"), (1, "0002,key=a"), (2, "0007,prio=-1,key=a")):
        queue.forget(_name(number, ",key=a"))
        assert _take_all(queue) == [then]
    assert len(queue) == 0


def test_pool_with_enough_slots_looks_ahead() -> None:
    """If the queue has as many slots as the pool, the pool alone cannot pass the limit."""
    queue = _queue(*(_name(n, ",q=mail") for n in range(20)), limits={"mail": Queue(slots=4)}, slots=4)
    assert len(_take_all(queue)) == 20


def test_gate_that_others_filled_is_left_alone_until_it_is_opened() -> None:
    """A name that a worker found shut out waits, and the queue is watched."""
    name = _name(1, ",q=mail")
    queue = _queue(name, _name(2, ",q=mail"), limits={"mail": Queue(slots=4)}, slots=4)
    assert queue.take() == name
    queue.forget(name)
    queue.put_behind(name, ("mail", ""))
    assert (_take_all(queue), queue.watched[0]) == ([], {"mail"})
    queue.reopen("mail")
    assert _take_all(queue) == ["0001,q=mail", "0002,q=mail"]


def test_names_that_found_their_gate_shut_keep_their_order() -> None:
    """Workers answer in any order; when the gate opens, the first in line is the first again."""
    listed = [_name(n, ",q=mail") for n in range(4)]
    queue = _queue(*listed, limits={"mail": Queue(slots=4)}, slots=4)
    taken = [queue.take() for _ in range(3)]
    for name in (taken[1], taken[0], taken[2]):
        queue.forget(str(name))
        queue.put_behind(str(name), ("mail", ""))
    queue.reopen("mail")
    assert _take_all(queue) == [f"000{n},q=mail" for n in range(4)]


def test_key_that_others_have_is_left_alone_until_it_is_opened() -> None:
    """The same for one key: others of the queue pass."""
    name = _name(1, ",q=mail,key=a")
    queue = _queue(name, _name(2, ",q=mail,key=a"), _name(3, ",q=mail,key=b"))
    assert queue.take() == name
    queue.forget(name)
    queue.put_behind(name, ("mail", "a"))
    assert _take_all(queue) == ["0003,q=mail,key=b"]
    assert queue.watched[1] == {("mail", "a")}
    queue.reopen("mail", "a")
    assert _take_all(queue) == ["0001,q=mail,key=a"]


def test_limits_of_the_default_queue_hold_for_plain_names() -> None:
    """`[queues.default]` limits the jobs that name no queue."""
    queue = _queue(*map(_name, range(4)), limits={"default": Queue(slots=1)})
    assert _take_all(queue) == ["0000"]
    queue.change_limits({"default": Queue(slots=2)}, slots=8)
    assert _take_all(queue) == ["0001"]
    queue.change_limits({}, slots=8)
    assert _take_all(queue) == ["0002", "0003"]


def test_paused_queue_is_left_out() -> None:
    """A paused queue starts nothing, the default queue too."""
    queue = _queue(_name(1), _name(2, ",q=mail"))
    queue.pause_queues(["mail", "default"])
    assert _take_all(queue) == []
    queue.pause_queues(["mail"])
    assert _take_all(queue) == ["0001"]
    queue.pause_queues([])
    assert _take_all(queue) == ["0002,q=mail"]


def test_reserved_pool_takes_its_queues_only() -> None:
    """A pool of `worker start --queue` passes over other names, but must look into drops that nobody judged."""
    listed = (_name(1), _name(2, ",q=mail"), _name(3, ",q=scans"), "drop.json")
    queue = _queue(*listed, only=("mail",))
    assert sorted(_take_all(queue)) == ["0002,q=mail", "drop"]
    assert len(_queue(*listed, only=("default",))) == 2


def test_order_that_is_shown_has_every_name() -> None:
    """A list of what waits leaves out no job because its key is full."""
    listed = [_name(n, ",key=a") for n in range(3)] + [_name(9, ",q=mail")]
    assert list(in_order(listed, NOON_AT)) == [listed[0], listed[3], *listed[1:3]]


def test_order_that_is_shown_is_that_of_a_pool() -> None:
    """Queues of equal priority take turns by their weights, as in a pool that starts now."""
    limits = {"mail": Queue(weight=3), "default": Queue(weight=2), "slow": Queue(slots=1)}
    places = ["", ",q=mail", ",q=slow", ",prio=2,q=mail", ",by=anna,q=mail", ",key=k,q=slow"]
    listed = [_name(number, places[number * 7 % len(places)]) for number in range(60)]
    pool = _queue(*listed, limits=limits)
    taken = []
    while (name := pool.take()) is not None:
        pool.forget(name)
        taken.append(name)
    assert list(in_order(listed, NOON_AT, Turns(limits))) == taken
    assert taken != list(in_order(listed, NOON_AT))


def test_jobs_of_paused_queues_are_shown_last() -> None:
    """A job of high priority in a paused queue comes after all that can run; the order of each is kept."""
    listed = [_name(1, ",prio=9,q=mail"), _name(2), _name(3, ",q=mail"), _name(4, ",q=fax"), _name(5)]
    shown = [name.removeprefix(BASE)[:4] for name in in_order(listed, NOON_AT, Turns({}, ["mail"]))]
    assert shown == ["0002", "0004", "0005", "0001", "0003"]
    shown = [name.removeprefix(BASE)[:4] for name in in_order(listed, NOON_AT, Turns({}, ["default", "mail"]))]
    assert shown == ["0004", "0001", "0002", "0003", "0005"]


@pytest.mark.parametrize(("queue", "near"), [("mial", "mail"), ("mails", "mail"), ("defualt", "default")])
def test_a_queue_that_looks_misspelt_is_warned_of(queue: str, near: str) -> None:
    """A queue need not be in the settings, so it is no error."""
    defaults = DEFAULTS._replace(queues={"mail": Queue(slots=1)})
    made = job.normalise({"command": "true", "queue": queue}, defaults=defaults, now_at=0)
    assert made.warnings == [f"the settings do not name the queue {queue!r}; did you mean {near!r}?"]


@pytest.mark.parametrize("queue", ["mail", "default", "scans"])
def test_other_queues_are_not_warned_of(queue: str) -> None:
    """Nor is any queue where the settings name none."""
    made = job.normalise({"command": "true", "queue": queue}, defaults=DEFAULTS, now_at=0)
    limited = DEFAULTS._replace(queues={"mail": Queue(slots=1)})
    assert (
        made.warnings == job.normalise({"command": "true", "queue": queue}, defaults=limited, now_at=0).warnings == []
    )
