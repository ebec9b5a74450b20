"""Checks and fills in the command of an inbox of files: `command = ["ocr", "{file}", "{out}/{stem}.txt"]`.

Computes only. No shell reads the words. The producer of a file decides its name and content, so a name must not become
a program, a program's text or an option (promise P10): the parser refuses a placeholder where a program expects code,
and `fill_in` refuses a name that would begin a word like an option.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Mapping

from queuectl.errors import InvalidJobError
from queuectl.model import names, programs
from queuectl.model.command import BATCH_ENDINGS, is_absolute, is_batch, why_misread

PLACEHOLDERS = ("file", "name", "stem", "suffix", "subfolder", "folder", "out")
DONE_FILE_PLACEHOLDERS = ("name", "stem")
# Names of unfinished files and conflicting copies that keep or lengthen the ending, whatever it is; names that may be
# jobs' are in `names`.
_UNFINISHED = re.compile(
    r"""\.conflict\d*(?:\.[^.]{1,16})?$            # rclone bisync, Resilio: scan.conflict1.pdf, scan.pdf.conflict1
      | \.(?:rclone|tmp)[a-z0-9]{4,16}\.[^.]{1,16}$  # scan.tmpAb12.pdf, written by tools that keep the ending
      | \.sb-[0-9a-f]{8}-[a-z0-9]{6}$               # macOS, while a program saves: scan.pdf.sb-1a2b3c4d-Xy12Ab
      | ___jb_(?:tmp|old|bak)___$                   # editors of JetBrains
    """,
    re.VERBOSE | re.IGNORECASE,
)
_PART = re.compile(r"\{\{|\}\}|\{([A-Za-z_-]+)\}")
# What `{subfolder}` takes with it at the top, where it is empty: `{subfolder}/{name}` must not begin at the root.
_AT_TOP = re.compile(r"(\{\{|\}\})|\{subfolder\}[\\/]*" if sys.platform == "win32" else r"(\{\{|\}\})|\{subfolder\}/*")
_CONTROL = re.compile("[\x00-\x1f\x7f]")
_FOLDER = re.compile(r"[^\x00-\x1f\x7f/\\:*?\"<>|]{1,100}")
# What an option begins with: `-x`, `+cmd` (vim, less, sort), `@file` with more arguments (gcc, java, 7z).
_OPTION_SIGNS = ("-", "+", "@")
WORKING, DELETE, KEEP = "working", "delete", "keep"


def why_bad_command(words: tuple[str, ...], *, has_out: bool) -> str:
    """Return the mistake in a command of the settings, or ""."""
    if not words or not words[0].strip() or any("\0" in word for word in words):
        return 'takes a list: a program and its arguments, such as ["pdftotext", "{file}", "{folder}/{stem}.txt"]'
    if why := next(filter(None, (why_bad_text(word, has_out=has_out) for word in words)), ""):
        return why
    program = words[0]
    if has_placeholder(program):
        return "a file must not choose the program: no placeholder in its first word"
    separators = r"[\\/]|^[A-Za-z]:" if sys.platform == "win32" else "/"
    if not is_absolute(program) and re.search(separators, program):
        return f"{program!r:.60} is neither absolute nor a plain name; write its full path"
    if is_batch(program):
        return f"{program!r:.60} ({', '.join(BATCH_ENDINGS)}): cmd.exe would read its arguments again as commands"
    for word in words:
        first = _first_placeholder(word)
        option = word[: first.start()] if first is not None else ""
        if option.startswith("-") and programs.runs_value(option.rstrip("=")):
            return f"{word!r:.60} runs its value, which a file would choose"
    return programs.why_unsafe(words, _kind).replace("a job's words", "the name or content of a file")


def why_bad_text(text: str, *, has_out: bool) -> str:
    """Return the mistake in the placeholders of a text, or ""."""
    for found in _PART.finditer(text):
        if found[1] and found[1] not in PLACEHOLDERS:
            known = ", ".join(f"{{{each}}}" for each in PLACEHOLDERS)
            return f"{text!r:.60}: there is no placeholder {{{found[1][:30]}}}; use {known}, or write {{{{ for a brace"
        if found[1] == "out" and not has_out:
            return f"{text!r:.60}: {{out}} needs the key out, the folder of the results"
    return ""


def _kind(word: str) -> int:
    if not has_placeholder(word):
        return programs.FIXED
    return programs.DASH if word.startswith(("-", "+")) else programs.FREE


def _first_placeholder(word: str) -> re.Match[str] | None:
    return next((found for found in _PART.finditer(word) if found[1]), None)


def has_placeholder(word: str) -> bool:
    """Return whether a text changes with the file."""
    return _first_placeholder(word) is not None


def why_bad_done_file(pattern: str) -> str:
    """Return the mistake in `done_file`, or ""."""
    used = {found[1] for found in _PART.finditer(pattern) if found[1]}
    if not used or not used <= set(DONE_FILE_PLACEHOLDERS):
        return 'takes a name with {name} or {stem}, such as "{name}.done"'
    if pattern in ("{name}", "{name}.failed.txt") or re.search(r"[\x00-\x1f/\\]", pattern):
        return "takes the name of another file in the inbox"
    return ""


def is_outside(folder: str) -> bool:
    """Return whether a folder for files whose jobs have ended is not in the inbox: it is an absolute path."""
    return is_absolute(folder)


def own_folders(*ends: str) -> set[str]:
    """Return those of the settings for files whose jobs have ended that are names of folders in the inbox."""
    return {each for each in ends if each not in (DELETE, KEEP) and not is_outside(each)}


def why_bad_folder(name: str) -> str:
    """Return the mistake in the folder for files whose jobs have ended, or ""."""
    if is_outside(name):
        parts = re.split(r"[\\/]" if sys.platform == "win32" else "/", name)
        if ".." in parts:
            return "contains ..; write the path of the folder without it"
        if _CONTROL.search(name) or not any(parts[1:]):
            return "takes the absolute path of a folder"
        return ""
    if "/" in name or "\\" in name or name in (".", ".."):
        return "is a relative path; write the name of a folder in the inbox, or the absolute path of one elsewhere"
    if not _FOLDER.fullmatch(name) or name.startswith(".") or name[-1] in ". " or names.is_device(name):
        return "takes the name of a folder in the inbox, or an absolute path"
    if name.lower() == WORKING:
        return f"{WORKING}/ holds the files of jobs that have not ended; use another folder"
    return ""


def why_bad_subfolder(sub: str) -> str:
    """Return why no command may get a file of this subfolder (a path with slashes), as a sentence, or ""."""
    for name in sub.split("/") if sub else ():
        if why := why_bad_name(name):
            return f"the folder {name[:60]!r} on the way to it: {why}"
    return ""


def is_unfinished(name: str) -> bool:
    """Return whether clients use a name for unfinished files and conflicting copies: such a file is left alone."""
    return names.is_temporary(name) or _UNFINISHED.search(name) is not None


def why_bad_name(name: str) -> str:
    """Return why no command may get a file of this name, as a sentence, or ""."""
    try:
        name.encode("utf-8")
    except UnicodeEncodeError:
        return "its name is not UTF-8"
    if _CONTROL.search(name):
        return "its name contains a control character"
    if sys.platform == "win32":
        if names.is_device(name) or name[-1:] in (" ", "."):
            return "its name means something else to Windows"
        return f"its name {why}" if (why := why_misread(name)) else ""
    return ""


def done_file_of(pattern: str, name: str) -> str:
    """Return the name of the marker that says that the file `name` is whole."""
    return filled(pattern, {"name": name, "stem": split_ending(name)[0]})


def split_ending(name: str) -> tuple[str, str]:
    """Return the stem of a file's name and its ending with the dot, "" if it has none. A first dot begins no ending."""
    stem, dot, ending = name.rpartition(".")
    return (stem, dot + ending) if stem.strip(".") else (name, "")


def fill_in(words: tuple[str, ...], path: str, *, out: str, subfolder: str = "") -> list[str]:
    """Return the words to run for the file at `path`, which is absolute. A value that is filled in is not read again.

    Args:
        subfolder: the path of its subfolder in the inbox, as this system writes it; "" at the top.

    Raises:
        InvalidJobError: a word would begin like an option, because of the name.
    """
    values = values_of(path, out=out, subfolder=subfolder)
    made = []
    for word in words:
        text = filled(word, values)
        if would_be_option(word, text):
            hint = "rename the file, or write {file} in the command instead"
            raise InvalidJobError(f"its name would become the option {text[:60]!r}", hint=hint)
        if text == "" and (subfolder or _AT_TOP.sub("", word)):
            raise InvalidJobError(f"its name leaves nothing of {word!r}", hint="rename the file")
        made.append(text)
    return made


def would_be_option(word: str, text: str) -> bool:
    """Return whether a text begins like an option only because of what was filled in for a placeholder."""
    return text.startswith(_OPTION_SIGNS) and text[0] != word[:1]


def values_of(path: str, *, out: str, subfolder: str) -> dict[str, str]:
    """Return what the placeholders stand for, of the file at `path`. Arguments as of `fill_in`."""
    separators = "\\/" if sys.platform == "win32" else "/"
    at = max(path.rfind(each) for each in separators)
    folder, name = path[:at], path[at + 1 :]
    stem, suffix = split_ending(name)
    made = {"file": path, "name": name, "stem": stem, "suffix": suffix, "folder": folder, "out": out}
    return made | {"subfolder": subfolder}


def filled(word: str, values: Mapping[str, str]) -> str:
    """Return a text with its placeholders filled in, once."""
    if values.get("subfolder") == "":
        word = _AT_TOP.sub(lambda found: found[1] or "", word)
    return _PART.sub(lambda found: values[found[1]] if found[1] else found[0][0], word)
