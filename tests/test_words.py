"""The product speaks plain English: a few phrases that read as translated stay out of every text a person can read.

It looks at the documents, the texts of a new spool, the help of every command, the meaning of every setting, and the
string literals, docstrings and comments of the program.
"""

from __future__ import annotations

import ast
import io
import re
import runpy
import tokenize
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from queuectl.model.setting import SETTINGS

ROOT = Path(__file__).parents[1]

# What to write instead -> the phrases, as one regular expression; a space in it stands for any white space.
BANNED = {
    "'reported', 'named', 'described'": r"\btold of\b|\b(?:is|are|was|were) told\b",
    "'is', 'is next to'": r"\bstands? (?:in|beside|there) (?!for)|\b[Ll]ies? (?:in|beside|there)\b",
    "'must' or 'is'": r"\b[Ss]hall\b",
    "'permanently'": r"\bfor good\b(?! reason)",
    "'automatically', 'on its own'": r"\bby (?:itself|themselves)\b",
    "'is not a job', 'is invalid'": r"\b(?:what|that) (?:is|are) no (?!longer|more|other)",
    "'is ignored', 'follows'": r"\bobey(?:s|ed)?\b",
    "name the noun": r"\bones? that (?:is|are) meant\b",
    "'success', 'healthy'": (
        r"\b(?:is|are|was|were|all|ends?|ended|goes|went|exits?|exited) well(?=[.,;:)]|$| (?:and|or)\b)|: well\b"
    ),
    "'anyone who'": r"\bWho (?:can|has|wants|needs|writes|asks|reads|may|looks)\b(?=[^?]*[.;])",
    "'the result', 'what happened to'": r"\b[Ww]hat became of\b",
    "'equals', 'are interchangeable'": r"\bas good as an?\b",
    "'released', 'closed'": r"\blet go\b",
    "'next to it', or name the file": r"\bbeside (?:it|them)(?=[.,;:)]|$)",
    "'explains', 'says' after its subject": r"\bsays the text\b",
    "'one line per event'": (
        r"\b(?:an?|one|One) (?:job|line|file|row|sentence|folder|object) an? "
        r"(?:job|line|file|row|event|folder|command|attempt)\b"
    ),
    "the subject before its verb": (
        r"(?:^|[.;:] )(?:Said|Told|Moved|Taken|Made|Kept|Written|Found|Left|Asked|Shown|Given) (?:is|are|was|were)\b"
    ),
}
BANNED_RES = {instead: re.compile(phrase.replace(" ", r"\s+")) for instead, phrase in BANNED.items()}
# Words in a sentence of README.md and docs/; the aim is 25.
LONGEST = 40
# What is in spool/ as shipped; the rest there comes from jobs that somebody ran in a clone.
SHIPPED = {"README.md", "README.txt", "job.schema.json", "queuectl.toml"}
READ_WHOLE = {".css", ".html", ".js", ".json", ".md", ".svg", ".tcss", ".toml", ".txt"}


class Text(NamedTuple):
    """A piece of text, the file (or help) that it is in, and the line that it starts on."""

    place: str
    line: int
    text: str


def texts_of_python(place: str, source: str) -> Iterator[Text]:
    """Yield each string literal (an f-string with {} for what is filled in), docstring and block of comments."""
    nodes = [node for node in ast.walk(ast.parse(source)) if isinstance(node, ast.JoinedStr | ast.Constant)]
    inner = {id(part) for node in nodes if isinstance(node, ast.JoinedStr) for part in node.values}
    for node in nodes:
        if isinstance(node, ast.JoinedStr):
            parts = [str(part.value) if isinstance(part, ast.Constant) else "{}" for part in node.values]
            yield Text(place, node.lineno, "".join(parts))
        elif isinstance(node.value, str) and id(node) not in inner:
            yield Text(place, node.lineno, node.value)
    start, block = 0, list[str]()
    for token in tokenize.generate_tokens(io.StringIO(source).readline):
        if token.type != tokenize.COMMENT:
            continue
        if start + len(block) != token.start[0]:
            yield Text(place, start, "\n".join(block))
            start, block = token.start[0], []
        block.append(token.string.lstrip("#: "))
    yield Text(place, start, "\n".join(block))


def documents() -> Iterator[Text]:
    """Yield README.md and the other pages."""
    for path in [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]:
        yield Text(path.relative_to(ROOT).as_posix(), 1, path.read_text(encoding="utf-8"))


def texts() -> Iterator[Text]:
    """Yield everything that a person can read."""
    yield from documents()
    files = [ROOT / "CHANGELOG.md", ROOT / "CONTRIBUTING.md"]
    # Only what a new spool has: jobs that somebody runs in this one are not ours.
    files += [ROOT / "spool" / name for name in ("README.md", "queuectl.toml", "job.schema.json")]
    files += [*sorted((ROOT / "spool").glob("*/README.txt")), *sorted((ROOT / "spool" / "examples").iterdir())]
    files += [path for path in sorted((ROOT / "queuectl").rglob("*.*")) if path.suffix in READ_WHOLE]
    for path in files:
        yield Text(path.relative_to(ROOT).as_posix(), 1, path.read_text(encoding="utf-8"))
    for path in sorted((ROOT / "queuectl").rglob("*.py")):
        yield from texts_of_python(path.relative_to(ROOT).as_posix(), path.read_text(encoding="utf-8"))
    commands: Any = runpy.run_path(str(ROOT / "docs" / "generate.py"))["commands"]
    for name, command in commands():
        context = command.make_context(f"queuectl {name}", [], resilient_parsing=True)
        yield Text(f"help of {name}", 1, command.get_help(context))
    for setting in SETTINGS:
        yield Text(f"setting {setting.name}", 1, setting.meaning)


def banned_in(piece: Text) -> Iterator[str]:
    """Yield each banned phrase in a text with its file, its line, and what to write instead."""
    for instead, phrase in BANNED_RES.items():
        for match in phrase.finditer(piece.text):
            line = piece.line + piece.text.count("\n", 0, match.start() + len(match[0]) - len(match[0].lstrip()))
            yield f"{piece.place}:{line}: {' '.join(match[0].split())!r}, write {instead}"


def long_in(piece: Text) -> Iterator[str]:
    """Yield each sentence of a page (not of its code and tables) that is too long, with its file and line."""
    # What is not prose is blanked line by line, so that the lines keep their numbers.
    prose = re.sub(r"(?ms)^ *```.*?^ *```", lambda match: "\n" * match[0].count("\n"), piece.text)
    prose = re.sub(r"(?m)^(?: *\||#|    (?=\S)(?![a-z(])|<).*$", "", prose)
    prose = re.sub(r"\]\([^)\s]*\)", "]", prose)
    start = 0
    for end in re.finditer(r"[.!?:][)*\"”]*(?=\s)|\n[ \t]*\n|\n(?=\s*(?:[-*]|\d+\.) )|\Z", prose):
        sentence = prose[start : end.end()]
        if (count := len(re.findall(r"\S*\w\S*", sentence))) > LONGEST:
            line = piece.line + prose.count("\n", 0, start + len(sentence) - len(sentence.lstrip()))
            yield f"{piece.place}:{line}: {count} words in a sentence, {' '.join(sentence.split()[:6])} ..."
        start = end.end()


def test_no_text_has_a_banned_phrase() -> None:
    """Each finding names the file, the line and the phrase, and what to write instead."""
    found = [each for piece in texts() for each in banned_in(piece)]
    assert not found, "\n".join(found)


def test_no_sentence_of_the_documents_is_too_long() -> None:
    """A sentence of README.md or docs/ has at most 40 words."""
    found = [each for piece in documents() for each in long_in(piece)]
    assert not found, "\n".join(found)


@pytest.mark.parametrize(
    "text",
    [
        "What became of it stands in\nthe same folder",
        "why a job is dead says the text beside it",
        "0: well",
        "The queue is well.",
        "One line an event goes to standard output",
        "Move what is no job away.",
        "Shown are the counts.",
        "Who can write to the spool can run commands.",
        "type more of the one that is meant",
    ],
)
def test_a_banned_phrase_is_found(text: str) -> None:
    """Also across lines."""
    assert list(banned_in(Text("a", 1, text)))


@pytest.mark.parametrize(
    "text",
    [
        "a well-known name; it is well within the limit; it does so as well",
        "append an event to the record",
        "a file that is no longer there; what is no more than a hint",
        "Who can write to the spool?",
        "a name that stands in for another",
    ],
)
def test_a_plain_phrase_passes(text: str) -> None:
    """The usual uses of the same words are no finding."""
    assert not list(banned_in(Text("a", 1, text)))


def test_a_finding_names_its_line() -> None:
    """In a document, in a comment that goes on for two lines, and in an f-string."""
    assert next(banned_in(Text("a.md", 1, "x\n\nthe record\nshall go"))).startswith("a.md:4: 'shall'")
    source = 'x = 1\n# one line\n# an event\ny = f"it {x} shall"\n'
    found = [each for piece in texts_of_python("a.py", source) for each in banned_in(piece)]
    assert [each[:7] for each in found] == ["a.py:4:", "a.py:2:"]


def test_a_long_sentence_is_found_in_prose_only() -> None:
    """Code and tables do not count, and a point in a list ends a sentence."""
    long = "word " * (LONGEST + 1)
    assert next(long_in(Text("a.md", 1, f"Title\n\n{long}."))).startswith("a.md:3: 41 words")
    assert not list(long_in(Text("a.md", 1, f"```\n{long}\n```\n\n| {long} |\n\nshort\n- {'word ' * 39}\n- short\n")))
