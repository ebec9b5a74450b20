"""status.html: a snapshot as one page that needs nothing but a browser. Computes only.

The words and the looks are in `templates/`: page.html and its parts, page.css, page.js, and the SVG of the charts. Only
who writes the page imports this module, because it brings Jinja2.

A double click opens the page, so it has the rights of a file of this machine, and it shows texts of strangers.
Therefore: the environment makes each text `safe` and escapes it (`_finalize`, autoescape), and has no filter that
undoes this. The page fetches nothing, links only to files of the spool (`link`), and its policy lets only its own
script and style sheet act. Without that script the page is complete, and loads itself anew.
"""

from __future__ import annotations

import base64
import contextlib
import functools
import hashlib
import importlib.util
import os
import pickle
import sys
from collections.abc import Iterator
from typing import Any
from urllib.parse import quote

from jinja2 import Environment, FileSystemBytecodeCache, FileSystemLoader, StrictUndefined
from jinja2.bccache import Bucket
from markupsafe import Markup

from queuectl.model import times
from queuectl.model.lifecycle import DLQ, DONE, PENDING, REJECTED, RUNNING
from queuectl.model.progress import Progress
from queuectl.model.text import safe
from queuectl.monitor import page_facts
from queuectl.monitor.heartbeat import HEARTBEAT_S, STALE_S
from queuectl.monitor.queues import without_texts
from queuectl.monitor.rows import ROWS
from queuectl.monitor.snapshot import Snapshot, pace, size_text
from queuectl.spool.layout import LOGS

# The page loads itself anew this often; it is small, and most of the time it comes from the system's cache.
RELOAD_S = 10
TEMPLATES = os.path.join(os.path.dirname(__file__), "templates")
# Python makes this folder; without it nothing is kept.
CACHE = os.path.dirname(importlib.util.cache_from_source(__file__))
# Folders whose files the page links to. A name is one part of a path in each.
_LINKED = frozenset({PENDING, RUNNING, DONE, DLQ, REJECTED, LOGS})
# Rows of a table whose rest a command lists, so that the page stays small.
_SHOWN = 60
_FILTERS = ("length", "sum")
# With `dashboard = "counts"` no text of a job is on the page.
_TEXTS = "runs failures causes dues nexts held_jobs refusals arriving inboxes tags owners groups schedules"
_NO_TEXTS: dict[str, Any] = dict.fromkeys(_TEXTS.split(), ())


def render(found: Snapshot, *, advice: tuple[str, str]) -> str:
    """Return the whole page. `advice` is the next sensible command, or "", and why."""
    if not found.is_full:
        found = found._replace(**_NO_TEXTS, queues=without_texts(found.queues))
    found = found._replace(**{key: getattr(found, key)[:_SHOWN] for key in ("runs", "nexts", "dues", "refusals")})
    return (
        _environment()
        .get_template("page.html")
        .render(
            found=found,
            advice=advice,
            name=page_facts.name_of(found.path),
            run=page_facts.command_of(found.path),
            title=page_facts.title_of(found),
            headline=page_facts.headline_of(found),
            health=page_facts.health_of(found),
            is_busy=bool(found.counts[PENDING] + found.counts[RUNNING]),
            stats=page_facts.stats_of(found),
            ended=page_facts.ended_text(found.ended_pool),
            causes=page_facts.causes_of(found) if found.is_full else (),
            runs=[(row, page_facts.gauge(row, found.taken_at)) for row in found.runs],
            waiting_now=found.ready + found.stopped,
            plots=page_facts.plots_of(found),
            finishes=[row for row in found.finishes[: -_SHOWN - 1 : -1] if row.id or not found.is_full],
            durations=page_facts.durations_of(pace(found.finishes)),
            groups=(
                ("tags", "Tags", found.tags, found.tags_left),
                ("owners", "Owners", found.owners, found.owners_left),
            ),
            clusters=page_facts.clusters_of(found, _SHOWN),
            cancelled=[row for row in found.failures if row.cancelled][:_SHOWN],
        )
    )


def load() -> Iterator[None]:
    """Compile the templates, one a step, so that other work may go on between them. `render` does it if nobody has."""
    environment = _environment()
    for name in environment.list_templates(extensions=("html", "svg")):
        environment.get_template(name)
        yield


# -------------------------------------------------------------------------------------------------------- environment


@functools.cache
def _environment() -> Environment:
    made = Environment(
        loader=FileSystemLoader(TEMPLATES),
        autoescape=True,
        undefined=StrictUndefined,
        finalize=_finalize,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
        auto_reload=False,
        bytecode_cache=_Compiled(),
    )
    made.filters = {name: made.filters[name] for name in _FILTERS} | {
        "span": page_facts.span_text,
        "took": page_facts.took_text,
        "count": page_facts.count_text,
        "number": lambda number: f"{number:,}",
        "size": size_text,
        "stamp": lambda instant_at: times.to_text(instant_at)[:19] + "Z",
        "clock": lambda instant_at: times.to_text(instant_at)[:19].replace("T", " ") + " UTC",
        "link": link,
        "said": lambda run: str(Progress(run.percent, run.progress)),
    }
    css, js = source("page.css"), source("page.js")
    made.globals = {
        "css": Markup(css),  # a file of the package: nothing of a job is in it
        "js": Markup(js),
        "policy": policy(),
        "reload_s": RELOAD_S,
        "stale_s": f"{STALE_S:.0f}",
        "heartbeat_s": f"{HEARTBEAT_S:.0f}",
        "rows": ROWS,
    }
    return made


class _Compiled(FileSystemBytecodeCache):
    """Keeps compiled templates where Python keeps this module's: compiling takes each pool 60 ms of CPU.

    A template is compiled again if its text changes, or this module, which configures the compiler.
    """

    def __init__(self) -> None:
        with open(__file__, "rb") as file:
            version = hashlib.sha256(file.read()).hexdigest()[:8]
        super().__init__(CACHE, f"%s.{sys.implementation.cache_tag}-{version}.bin")

    def load_bytecode(self, bucket: Bucket) -> None:
        """Load a compiled template, if there is a whole one that can be read."""
        try:
            super().load_bytecode(bucket)
        except (OSError, EOFError, ValueError, pickle.UnpicklingError):
            bucket.reset()

    def dump_bytecode(self, bucket: Bucket) -> None:
        """Keep a compiled template, if this process may write there."""
        if not sys.dont_write_bytecode:
            with contextlib.suppress(OSError):
                super().dump_bytecode(bucket)


def _finalize(value: Any) -> Any:
    """Return what a template shows, safe to read; autoescape makes it safe for HTML."""
    return value if isinstance(value, Markup) else safe(str(value))


@functools.cache
def source(name: str) -> str:
    """Return a file of `templates/`, with the ends of lines that a browser hashes."""
    with open(os.path.join(TEMPLATES, name), encoding="utf-8") as file:
        return file.read()


@functools.cache
def policy() -> str:
    """Return the content security policy: nothing but this page's own style sheet and script."""
    return (
        f"default-src 'none'; style-src '{_hash(source('page.css'))}'; script-src '{_hash(source('page.js'))}'; "
        "base-uri 'none'; form-action 'none'"
    )


def _hash(text: str) -> str:
    return "sha256-" + base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()


# -------------------------------------------------------------------------------------------------------------- facts


def link(path: str) -> str:
    """Return the address of a file of the spool, relative to the page, or "" if the path could lead elsewhere."""
    folder, _, name = path.replace(os.sep, "/").partition("/")
    if folder not in _LINKED or not name or name in (".", "..") or "/" in name or "\\" in name:
        return ""
    try:
        return f"{folder}/{quote(name, safe='', errors='surrogateescape')}"
    except UnicodeEncodeError:  # half a surrogate pair, which Windows allows in names
        return ""
