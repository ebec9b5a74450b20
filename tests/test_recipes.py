"""The recipes of docs/recipes.md and the commands of docs/operations.md, run from the text of the pages.

tests/recipes.py says how a block is marked.
"""

from __future__ import annotations

import ast
import http.server
import json
import os
import runpy
import shlex
import shutil
import subprocess
import sys
import threading
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.helpers import wait_until
from tests.recipes import Block, Recipe, commands, sections, unmatched

ROOT = Path(__file__).parents[1]
START, *OWN_RECIPES = sections("recipes.md")
PAGES = ["recipes.md", "operations.md"]
RECIPES = [*OWN_RECIPES, *sections("operations.md")]
# One call of a recipe; a command that waits has a shorter limit of its own.
_LIMIT_S = 120


class Kitchen:
    """A folder, an environment and a chat server, in which a recipe runs."""

    def __init__(self, folder: Path, chat: list[str], chat_url: str) -> None:
        self.folder = folder
        self.chat = chat
        self.printed = ""
        self.mail = folder / "mail.txt"
        bin_dir = folder / "bin"
        self.env = {
            **{name: value for name, value in os.environ.items() if not name.startswith("QUEUECTL")},
            "PATH": os.pathsep.join([str(bin_dir), os.path.dirname(sys.executable), os.environ["PATH"]]),
            "HOME": str(folder),
            "CHAT_URL": chat_url,
        }
        for path in (bin_dir, folder / "srv"):
            path.mkdir(mode=0o755)
        shutil.copytree(ROOT / "examples", folder / "examples")
        if sys.platform != "win32":
            own = shlex.quote(sys.executable)
            for name, words in {
                "python": f'exec {own} "$@"',
                "queuectl": f'exec {own} -m queuectl "$@"',
                "mail": f'{{ echo "$@"; cat; }} > {shlex.quote(str(self.mail))}',
            }.items():
                (bin_dir / name).write_text(f"#!/bin/sh\n{words}\n")
                (bin_dir / name).chmod(0o755)

    def do(self, block: Block) -> None:
        """Do what the comment above a block says."""
        text = block.text.replace("/srv/", f"{(self.folder / 'srv').as_posix()}/")
        match block.kind:
            case "file" | "append":
                path = self.folder / block.words
                path.parent.mkdir(parents=True, exist_ok=True)
                before = path.read_text(encoding="utf-8") if block.kind == "append" else ""
                path.write_text(before + text, encoding="utf-8", newline="\n")
                path.chmod(0o755 if path.suffix == ".sh" else path.stat().st_mode)
            case "run" if block.words == "plain":
                self.printed = "".join(self.call(_program(line)) for line in text.splitlines() if line)
            case "run":
                self.printed = self.call(["bash", "-euo", "pipefail", "-c", text])
            case "prints":
                assert not (wanted := unmatched(text, self.printed)), f"not printed: {wanted}\n{self.printed}"
            case "chat gets":
                # The pool starts a hook after the job is dead, and no command waits for it.
                wait_until(lambda: not unmatched(text, "\n".join(self.chat)))
            case "mail gets":
                sent = self.mail.read_text(encoding="utf-8")
                assert not (wanted := unmatched(text, sent)), f"not sent: {wanted}\n{sent}"

    def call(self, argv: list[str]) -> str:
        """Run a program; return what it printed."""
        done = subprocess.run(
            argv,
            cwd=self.folder,
            env=self.env,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            encoding="utf-8",
            timeout=_LIMIT_S,
            check=False,
        )
        print(done.stdout)
        assert done.returncode == 0, f"exit code {done.returncode}: {argv[-1]}\n{done.stdout}"
        return done.stdout

    def close(self) -> None:
        """End the workers of every spool here."""
        for settings in self.folder.rglob("queuectl.toml"):
            words = ["--spool", str(settings.parent), "worker", "stop", "--now"]
            subprocess.run([sys.executable, "-m", "queuectl", *words], check=False, timeout=_LIMIT_S)


def _program(line: str) -> list[str]:
    name, *words = shlex.split(line)
    return {"queuectl": [sys.executable, "-m", "queuectl"], "python": [sys.executable]}.get(name, [name]) + words


@pytest.fixture
def chat() -> Iterator[tuple[list[str], str]]:
    """A web server on this machine: what was posted to it, and its address."""
    posted: list[str] = []

    class Chat(http.server.BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            posted.extend(json.loads(body)["text"].splitlines())
            self.send_response(204)
            self.end_headers()

        def log_message(self, *_args: Any) -> None:
            pass

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Chat) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield posted, f"http://127.0.0.1:{server.server_port}/hook"
        server.shutdown()


# These take some seconds each: they install, copy and start more than the others.
_SLOW = {
    "100-calls-a-minute-to-an-api",
    "a-container",
    "a-pipeline-in-steps",
    "back-up-and-restore-a-spool",
    "hand-on-a-result",
    "move-a-spool-to-another-machine",
    "one-customer-at-a-time",
    "try-again-when-the-server-says-so",
    "upgrade-queuectl",
}


@pytest.mark.parametrize(
    "recipe",
    [pytest.param(each, id=each.name, marks=[pytest.mark.slow] if each.name in _SLOW else []) for each in RECIPES],
)
def test_a_recipe_runs_as_it_is_written(recipe: Recipe, tmp_path: Path, chat: tuple[list[str], str]) -> None:
    """Each file that it makes, each command that it runs and each line that it promises is the page's own."""
    needs = recipe.needs
    if sys.platform == "win32" and "bash" in needs:
        pytest.skip("written for bash; PowerShell is a stub under Wine, and its commands are checked by name")
    if missing := [name for name in needs if shutil.which(name) is None]:
        pytest.skip(f"not installed: {', '.join(sorted(missing))}")
    kitchen = Kitchen(tmp_path, *chat)
    try:
        for block in (*START.blocks, *recipe.blocks):
            kitchen.do(block)
    finally:
        kitchen.close()


def test_every_block_of_the_recipes_says_what_it_is_for() -> None:
    """No block is passed over in silence: it is run, or the page says why it is not."""
    known = {"file", "append", "run", "prints", "chat gets", "mail gets", "not run"}
    silent = [(recipe.title, block.text) for recipe in RECIPES for block in recipe.blocks if block.kind not in known]
    assert silent == []
    assert [
        block.text for recipe in RECIPES for block in recipe.blocks if block.kind == "not run" and not block.words
    ] == []
    ran = [recipe.title for recipe in RECIPES if any(block.kind == "run" for block in recipe.blocks)]
    assert len(ran) == len(RECIPES) and len(OWN_RECIPES) >= 13


@pytest.mark.parametrize("page", PAGES)
def test_every_command_of_the_page_exists(page: str) -> None:
    """Each `queuectl ...` of recipes.md and operations.md names a command and options that there are."""
    known: dict[str, Any] = dict(runpy.run_path(str(ROOT / "docs" / "generate.py"))["commands"]())
    groups = {name.split()[0] for name in known if " " in name}
    wrong = []
    found = list(commands(page))
    for words in found:
        rest = list(words)
        while rest[:1] == ["--spool"]:
            del rest[:2]
        if rest[:1] == ["--help"] or rest[:1] == ["COMMAND"] or (rest[:1] and rest[0] in groups and len(rest) == 1):
            continue
        name = next((name for size in (2, 1) if (name := " ".join(rest[:size])) in known), "")
        if not name:
            wrong.append(words)
            continue
        options = {option for param in known[name].params for option in (*param.opts, *param.secondary_opts)}
        options |= {"--spool", "--debug", "--help"}
        rest = rest[: rest.index("--")] if "--" in rest else rest
        wrong += [
            words for word in rest if word.startswith("-") and len(word) > 1 and word.partition("=")[0] not in options
        ]
    assert wrong == []
    assert len(found) > 20


@pytest.mark.parametrize("page", PAGES)
def test_what_is_not_run_is_at_least_well_formed(page: str) -> None:
    """TOML, JSON and Python blocks of the pages parse, and each line of JSON Lines."""

    def each_line(text: str) -> None:
        for line in text.splitlines():
            json.loads(line)

    parse = {"toml": tomllib.loads, "json": json.loads, "jsonl": each_line, "python": ast.parse}
    for recipe in sections(page):
        for block in recipe.blocks:
            parse.get(block.language, str)(block.text)
