"""Defines flows: the documents of one file that name each other with `ref` and `after`. Computes only.

A document is named by its place, from 1. The jobs of a flow have ids that begin with the token of the file, TOKEN-REF
or TOKEN-PLACE, so they are a group. In `after` a name is a ref of the file, else the id of a job in the spool; `*`
means all documents that do not use `*` themselves. A flow is made as a whole or not at all, parents first (FORMAT.md,
section 4, "Workflows and groups").
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any, NamedTuple

import msgspec

from queuectl.errors import InvalidJobError
from queuectl.model import members, names, parents

STAR = "*"
REF_MAX_CHARS = 32
TOKEN_STEM_CHARS = 40
"""So many characters of a file's name are in the ids of its jobs: an id with the longest ref is not too long then."""
STAR_LISTED_AT_MOST = members.LISTED_AT_MOST // 2
"""How many documents with a ref, and how many with `*`, a file may have that uses `*`."""
_SHOWN_CHARS = 60
_CYCLE_SHOWN = 10


class Wanted(NamedTuple):
    """A parent as a document names it, and what must have become of it."""

    name: str
    when: str


class Draft(NamedTuple):
    """What one document says of itself and of others."""

    ref: str = ""
    after: tuple[Wanted, ...] = ()

    @property
    def has_star(self) -> bool:
        """Whether it waits for all others."""
        return any(each.name == STAR for each in self.after)


class Mistake(NamedTuple):
    """Why a flow is refused: the place of the document, the reason and what to do."""

    place: int
    why: str
    hint: str


def is_part(document: object) -> bool:
    """Return whether a document makes its file a flow."""
    return isinstance(document, Mapping) and (document.get("ref") is not None or document.get("after") is not None)


def draft(document: Mapping[str, Any]) -> Draft:
    """Return what a document says of itself and of others.

    Raises:
        InvalidJobError: the error names the key and its mistake.
    """
    if document.get("id") is not None:
        what = "id: is not possible in a file with ref or after, because its jobs get their ids from the file"
        raise InvalidJobError(what, key="id", hint='give the job a name in this file: "ref": "NAME"')
    ref = document.get("ref")
    if ref is not None and (not isinstance(ref, str) or not members.REF.fullmatch(ref)):
        what = f"ref: must have 1 to {REF_MAX_CHARS} characters of A-Z a-z 0-9 . _ - and start with a letter or digit"
        raise InvalidJobError(what, key="ref", hint='write "ref": "NAME"')
    after = document.get("after")
    return Draft(ref or "", () if after is None else tuple(_wanted(after)))


def _wanted(after: object) -> Iterator[Wanted]:
    """Yield the parents that the key `after` names."""
    given = _given(after)
    stars = [each for each in given if each == STAR or (isinstance(each, dict) and each.get("id") == STAR)]
    if len(stars) > 1:
        raise InvalidJobError('after: names "*" twice', key="after", hint="remove one of them")
    if not stars or len(stars) < len(given):
        yield from _parsed([each for each in given if each not in stars])
    for star in stars:
        (found,) = _parsed([{**star, "id": "all"} if isinstance(star, dict) else "all"])
        yield Wanted(STAR, found.when)


def _given(after: object) -> list[str | dict[str, str]]:
    """Return the parents in the key `after`, if their types are right."""
    kind = str | dict[str, str] | list[str | dict[str, str]]
    try:
        found = msgspec.convert(after, kind)
    except msgspec.ValidationError as error:
        from queuectl.model import mistakes  # imported only for an error

        texts = [each.text for each in mistakes.of_value(kind, after, "after")] or [f"after: {error}"]
        raise InvalidJobError(texts[0], key="after", hint=f"it takes {parents.EXPECTED}") from error
    return found if isinstance(found, list) else [found]


def _parsed(given: list[str | dict[str, str]]) -> list[Wanted]:
    found = parents.parse(given)
    return [Wanted(each, parents.DONE) if isinstance(each, str) else Wanted(each["id"], each["when"]) for each in found]


class Flow:
    """The documents of a file, by their places. Add all of them, then `settle`."""

    def __init__(self, token: str) -> None:
        self.token = token
        self.count = 0
        self._refs: dict[str, int] = {}
        self._ref_of: dict[int, str] = {}
        self._folded: dict[str, str] = {}
        self._after: dict[int, tuple[Wanted, ...]] = {}
        self._stars: list[int] = []

    def add(self, found: Draft) -> None:
        """Add the next document.

        Raises:
            InvalidJobError: another document has its ref, or no job can have its id.
        """
        self.count += 1
        place = self.count
        if found.ref:
            other = self._folded.setdefault(found.ref.lower(), found.ref)
            if other != found.ref or found.ref in self._refs:
                what = f"ref: {found.ref!r} occurs twice in this file, ignoring case"
                raise InvalidJobError(what, key="ref", hint="use another ref")
            if why := names.why_bad_id(f"{self.token}-{found.ref}"):
                raise InvalidJobError(f"ref: {found.ref!r} {why}", key="ref", hint="use another ref")
            self._refs[found.ref] = place
            self._ref_of[place] = found.ref
        if found.after:
            self._after[place] = found.after
        if found.has_star:
            self._stars.append(place)

    def settle(self, is_held: Callable[[str], bool]) -> Mistake | None:
        """Return the first mistake in how the documents name each other, or None; then `order` and `made` work.

        `is_held` says whether the spool holds a job with an id.
        """
        for place, wanted in self._after.items():
            for name in (each.name for each in wanted if each.name != STAR and each.name not in self._refs):
                if not is_held(name):
                    return Mistake(
                        place, f"after: {self._unknown(name)}", "write a ref of this file, or the id of a job"
                    )
        for ref, place in self._refs.items():
            other = int(ref) if ref.isdecimal() else 0
            if 0 < other <= self.count and other not in self._ref_of and ref == format(other, members.PLACE_FORM):
                what = f"ref: {ref!r} is the id of another job of this file, number {other}"
                return Mistake(place, what, "use another ref, with a letter")
        if self._stars and max(len(self._refs), len(self._stars)) > STAR_LISTED_AT_MOST:
            what = f'after: with "*" a file may have up to {STAR_LISTED_AT_MOST} refs, and as many jobs with "*"'
            return Mistake(self._stars[0], what, "remove the refs that no other job names")
        if len(self._stars) == self.count:
            return Mistake(self._stars[0], 'after: "*" names no other job of this file', "add the jobs to wait for")
        return self._cycle()

    def _unknown(self, name: str) -> str:
        other = self._folded.get(name.lower(), "")
        if not other:
            import difflib  # only for an error

            other = next(iter(difflib.get_close_matches(name, self._refs, n=1)), "")
        near = f"; did you mean {other!r}?" if other else ""
        return f"{name[:_SHOWN_CHARS]!r} is neither a ref of this file nor the id of a job in the spool{near}"

    def _edges(self) -> Iterator[tuple[int, list[int]]]:
        """Yield each document with parents in this file, and their places; 0 stands for all without `*`."""
        for place, wanted in self._after.items():
            yield place, [0 if each.name == STAR else self._refs[each.name] for each in wanted if self._is_here(each)]

    def _is_here(self, wanted: Wanted) -> bool:
        return wanted.name == STAR or wanted.name in self._refs

    @property
    def _is_in_order(self) -> bool:
        """Whether each document comes after its parents in the file."""
        last = self.count - len(self._stars)
        return all(0 <= parent < place for place, listed in self._edges() for parent in listed) and (
            not self._stars or self._stars[0] > last
        )

    def _cycle(self) -> Mistake | None:
        if self._is_in_order:
            return None
        import graphlib  # few flows need it

        try:
            self._sorter().prepare()
        except graphlib.CycleError as error:
            circle = [place for place in reversed(error.args[1]) if place]
            shown = [self._ref_of.get(place) or f"document {place}" for place in circle[:_CYCLE_SHOWN]]
            if circle[0] != circle[-1]:
                shown.append(shown[0])
            if len(set(circle)) == 1:
                return Mistake(circle[0], f"after: {shown[0]!r} waits for itself", "remove it")
            more = " -> ..." if len(circle) > _CYCLE_SHOWN else ""
            return Mistake(
                min(circle), f"after: they wait for each other: {' -> '.join(shown)}{more}", "break the circle"
            )
        return None

    def _sorter(self) -> Any:
        import graphlib

        sorter: graphlib.TopologicalSorter[int] = graphlib.TopologicalSorter()
        known = set(self._ref_of.keys() | self._after.keys())
        for place, listed in self._edges():
            sorter.add(place, *listed)
        if self._stars:
            sorter.add(0, *sorted(known - set(self._stars)))
        return sorter

    def order(self) -> Iterable[int]:
        """Return the places in the order of publishing: parents first, and documents with `*` last."""
        if self._is_in_order:
            return range(1, self.count + 1)
        stars = set(self._stars)
        linked = [place for place in self._sorter().static_order() if place]
        known = {*linked, *stars}
        free = [place for place in range(1, self.count + 1) if place not in known]
        return [*free, *(place for place in linked if place not in stars), *(each for each in linked if each in stars)]

    def id_of(self, place: int) -> str:
        """Return the id of the job of a document."""
        return f"{self.token}-{self._ref_of.get(place) or format(place, members.PLACE_FORM)}"

    def made(self, place: int, document: Mapping[str, Any]) -> dict[str, Any]:
        """Return the document of a job: with its id, and with ids instead of refs."""
        made = {key: value for key, value in document.items() if key not in ("ref", "after", "history")}
        made["id"] = self.id_of(place)
        if wanted := self._after.get(place):
            alone = {self._refs[each.name] for each in wanted if each.name in self._refs}
            listed = (self._parent(each, alone) for each in wanted)
            made["after"] = [each for each in listed if each is not None]
        return made

    def _parent(self, wanted: Wanted, alone: set[int]) -> dict[str, Any] | None:
        """Return a parent as a record has it; None for a range without jobs, because all of them are named alone."""
        if wanted.name == STAR:
            found = self._members(alone)
            is_empty = len(found.get("except", ())) == self.count and "refs" not in found
            return None if is_empty else {**found, "when": wanted.when}
        name = f"{self.token}-{wanted.name}" if wanted.name in self._refs else wanted.name
        return {"id": name, "when": wanted.when}

    def _members(self, alone: set[int]) -> dict[str, Any]:
        """Return the range of all documents without `*`, as a record has it; those in `alone` have a condition."""
        stars = {*self._stars, *alone}
        refs = sorted((place, ref) for place, ref in self._ref_of.items() if place not in stars)
        left_out = sorted({*stars, *self._ref_of})
        made = {"batch": self.token, "count": self.count, "except": left_out, "refs": [ref for _, ref in refs]}
        return {key: value for key, value in made.items() if value}
