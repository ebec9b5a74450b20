#!/usr/bin/env python3
"""winpy ARGS...: the rig's Windows python.exe under Wine. Installed as DIR/bin/winpy by rig.py.

    winpy -m pytest tests/unit      the current folder is mapped to drive Z:, the exit code is passed on (low 8 bits)
    winrun queuectl list            any Windows program; a bare name is looked for in Scripts\\ first
    winpy --shutdown                ends the rig's wineserver, which otherwise ends after a minute without a client
    RIG_ENV_PYTHONUTF8=1 winpy ...  PYTHON* and the like are not passed on; RIG_ENV_NAME is, as NAME

CPython refuses the handle that Wine makes of a plain file (init_sys_streams, error 6), and a process that was started
detached would keep the caller's pipe open. So every standard stream that is no terminal goes through a pipe of ours,
which is read for one second more after the program has ended.
"""

from __future__ import annotations

import os
import re
import shutil
import signal
import stat
import subprocess
import sys
import threading

ROOT = os.path.dirname(os.path.dirname(os.path.realpath(__file__)))
LINGER_S = 60
GRACE_S = 1.0
# What belongs to the Linux side: its Python, its shell and its desktop.
_UNWANTED = re.compile(
    r"(PYTHON|VIRTUAL_ENV|CONDA|PYENV|LD_|XDG_|DBUS_|LC_|LESS|HIST|PYTEST_)"
    r"|^(LANGUAGE|DISPLAY|WAYLAND_DISPLAY|HOME|SHELL|TERM|COLORTERM|LS_COLORS|PWD|OLDPWD|SHLVL|EDITOR|PAGER|MAIL"
    r"|LOGNAME|USER|_)$"
)


def find_wine() -> str | None:
    """The 64-bit Wine loader, or None. The wrapper `wine` of Debian complains about a missing 32-bit part."""
    for name in (os.environ.get("RIG_WINE", ""), "/usr/lib/wine/wine64", "wine64", "wine"):
        if name and (found := shutil.which(name)):
            return found
    return None


def environment(root: str) -> dict[str, str]:
    """What a Windows program gets to see."""
    env = {key: value for key, value in os.environ.items() if not _UNWANTED.match(key)}
    for key in [key for key in env if key.startswith("RIG_ENV_")]:
        env[key.removeprefix("RIG_ENV_")] = env.pop(key)
    # The language decides the code page: with this one cp1252, as on most machines in the west.
    env.update(WINEPREFIX=f"{root}/prefix", WINEARCH="win64", LANG="en_US.UTF-8", LC_ALL="en_US.UTF-8")
    env.setdefault("WINEDEBUG", "-all")
    env["WINEDLLOVERRIDES"] = "mscoree,mshtml=;winedbg.exe=d"
    env.setdefault("PYTHONPYCACHEPREFIX", r"C:\pycache")  # no .pyc of another system in the source tree
    if "en_US.utf8" not in subprocess.run(["locale", "-a"], capture_output=True, text=True, check=False).stdout:
        env.update(LANG="C.UTF-8", LC_ALL="C.UTF-8")
    return env


def program(argv: list[str]) -> list[str]:
    """The words for Wine."""
    if os.path.basename(sys.argv[0]) != "winrun":
        return [r"P:\python.exe", *argv]
    if not argv:
        sys.exit("usage: winrun PROGRAM ARGS...")
    for name in (argv[0], argv[0] + ".exe"):
        if os.path.isfile(f"{ROOT}/python/Scripts/{name}"):
            return [rf"P:\Scripts\{name}", *argv[1:]]
    return argv


def warm_up(wine: str, env: dict[str, str]) -> None:
    """Start the wineserver if it is not there.

    Its first client also starts Wine's services, which keep that client's streams: let it be an idle one.
    """
    server = shutil.which("wineserver") or "/usr/lib/wine/wineserver"
    quiet = {"stdin": subprocess.DEVNULL, "stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL, "env": env}
    if subprocess.run([server, f"-p{LINGER_S}"], check=False, **quiet).returncode == 0:
        subprocess.run([wine, "cmd", "/c", "exit"], check=False, **quiet)


def main() -> None:
    wine = find_wine()
    if wine is None:
        sys.exit("winpy: Wine is not installed")
    env = environment(ROOT)
    argv = sys.argv[1:]
    if argv == ["--shutdown"]:
        server = shutil.which("wineserver") or "/usr/lib/wine/wineserver"
        sys.exit(subprocess.run([server, "-k"], env=env, check=False).returncode)
    warm_up(wine, env)
    words = [wine, *program(argv)]
    if all(_is_device(fd) for fd in (0, 1, 2)):
        os.execvpe(words[0], words, env)
    sys.exit(_run(words, env))


def _is_device(fd: int) -> bool:
    try:
        return stat.S_ISCHR(os.fstat(fd).st_mode)
    except OSError:
        return False


def _run(words: list[str], env: dict[str, str]) -> int:
    """Run with pumps between the streams; the exit code."""
    stdin = 0 if not stat.S_ISREG(os.fstat(0).st_mode) else subprocess.PIPE
    same = (os.fstat(1).st_dev, os.fstat(1).st_ino) == (os.fstat(2).st_dev, os.fstat(2).st_ino)
    stdout = None if _is_device(1) else subprocess.PIPE
    stderr = subprocess.STDOUT if same else None if _is_device(2) else subprocess.PIPE
    process = subprocess.Popen(words, env=env, stdin=stdin, stdout=stdout, stderr=stderr)
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        signal.signal(number, lambda *_: process.terminate())
    pumps = []
    if process.stdin is not None:
        threading.Thread(target=_pump, args=(0, process.stdin.fileno(), process.stdin.close), daemon=True).start()
    for stream, fd in ((process.stdout, 1), (process.stderr, 2)):
        if stream is not None:
            pumps.append(threading.Thread(target=_pump, args=(stream.fileno(), fd), daemon=True))
            pumps[-1].start()
    code = process.wait()
    for pump in pumps:
        pump.join(GRACE_S)
    return code if code >= 0 else 128 - code


def _pump(source: int, target: int, then: object = None) -> None:
    try:
        while data := os.read(source, 65536):
            while data:
                data = data[os.write(target, data) :]
    except OSError:
        pass
    if callable(then):
        then()


if __name__ == "__main__":
    main()
