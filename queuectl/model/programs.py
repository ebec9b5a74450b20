"""Decides which words of a command a job must not fill in, because the program runs them as code (promise P10).

A parameter must never become a program, its text, the file with its text, or an option that runs a program. So for a
program that accepts code, a walk checks its options up to the word with the code, and must know each of them. It
refuses a word of a job before or at that place, and an unknown option. Arguments follow after that place; the settings
decide their meaning.

Some programs run the program that follows them (`env`, `timeout`, `sudo`): the walk continues at that program. Programs
that pass their arguments to a shell (`ssh`, `watch`), or that can run commands in too many ways to list, accept no
words of a job at all.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from typing import NamedTuple

FIXED, NUMBER, FREE, DASH = range(4)
"""The kind of a word: from the settings (also a `choice`); a job's whole number of 0 or more; another word of a job; a
word of a job that may begin with a dash."""
Kind = Callable[[str], int]

_SCRIPT, _PROGRAM, _ARGUMENTS, _NOTHING = "script", "program", "arguments", "nothing"


class _Takes(NamedTuple):
    """How a program accepts code. The texts are regular expressions that match a whole option."""

    first: str = _SCRIPT
    """The kind of the first operand: a script (or a program's text), a program to start, an argument; or a job may set
    no word from the first operand on."""
    flags: str = ""
    """Options without a value, or with their value in the same word."""
    values: str = ""
    """Options whose value is the next word and is not code."""
    code: str = ""
    """Options whose next word is code, or names it. Then operands are arguments."""
    ends: str = ""
    """As `code`, and all following words are arguments."""
    operands: int = 0
    """How many operands come before the operand that `first` describes."""
    assigns: bool = False
    """Whether NAME=VALUE may come before it."""
    mixes: bool = False
    """Whether the program also accepts options after operands."""
    code_is_all: bool = False
    """For a program whose operands are arguments: whether all words after one of `ends` are code."""


_PYTHON_FLAGS = "bBdEhiIOPqRsStuvVx"
_SHELL_FLAGS = "abcefhiklmnprtuvxBCDEHPT"
_SHELL = _Takes(
    # -c only says that the first operand is a text and not a file's name.
    flags=rf"[-+][{_SHELL_FLAGS}]+|--(login|norc|noprofile|posix|restricted|verbose|no-rcs)",
    values=rf"[-+][{_SHELL_FLAGS}]*[oO][{_SHELL_FLAGS}]*|--rcfile|--init-file",
)
_AWK = _Takes(
    flags=r"-[bcgnNOPrsStV]|-[Fv].+|--(posix|traditional|re-interval|sandbox|optimize|lint|csv|bignum|characters-as-bytes)"
    r"|--(field-separator|assign)=.+",
    values=r"-[Fvil]|--(field-separator|assign|include|load)",
    code=r"-[fe]|--(file|source)",
    ends=r"-E|--exec",
)
_SED_FLAGS = "nErsuz"
_SHELLS = "sh bash dash zsh ksh mksh lksh pdksh ash rbash yash csh tcsh"
_AWKS = "awk gawk mawk nawk bwk"
_OTHERS = "tclsh wish guile racket swipl groovy scala elixir escript osascript wscript cscript"
_RUNNERS = "nohup chronic eatmydata fakeroot unbuffer busybox toybox linux32 linux64 catchsegv"

_TABLE: dict[str, _Takes] = {
    **dict.fromkeys(_SHELLS.split(), _SHELL),
    "fish": _Takes(
        flags=r"-[NPil]|--(no-config|private|interactive|login)", values="-C|--init-command", code="-c|--command"
    ),
    **dict.fromkeys(
        ("python", "pythonw", "pypy"),
        _Takes(
            flags=rf"-[{_PYTHON_FLAGS}]+|-[{_PYTHON_FLAGS}]*[WX].+",
            values=rf"-[{_PYTHON_FLAGS}]*[WX]|--check-hash-based-pycs",
            ends=rf"-[{_PYTHON_FLAGS}]*[cm]",
        ),
    ),
    # -n and -p open the arguments as files, and perl runs a file's name that ends in | as a command.
    "perl": _Takes(flags=r"-[cflsStTuUvVwWX0-9]+|-[ImMCD].+", values="-I", code=r"-[cflsStTuUvVwWX0-9]*[eE]"),
    "ruby": _Takes(flags=r"-[wvUds]+|-W\w*|-[IrEC].+|--[a-z-]+=.+", values=r"-[IrEC]", code="-e"),
    "node": _Takes(
        flags=r"--[a-z-]+=.+|--no-warnings|--enable-source-maps|--trace-warnings",
        values=r"-r|--require|--import|--conditions|-C",
        code=r"-e|-p|-pe|--eval|--print",
    ),
    "php": _Takes(flags=r"-[nqC]|-d.+", values=r"-[dcz]", ends=r"-[rf]|--run|--file"),
    "lua": _Takes(flags=r"-[vEW]|-l.+", values=r"-[le]"),  # after -e the first operand is still a script
    "luajit": _Takes(flags=r"-[vE]|-l.+", values=r"-[lej]"),
    "rscript": _Takes(flags=r"--[a-z-]+(=.+)?", code="-e"),
    "julia": _Takes(flags=r"--[a-z-]+=.+", values=r"-[ptLCJ]", ends=r"-[eE]|--eval|--print"),
    "java": _Takes(
        flags=r"-[XD].+|-ea|-esa|-server|--[a-z-]+=.+", values=r"-cp|-classpath|--class-path|-p", ends="-jar"
    ),
    **dict.fromkeys(_OTHERS.split(), _Takes()),
    **dict.fromkeys(_AWKS.split(), _AWK),
    "sed": _Takes(
        flags=rf"-[{_SED_FLAGS}]+|-[{_SED_FLAGS}]*i\S*|--(quiet|silent|regexp-extended|separate|unbuffered|null-data"
        r"|posix|sandbox|follow-symlinks)|--(in-place|line-length)(=.+)?",
        values="-l",
        code=rf"-[{_SED_FLAGS}]*[ef]|--expression|--file",
        mixes=True,
    ),
    **dict.fromkeys(
        ("powershell", "pwsh"),
        _Takes(
            _NOTHING,
            flags=r"(?i:-(nologo|noprofile|noninteractive|mta|sta|nop|noni))",
            values=r"(?i:-(executionpolicy|ep|ex|windowstyle|w|inputformat|outputformat|workingdirectory|wd))",
            ends=r"(?i:-f(ile)?)",
        ),
    ),
    "env": _Takes(
        _PROGRAM,
        flags=r"-[i0v]+|-|--(ignore-environment|null|debug)|--(unset|chdir)=.+|--\w+-signal(=.+)?",
        values=r"-u|-C|--unset|--chdir",
        assigns=True,
    ),
    "nice": _Takes(_PROGRAM, flags=r"--?[0-9]+|-n-?[0-9]+|--adjustment=.+", values=r"-n|--adjustment"),
    "ionice": _Takes(
        _PROGRAM, flags=r"-t|-[cn][0-9]|--(class|classdata)=.+|--ignore", values=r"-[cn]|--class|--classdata"
    ),
    "setsid": _Takes(_PROGRAM, flags=r"-[cfw]+|--(ctty|fork|wait)"),
    "stdbuf": _Takes(_PROGRAM, flags=r"-[ioe].+|--(input|output|error)=.+", values=r"-[ioe]|--(input|output|error)"),
    "time": _Takes(_PROGRAM, flags=r"-[pvaq]+|--(portability|verbose|append|quiet)", values=r"-[fo]|--format|--output"),
    "timeout": _Takes(
        _PROGRAM,
        flags=r"-[vfp]|--(verbose|foreground|preserve-status)|--(signal|kill-after)=.+|-[sk].+",
        values=r"-[sk]|--signal|--kill-after",
        operands=1,
    ),
    "flock": _Takes(
        _PROGRAM, flags=r"-[nsxueoFv]+|--(nonblock|shared|exclusive|no-fork|verbose|close)", values=r"-[wE]", operands=1
    ),
    "sudo": _Takes(
        _PROGRAM,
        flags=r"-[nEHbkPSBA]+|--(non-interactive|set-home|background)|--preserve-env(=.+)?|--(user|group)=.+",
        values=r"-[ugChpDRTUrt]|--user|--group",
        assigns=True,
    ),
    "doas": _Takes(_PROGRAM, flags="-n", values=r"-[uC]"),
    "systemd-cat": _Takes(_PROGRAM, flags=r"--(identifier|priority)=.+", values=r"-[tp]"),
    **dict.fromkeys(_RUNNERS.split(), _Takes(_PROGRAM)),
    "py": _Takes(flags=r"-[0-9.]+|-V:.+", ends=r"-[cm]"),
    "find": _Takes(_ARGUMENTS, ends=r"-(exec|execdir|ok|okdir)", code_is_all=True),
    "tar": _Takes(
        _ARGUMENTS,
        ends=r"-[A-Za-z]*[IF][A-Za-z]*|--(use-compress-program|info-script|new-volume-script|rsh-command|rmt-command"
        r"|to-command|checkpoint-action)",
        code_is_all=True,
    ),
    "rsync": _Takes(_ARGUMENTS, ends=r"-\w*e|--(rsh|rsync-path|early-input)"),
    "zip": _Takes(_ARGUMENTS, ends=r"-TT|--unzip-command"),
    "sort": _Takes(_ARGUMENTS, ends="--compress-program"),
    "split": _Takes(_ARGUMENTS, ends="--filter"),
    "wget": _Takes(_ARGUMENTS, ends=r"-e|--(execute|config|use-askpass)"),
    "curl": _Takes(_ARGUMENTS, ends=r"-K|--config"),
}
# These programs run commands in too many ways: by a shell, by the content of a file, by `+command`.
_NEVER_TEXT = """cmd command mshta rundll32 regsvr32 msbuild forfiles wmic schtasks runas msiexec installutil
ssh mosh rsh rlogin su runuser pkexec login newgrp sg xargs parallel watch script scriptreplay expect screen tmux
at batch crontab entr make gmake ninja just rake gradle ant mvn cmake scons bazel npm npx pnpm yarn bun deno uv uvx
pip pipx poetry cargo go dotnet tox nox git hg svn
vi vim nvim view ex ed emacs emacsclient nano less more man
gdb lldb strace ltrace valgrind perf rr taskset chrt numactl prlimit setpriv chroot unshare nsenter systemd-run
start-stop-daemon daemonize setarch firejail bwrap proot xvfb-run dbus-run-session capsh cgexec proxychains torsocks
docker podman nerdctl kubectl lxc-attach machinectl vagrant ansible ansible-playbook salt
psql mysql mariadb sqlite3 mongo mongosh gnuplot m4 octave r ghci runghc sbcl clisp
ipython jupyter ptpython bpython irb pry jshell nc ncat netcat socat"""
_NEVER = frozenset(_NEVER_TEXT.split())
# Modules of Python that run their arguments.
_MODULES_TEXT = """timeit pdb trace profile cProfile doctest unittest runpy pip pytest pydoc code coverage debugpy
IPython ipykernel jupyter nose tox nox invoke fabric idlelib bdb venv ensurepip zipapp memray scalene kernprof
lib2to3"""
_PYTHON_MODULES = frozenset(_MODULES_TEXT.split())
# These words count as a program anywhere in a command, also after another program.
_ANYWHERE_TEXT = (
    "fish python pythonw pypy perl ruby node php lua osascript wscript cscript powershell pwsh cmd mshta rundll32"
)
_ANYWHERE = frozenset(f"{_ANYWHERE_TEXT} {_SHELLS} {_AWKS}".split())
# Operands that a script follows.
_SUBCOMMANDS = {"node": ("inspect", "debug")}
# Options that run their value in every program.
_RUNS_VALUE = re.compile(
    r"-(exec|execdir|ok|okdir)|--(exec|exec-batch|execute|eval|command|shell|rsh|rsync-path|pager|script|run"
    r"|use-compress-program|compress-program|to-command|checkpoint-action|filter-command|init-command|on-exit)"
)


def why_unsafe(argv: Sequence[str], kind: Kind) -> str:
    """Return how a job could run another program than the command, as a sentence, or "".

    Args:
        argv: the words of the command.
        kind: returns whether a word is FIXED, or a NUMBER, FREE or DASH of the job.
    """
    for place, word in enumerate(argv):
        if kind(word) != FIXED:
            continue
        name = program_name(word)
        if (place == 0 or name in _ANYWHERE) and (why := _why(name, argv[place + 1 :], kind)):
            return why
        if _RUNS_VALUE.fullmatch(word) and place + 1 < len(argv) and kind(argv[place + 1]) >= FREE:
            return f"{word} runs the next word, which a job would choose"
    return ""


def runs_value(option: str) -> bool:
    """Return whether an option runs its value in every program."""
    return _RUNS_VALUE.fullmatch(option) is not None


def program_name(word: str) -> str:
    """Return a program's name for the table: no folder, lower case, and no version unless the table has it."""
    name = re.split(r"[\\/]", word)[-1].lower().removesuffix(".exe")
    if name in _TABLE or name in _NEVER:
        return name
    return re.sub(r"(?<=[a-z])-?[0-9]+([.][0-9]+)*[a-z]?$", "", name) or name


def _why(name: str, words: Sequence[str], kind: Kind) -> str:
    """Return the mistake in the words after the program `name`, or ""."""
    if all(kind(word) == FIXED for word in words):
        return ""
    if name in _NEVER:
        return f"{name} can run a job's words as commands; use your own script as the program instead"
    takes = _TABLE.get(name)
    return "" if takes is None else _Walk(name, takes, words, kind).why()


class _Walk:
    """One walk over the words after a program's name."""

    def __init__(self, name: str, takes: _Takes, words: Sequence[str], kind: Kind) -> None:
        self._name = name
        self._takes = takes
        self._words = words
        self._kind = kind
        self._at = 0

    def why(self) -> str:
        """Return the mistake, or ""."""
        takes = self._takes
        if takes.first == _ARGUMENTS:
            return self._only_arguments()
        has_code, operands = False, takes.operands
        while self._at < len(self._words):
            word, kind = self._words[self._at], self._kind(self._words[self._at])
            if kind == DASH or (kind >= FREE and not has_code):
                return self._runs()
            if kind != FIXED and (has_code or not operands):
                break  # an operand, judged below
            if kind == NUMBER or not word.startswith(("-", "+")) or word == "--":
                if word == "--":
                    self._at += 1
                    if not operands:
                        break
                elif takes.assigns and "=" in word:
                    self._at += 1
                elif operands:
                    self._at, operands = self._at + 1, operands - 1
                else:
                    break
                continue
            if fits(takes.ends, word):
                return self._behind_code()
            if fits(takes.code, word) or fits(takes.values, word):
                is_code = fits(takes.code, word)
                if self._next() >= (NUMBER if is_code else FREE):
                    return self._runs()
                has_code, self._at = has_code or is_code, self._at + 2
            elif fits(takes.flags, word):
                self._at += 1
            else:
                return f"{self._name} has the option {word[:40]!r} before a job's words, and queuectl does not know it"
        return self._operands(has_code)

    def _operands(self, has_code: bool) -> str:
        words = self._words[self._at :]
        if not words:
            return ""
        if self._takes.mixes and any(self._kind(word) == DASH for word in words):
            return self._runs()
        if has_code:
            return ""
        if self._kind(words[0]) != FIXED or self._takes.first == _NOTHING:
            return self._runs()
        if words[0] in _SUBCOMMANDS.get(self._name, ()):
            return self._runs()
        if self._takes.first == _PROGRAM:
            return _why(program_name(words[0]), words[1:], self._kind)
        return ""

    def _behind_code(self) -> str:
        word = self._words[self._at + 1] if self._at + 1 < len(self._words) else ""
        if self._next() != FIXED:
            return self._runs()
        if self._name.startswith("py") and self._words[self._at].endswith("m"):
            module = word.split(".")[0]
            if module in _PYTHON_MODULES:
                return f"the module {module} can run a job's words as commands"
        return ""

    def _only_arguments(self) -> str:
        for at, word in enumerate(self._words):
            if self._kind(word) == DASH and "--" not in self._words[:at]:
                return self._runs()
            # tar also accepts its first options without a dash
            option = f"-{word}" if at == 0 and self._name == "tar" and not word.startswith("-") else word
            if fits(self._takes.ends, option):
                code = self._words[at + 1 :] if self._takes.code_is_all else self._words[at + 1 : at + 2]
                if any(self._kind(each) != FIXED for each in code):
                    return self._runs()
        return ""

    def _next(self) -> int:
        return self._kind(self._words[self._at + 1]) if self._at + 1 < len(self._words) else FIXED

    def _runs(self) -> str:
        return f"{self._name} would run a job's words as a program; use your own script as the program instead"


def fits(pattern: str, word: str) -> bool:
    """Return whether a pattern matches a whole option; "" matches nothing."""
    return bool(pattern) and re.fullmatch(pattern, word, re.DOTALL) is not None
