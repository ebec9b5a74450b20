"""How a page of recipes is read: its sections, the blocks in them, and what the comment above a block says of it.

A browser hides the comments. Each fenced block has one, on the line above it:

    <!-- file: NAME -->         save the block as NAME
    <!-- append: NAME -->       add it to the end of NAME
    <!-- run -->                let bash run it; the first program that fails ends the block and the test
    <!-- run: plain -->         the same without a shell: each line is a program with its arguments (every system)
    <!-- prints -->             the block that ran last printed these lines, in this order; `...` stands for anything
    <!-- chat gets -->          the same, of what was posted to the test's chat server, whose address is in $CHAT_URL
    <!-- mail gets -->          the same, of the arguments and the input of the program `mail`
    <!-- not run: WHY -->       only its `queuectl` commands are checked

`run: needs NAME ...` skips the recipe if one of these programs is not installed. `/srv/` in any block is a folder of
the test's own. The first section of the page is how each recipe begins.
"""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

DOCS = Path(__file__).parents[1] / "docs"
_BLOCK = re.compile(
    r"(?m)^(?:<!-- (?P<kind>[a-z ]+)(?:: (?P<words>.*))? -->\n)?```(?P<language>\w*)\n(?P<text>(?s:.*?))^```$"
)
_SHELL_STOPS = set("();<>|&\n")


class Block(NamedTuple):
    """One fenced block and what its comment says; `kind` is "" if it has none."""

    kind: str
    words: str
    language: str
    text: str


class Recipe(NamedTuple):
    """A section of a page."""

    title: str
    blocks: list[Block]

    @property
    def name(self) -> str:
        """The title as the id of a test."""
        return re.sub(r"\W+", "-", self.title).strip("-").lower()

    @property
    def needs(self) -> set[str]:
        """Programs that a machine may lack; `bash` where a block is written for it."""
        run = [block.words for block in self.blocks if block.kind == "run"]
        found = {name for words in run if words.startswith("needs ") for name in words.split()[1:]}
        return found | {"bash" for words in run if words != "plain"}


def sections(page: str) -> list[Recipe]:
    """Return the sections of a page of docs/ that have fenced blocks."""
    parts = re.split(r"(?m)^## ", (DOCS / page).read_text(encoding="utf-8"))[1:]
    found = [Recipe(part.partition("\n")[0], [*_blocks(part)]) for part in parts]
    return [recipe for recipe in found if recipe.blocks]


def _blocks(text: str) -> Iterator[Block]:
    for match in _BLOCK.finditer(text):
        yield Block(match["kind"] or "", match["words"] or "", match["language"], match["text"])


def commands(page: str) -> Iterator[list[str]]:
    """Return the words of every `queuectl ...` on a page of docs/, in fenced blocks and in inline code."""
    text = (DOCS / page).read_text(encoding="utf-8")
    for match in _BLOCK.finditer(text):
        if match["language"] in ("bash", "sh", "powershell", "dockerfile", "text"):
            yield from _commands_of(match["text"])
    for inline in re.findall(r"`([^`]+)`", _BLOCK.sub("", text)):
        if "queuectl " in inline:
            yield from _commands_of(inline)


def _commands_of(text: str) -> Iterator[list[str]]:
    text = re.sub(r"(?m)(^|\s)#.*$", "", text)
    text = re.sub(r"[\\`]\n", " ", text)
    lexer = shlex.shlex(text, posix=True, punctuation_chars="();<>|&\n")
    lexer.whitespace, lexer.commenters, lexer.escape = " \t\r", "", ""
    lexer.wordchars += "$%{}@:,+!\\^"
    words = list(lexer)
    for place, word in enumerate(words):
        if word == "queuectl":
            rest = words[place + 1 :]
            end = next((at for at, other in enumerate(rest) if other and set(other) <= _SHELL_STOPS), len(rest))
            yield rest[:end]


def unmatched(expected: str, printed: str) -> str:
    """Return the first expected line that `printed` does not hold after the ones before it, or ""."""
    lines = iter(printed.splitlines())
    for wanted in filter(None, map(str.strip, expected.splitlines())):
        pattern = re.compile(".*".join(map(re.escape, wanted.split("..."))))
        if not any(pattern.fullmatch(line.strip()) for line in lines):
            return wanted
    return ""
