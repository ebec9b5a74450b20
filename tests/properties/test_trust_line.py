"""Whatever a producer sends, what comes out is the settings' words with one word a parameter, or a refusal (P10)."""

from __future__ import annotations

import os
import random
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from queuectl.errors import InvalidJobError
from queuectl.inbox import admission, confinement
from queuectl.model import names
from queuectl.model.command import Command, Param, render
from queuectl.model.text import safe

PARTS = st.sampled_from(
    ["..", ".", "", "a", "link", "up", "loop", "out", "in", "-rf", "~", "b c", "\u202e", "\0", "/", "x" * 300]
)
ANYTHING = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(), lambda inner: st.lists(inner, max_size=3)
)
COMMAND = Command(
    argv=("prog", "{any}", "-x", "{n}", "{one}"),
    params={
        "any": Param(type="match", pattern=".*"),
        "n": Param(type="int", min=0, max=9, default=1),
        "one": Param(type="choice", of=("a", "b"), default="a"),
    },
)


@given(
    given_=st.dictionaries(st.sampled_from(["any", "n", "one", "other"]) | st.text(max_size=5), ANYTHING, max_size=4)
)
def test_a_parameter_is_one_word_or_refused(given_: dict[str, object]) -> None:
    """Five words in, five out; fixed ones stay, filled ones are plain texts that begin with no dash."""
    try:
        words = render(COMMAND, given_, confinement.resolve)
    except InvalidJobError as error:
        assert str(error)
        return
    assert len(words) == 5 and words[0] == "prog" and words[2] == "-x"
    for word in (words[1], words[3], words[4]):
        assert isinstance(word, str) and not word.startswith("-") and safe(word) == word and "\0" not in word
    assert words[3] in "0123456789" and words[4] in ("a", "b")


@pytest.fixture(scope="module")
def under(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with links inside, to the outside and in a circle."""
    root = tmp_path_factory.mktemp("enclosure")
    (root / "in" / "a").mkdir(parents=True)
    (root / "out").mkdir()
    if os.name != "nt":
        for name, target in (("link", "a"), ("up", ".."), ("loop", "loop"), ("a/up", "../../out")):
            (root / "in" / name).symlink_to(target)
    return root / "in"


@given(parts=st.lists(PARTS, max_size=6), absolute=st.booleans(), exists=st.booleans())
def test_a_path_stays_in_its_folder(under: Path, parts: list[str], absolute: bool, exists: bool) -> None:
    """Whatever links and dots are in it, what the command gets lies below the folder, and has no link in it."""
    text = ("/" if absolute else "") + "/".join(parts)
    param = Param(type="path", under=str(under), exists=exists)
    try:
        (found,) = render(Command(argv=("{p}",), params={"p": param}), {"p": text}, confinement.resolve)
    except InvalidJobError:
        return
    assert found.startswith(os.path.realpath(under) + os.sep)
    assert os.path.realpath(found) == found
    assert not exists or os.path.exists(found)


@pytest.mark.skipif(os.name == "nt", reason="makes links")
def test_a_refusal_does_not_say_what_is_outside(under: Path) -> None:
    """P10: a file, a folder, a link or nothing at the same place outside: the answer is one and the same."""
    out = under.parent / "out"
    (out / "file").write_text("")
    (out / "folder").mkdir()
    (out / "locked").mkdir(mode=0)
    (out / "circle").symlink_to("circle")
    (out / "back").symlink_to(under / "a")
    (under / "away").symlink_to(out)
    param = Param(type="path", under=str(under))
    ways = [
        f"{out}/{{}}",
        "../out/{}",
        "away/{}",
        "a/up/{}",
        f"{out}/{{}}/x",
        f"{out}/{{}}/../../in/a",
        "../out/{}/../../in/a",
        "away/{}/../a",
        f"{out}/{{}}/../..{under}/a",
    ]
    for way in ways:
        answers = set()
        for name in ("file", "folder", "locked", "circle", "back", "none", "x" * 300):
            text = way.format(name)
            with pytest.raises(InvalidJobError) as refused:
                confinement.resolve(param, text)
            answers.add((str(refused.value).replace(repr(text[:120]), "IT"), refused.value.hint))
        assert answers == {
            (f"IT is not in {under}", "name a file in that folder; links that lead out of it are not allowed")
        }


@pytest.mark.skipif(os.name == "nt", reason="makes links")
def test_links_in_the_folder_are_followed_in_it(under: Path, tmp_path: Path) -> None:
    """Relative and absolute ones, by each name that the folder has; what is not there yet may be named."""
    (under / "b").mkdir(exist_ok=True)
    other = tmp_path / "alias"
    other.symlink_to(under)
    (under / "b" / "abs").symlink_to(under / "a")
    (under / "b" / "rel").symlink_to("../a/./../a")
    param = Param(type="path", under=str(other))
    real = os.path.realpath(under)
    for text, found in {
        "b/abs/x": "a/x",
        "b/rel/x": "a/x",
        "b/../a": "a",
        f"{other}/a": "a",
        f"{under}/link/x": "a/x",
        "none/../a//x": "a/x",
        "none/none/x": "none/none/x",
        "./b/abs/../b": "b",
    }.items():
        assert confinement.resolve(param, text) == f"{real}/{found}", text


@given(stem=st.text(max_size=150), owner=st.sampled_from(["anna", "a", "o" * 32, "x.y", "20261124"]))
def test_an_id_begins_with_its_owner(stem: str, owner: str) -> None:
    """Every name of a file gives an id, and one that is its owner's."""
    made = admission.id_for(owner, stem)
    assert made.startswith(f"{owner}-") and names.why_bad_id(made) == ""
    assert made == admission.id_for(owner, stem)


def test_these_rules_can_fail(under: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A comparison by text alone lets a link out of the folder pass, and this file would see it."""
    if os.name == "nt":
        pytest.skip("makes links")
    monkeypatch.setattr(confinement, "_walked", lambda under, _named, text: os.path.normpath(os.path.join(under, text)))
    wrong = 0
    for _ in range(200):
        rng = random.Random(_)
        parts = [rng.choice(["a", "up", "out", "link"]) for _ in range(3)]
        try:
            test_a_path_stays_in_its_folder.hypothesis.inner_test(under, parts, False, False)  # type: ignore[attr-defined]
        except AssertionError:
            wrong += 1
    assert wrong > 50
