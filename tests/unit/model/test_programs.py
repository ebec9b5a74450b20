"""Which commands of the settings a job could turn into something else."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from queuectl.errors import InvalidSettingsError
from queuectl.model import command, programs

# x: any text without a dash before it; p: a path; d: any text; n: a whole number; c: one of the settings' words.
PARAMS = {
    "x": {"type": "match", "pattern": ".*"},
    "p": {"type": "path", "under": "/srv" if sys.platform != "win32" else "C:\\srv"},
    "d": {"type": "match", "pattern": ".*", "dash": True},
    "n": {"type": "int", "min": 1},
    "c": {"type": "choice", "of": ["a.sh", "b.sh"]},
}

REFUSED = """
sh -c {x}
bash -o pipefail {x}
bash -oe pipefail {x}
bash -eo pipefail -c {x}
bash -c -x {x}
bash +x {p}
bash --rcfile {p} a.sh
bash --unknown a.sh {x}
bash -- {p}
zsh -fc {x}
fish -c {x}
fish -C a {x}
python3 {x}
python3 -W ignore {x}
python3.11 -X dev {p}
python3.13t -u {p}
python3 -bbWignore {p}
python3 -Ic {x}
python3 -m {x}
python3 -m timeit {x}
python3 -m pip install {x}
python3 --whatever {p}
py -3 {p}
perl -I lib {x}
perl -Ilib {x}
perl -we {x}
perl -ne print {p}
perl -e 1 {d}
perl -e 1 -e {x}
ruby -r json {x}
ruby -ne 1 {p}
node --require a {x}
node inspect {p}
node -p {x}
php -d a=1 {x}
php -r {x}
lua -e x=1 {x}
java {x}
java -cp {p} Main
java -cp a {x}
deno run {x}
Rscript -e {x}
awk {x}
awk -v a=1 {x}
awk -va=1 {x}
awk -F : {x}
gawk -i inplace {x}
awk -f {p}
awk -v {x} 1
sed {x}
sed -n {x}
sed -i.bak -e {x}
sed -e p {d}
sed --file {p} a
ssh host {x}
ssh {x}
su -c {x}
su - anna -c {x}
env {x}
env A=1 sh -c {x}
env -u A bash -e {x}
env -S sh {x}
env --split-string=sh {x}
env -i -C / {x}
nice {x}
nice -n 5 sh -c {x}
nice -n 5 awk -v a=1 {x}
nice -19 python3 -W ignore {x}
nohup {x}
timeout 5 {x}
timeout -s KILL 5 bash -o pipefail {x}
timeout {x} a
stdbuf -oL sed -n {x}
setsid -w perl -I lib {x}
sudo {x}
sudo -u anna sh -c {x}
sudo -s {x}
sudo -i {x}
sudo A=1 ssh host {x}
doas -u anna {x}
flock -n /lock -c {x}
flock /lock {x}
busybox {x}
busybox sh -c {x}
busybox awk {x}
xargs {x}
xargs -n 1 a {x}
find . -exec {x}
find . -name a -exec rm {x}
find {p} -execdir sh {x}
find {d}
script -c {x}
watch {x}
watch -n 1 ls {x}
parallel {x}
make {x}
vim {x}
less {p}
git -c {x} status
git rebase --exec {x}
psql -c {x}
sqlite3 a.db {x}
docker run {x}
tar -I {x} -xf a.tar
tar -cIf {x} a.tar
tar xIf {x} a.tar
tar --use-compress-program {x} -xf a
tar -xf {d}
rsync -e {x} a b
rsync -avze {x} a b
wget --execute {x}
sort --compress-program {x} a
anything --exec {x}
anything --eval {x}
anything sh -c {x}
unknown-wrapper bash -o pipefail {x}
cmd.exe /c type {x}
powershell -Command Get-Item {x}
powershell -NoProfile {x}
powershell a.ps1 {x}
pwsh -EncodedCommand {x}
pwsh -File {p}
cscript {p}
mshta {x}
"""

ACCEPTED = """
convert {p} -resize {x}
echo {d}
sh a.sh {x} {d}
sh {c} {x}
sh -c fixed name {x}
bash -euo pipefail a.sh {x}
bash -o pipefail -c fixed name {x}
python3 a.py {x} {d}
python3 -u -X dev -W ignore a.py {x}
python3.12 -m mine.tool {x}
python3 -c fixed {x} {d}
python3 -S -c fixed {p}
perl -w -I lib a.pl {x}
perl -e fixed {x}
ruby -r json a.rb {x}
node --max-old-space-size=4096 a.js {x}
php a.php {x}
lua a.lua {x}
java -Xmx1g -jar a.jar {x} {d}
Rscript --vanilla a.R {x}
awk -F : -f a.awk {p}
awk fixed {p}
gawk -v a=1 fixed {p}
sed -n fixed {p}
sed -i -e fixed -e fixed {p}
env -i A=1 a {x} {d}
nice -n 10 convert {p} {x}
nice ionice -c 3 convert {p} {x}
timeout {n} a {x}
timeout -k 5 {n} python3 a.py {x}
sudo -n -u anna /opt/a {x}
flock -w 5 /lock a {x}
busybox tr a {x}
find {p} -name {x}
find {p} -exec rm a ;
tar -xf {p} -C {p}
tar -czf {p} -- {d}
rsync -av {p} host:{c}
rsync -e ssh {p} b
curl -o {p} {x}
grep -e {x} {p}
ffmpeg -i {p} -vf scale={c} {p}
powershell -NoProfile -ExecutionPolicy Bypass -File a.ps1 {x}
highlight --syntax {c} {p}
7z x {p}
m4-tool {x}
"""


def parse(line: str) -> None:
    """The command of a settings file."""
    words = line.split(" ")
    used = {word[1:-1] for word in words if word.startswith("{")}
    words = [word for word in words if word.startswith("{") or "{" not in word]
    command.parse({"c": {"argv": words, "params": {name: PARAMS[name] for name in used}}}, path="queuectl.toml")


@pytest.mark.parametrize("line", REFUSED.split("\n")[1:-1])
def test_a_job_s_word_becomes_no_program(line: str) -> None:
    """P10: not a program, not its text, not the file that it is read from, and no option that runs one."""
    with pytest.raises(InvalidSettingsError) as caught:
        parse(line)
    assert caught.value.key == "commands.c.argv"


@pytest.mark.parametrize("line", ACCEPTED.split("\n")[1:-1])
def test_arguments_of_a_program_that_is_chosen_are_taken(line: str) -> None:
    """What is behind the place where code is, and programs that take none."""
    parse(line)


@pytest.mark.parametrize(
    ("word", "name"),
    [
        ("/usr/bin/python3.11", "python"),
        ("PYTHON.EXE", "python"),
        ("bash-5.2", "bash"),
        ("lua5.4", "lua"),
        ("m4", "m4"),
        ("sqlite3", "sqlite3"),
        ("perl5.36.0", "perl"),
        ("7z", "7z"),
        ("C:\\Windows\\cmd.exe", "cmd"),
    ],
)
def test_a_version_in_a_program_s_name_hides_nothing(word: str, name: str) -> None:
    """Debian, and everybody who builds them, puts versions there."""
    assert programs.program_name(word) == name


@pytest.mark.skipif(sys.platform == "win32", reason="POSIX shells and tools")
@pytest.mark.parametrize(
    "line",
    [
        "bash -o pipefail {x}",
        "python3 -W ignore {x}",
        "awk -v a=1 -f {x}",
        "sed -n -f {x}",
        "env -u A sh {x}",
        "nice sh {x}",
    ],
)
def test_what_is_refused_does_run_a_job_s_file(line: str, tmp_path: Path) -> None:
    """The table is no superstition: each of these runs what the word says."""
    if shutil.which(line.split(" ")[0]) is None:
        pytest.skip(f"{line.split(' ')[0]} is not installed")
    ran = tmp_path / "ran"
    code = {"python3": f"open({str(ran)!r}, 'w')", "awk": f'BEGIN {{ system("touch {ran}") }}', "sed": f"w {ran}"}
    evil = tmp_path / "evil"
    evil.write_text(code.get(line.split(" ")[0], f"touch {ran}"))
    words = [str(evil) if word == "{x}" else word for word in line.split(" ")]
    subprocess.run(words, input=b"x\n", capture_output=True, check=False, timeout=60)
    assert ran.exists()
