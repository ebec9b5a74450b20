"""The planted bugs of inboxes of files: when a file is taken, how it is handed over, and what becomes of it."""

from __future__ import annotations

from tests.crash.bugs import Bug

FILE_SWEEP, POLLER, COMMAND, KEPT, OUTSIDE, CONTENTS = (
    "crash/test_file_sweep.py",
    "unit/inbox/test_file_poller.py",
    "unit/model/test_file_command.py",
    "unit/inbox/test_kept.py",
    "unit/inbox/test_outside.py",
    "unit/inbox/test_contents.py",
)
BELOW = "unit/inbox/test_subfolders.py"
NAMES = ("hostile/test_file_names.py", "hostile/test_files.py")
LIMITS = ("unit/inbox/test_file_limits.py",)
TESTS = (FILE_SWEEP, POLLER, COMMAND, CONTENTS)

BUGS = (
    Bug(
        "a claim of a file that was cut short is not given back",
        "inbox/file_handover",
        """        for job_id in sorted(claimed - set(self._owed.ids()) - self.under_way):
""",
        """        for job_id in sorted(set[str]()):
""",
        TESTS,
    ),
    Bug(
        "the record of a file on its way is forgotten",
        "inbox/file_handover",
        """        published = [name for job_id in sorted(listed) if (name := self._complete(box, job_id))]
""",
        """        published: list[str] = []
""",
        TESTS,
    ),
    Bug(
        "a file moves to failed/ before the text about it is written",
        "inbox/free_names",
        """                _put_text(at, temporary, to, target + FAILED_TEXT, text)
            if carrier is None:
                place.move(name, to, target)
""",
        """                place.move(name, to, target)
                _put_text(at, temporary, to, target + FAILED_TEXT, text)
            elif carrier is None:
                place.move(name, to, target)
""",
        TESTS,
    ),
    Bug(
        "the end of a file's job is forgotten before its file has moved",
        "inbox/file_ends",
        """        self._finish(box, job_id, self._inbox.on_failure, note.name, text)
        self._has_moved(box, job_id, DLQ, note.name, item)
""",
        """        self.owed.forget(job_id)
        self._finish(box, job_id, self._inbox.on_failure, note.name, text)
""",
        TESTS,
    ),
    Bug(
        "a file replaces the one that has its name in done/",
        "inbox/free_names",
        """        if to.look(each) is None and (not with_text or _is_text_free(to, each + FAILED_TEXT)):
            return each
""",
        """        if not with_text or _is_text_free(to, each + FAILED_TEXT):
            with contextlib.suppress(OSError):
                to.remove(each)
            return each
""",
        TESTS,
    ),
    Bug(
        "a file is deleted whatever became of its job",
        "inbox/file_ends",
        """        if state == DLQ:
            self._failed(box, job_id, item)
            return
        if (last""",
        """        if state == DLQ and self._inbox.on_success != DELETE:
            self._failed(box, job_id, item)
            return
        if (last""",
        TESTS,
    ),
    Bug(
        "a copy outside gets its name without a note",
        "inbox/outside",
        """        disk.create(self._place.entry(MOVED), note, sync=self._opener.sync, at=self._place.at)
""",
        """        assert note
""",
        (FILE_SWEEP, OUTSIDE),
    ),
    Bug(
        "a file is deleted before its copy outside has its name",
        "inbox/outside",
        """        self._to.move(self._temporary, self._to, target)
        if self._opener.sync:
            self._to.sync()
        _remove(self._place, name)
""",
        """        _remove(self._place, name)
        self._to.move(self._temporary, self._to, target)
        if self._opener.sync:
            self._to.sync()
""",
        (FILE_SWEEP, OUTSIDE),
    ),
    Bug(
        "the rest of a folder that was copied outside is copied again",
        "inbox/outside",
        """*((-1, -1) if stat.S_ISDIR(info.st_mode) else (info.st_size, info.st_mtime_ns))]
""",
        """info.st_size, info.st_mtime_ns]
""",
        (FILE_SWEEP, OUTSIDE),
    ),
    Bug(
        "files may go to a folder outside where they become jobs",
        "inbox/outside",
        """        if why := _why_jobs(spool, settings, inbox, path, set(seen)):
""",
        """        if why := "":
""",
        (FILE_SWEEP, OUTSIDE),
    ),
    Bug(
        "a folder outside that failed is tried again at every look",
        "inbox/file_ends",
        """        if why and self._clock.monotonic() < until_s:
""",
        """        if False:
""",
        (FILE_SWEEP, OUTSIDE),
    ),
    Bug(
        "a kept file is back in the inbox before its note is on disk",
        "inbox/file_box",
        """                note(subfolders.join(there, target), files.FileSig(info.st_ino, info.st_size, info.st_mtime_ns))
                try:
                    place.move(name, home, target)
                except FileExistsError:
                    continue
""",
        """                try:
                    place.move(name, home, target)
                except FileExistsError:
                    continue
                note(subfolders.join(there, target), files.FileSig(info.st_ino, info.st_size, info.st_mtime_ns))
""",
        TESTS,
    ),
    Bug(
        "the rename that puts a kept file back counts as a producer's",
        "inbox/file_poller",
        """            self._handover.given_back |= self._ends.returned
""",
        """            pass
""",
        TESTS,
    ),
    Bug(
        "a kept file is known by its size and time in every inbox",
        "inbox/kept",
        """ and (folder == FAR or noted.inode == sig.inode)
""",
        """
""",
        (KEPT, POLLER),
    ),
    Bug(
        "kept files are forgotten while their share is not mounted",
        "inbox/kept",
        """        if self._folder != self._here or not (gone""",
        """        if not (gone""",
        (KEPT, POLLER),
    ),
    Bug(
        "a note of a kept file goes on a line that is torn",
        "inbox/kept",
        """b"".join(b"\\n" + line for line in lines))""",
        """b"".join(line + b"\\n" for line in lines))""",
        (KEPT, POLLER),
    ),
    Bug(
        "a file is taken although a program has it open for writing",
        "inbox/file_poller",
        """        if has_writer:
            self""",
        """        if False:
            self""",
        TESTS,
    ),
    Bug(
        "a file that changed its times counts as quiet",
        "inbox/file_poller",
        """            if known is None or known.sig != (seen.sig, seen.ctime_ns):
""",
        """            if known is None or known.sig[0].size != seen.sig.size:
""",
        TESTS,
    ),
    Bug(
        "the marker of a file stays in the inbox",
        "inbox/file_poller",
        """        marker = self._judge.marker_of(name)
        if self._contents""",
        """        marker = ""
        if self._contents""",
        TESTS,
    ),
    Bug(
        "a claimed file is not looked at again",
        "inbox/file_box",
        """            if info is None or not stat.S_ISREG(info.st_mode) or info.st_nlink > 1:
                raise ClaimedError("it is not a regular file with one name any more")
            found = files.FileSig(info.st_ino, info.st_size, info.st_mtime_ns)
            if found != seen.sig:
                raise ClaimedError("it was changed just now")
            has_writer = self.has_writer(name, place)
""",
        """            assert info is not None
            found = seen.sig
            has_writer = None
""",
        (*TESTS, "hostile/test_files.py", "hostile/test_files_two_users.py"),
    ),
    Bug(
        "an inbox of files that others can write to need not be sticky",
        "inbox/opening",
        """    if is_last and inbox.mode == "files" and not info.st_mode & stat.S_ISVTX:
""",
        """    if False:
""",
        TESTS,
    ),
    Bug(
        "a file with the content of another one is run",
        "inbox/file_handover",
        """        if not item.extras.unique:
""",
        """        if True:
""",
        TESTS,
    ),
    Bug(
        "the file of a duplicate goes to done/ as if it had been run",
        "inbox/file_ends",
        """last.event == SKIPPED:
""",
        """False:
""",
        TESTS,
    ),
    Bug(
        "a file that changed while its content was read is run",
        "inbox/file_poller",
        """            if not why and box.sig_in(claimed.job_id, claimed.name) != claimed.found.sig:
""",
        """            if False:
""",
        TESTS,
    ),
    Bug(
        "a file whose content is being read is given back by the next look",
        "inbox/file_handover",
        """set(self._owed.ids()) - self.under_way):
""",
        """set(self._owed.ids())):
""",
        TESTS,
    ),
    Bug(
        "a file whose content cannot be read stays in working/",
        "inbox/file_poller",
        """            if why:
                self._handover.give_back(box, claimed.job_id)
""",
        """            if why:
""",
        TESTS,
    ),
    Bug(
        "a name is filled in again",
        "model/file_command",
        """        text = filled(word, values)
        if would""",
        """        text = filled(filled(word, values), values)
        if would""",
        TESTS,
    ),
    Bug(
        "a file of a subfolder goes back to the top",
        "inbox/file_box",
        """        path, home = self._back.to(sub)
""",
        """        path, home = self._back.to("")
""",
        (FILE_SWEEP, BELOW),
    ),
    Bug(
        "what a command leaves above its file in working/ is forgotten",
        "inbox/file_box",
        """            name = text = ""
        if listed""",
        """            return moved
        if listed""",
        (FILE_SWEEP, BELOW),
    ),
    Bug(
        "the folders on the way to a file move before the file",
        "inbox/file_box",
        """        if way:
            # The command""",
        """        if way and len(place.names()) > 1:
            # The command""",
        (FILE_SWEEP, BELOW),
    ),
    Bug(
        "a link in the place of a subfolder is followed",
        "inbox/place",
        """            fd = files.open_folder_in(name, at=self.at, to_list=True)
""",
        """            fd = os.open(name, os.O_RDONLY | os.O_DIRECTORY, dir_fd=self.at)
""",
        (BELOW, "hostile/test_folders_two_users.py"),
    ),
    Bug(
        "a folder that changed within a tick of its clock counts as listed",
        "inbox/subfolder_walk",
        """.clock.now() - info.st_mtime >= _FRESH_S
""",
        """.clock.now() > 0
""",
        (BELOW,),
    ),
    Bug(
        "a subfolder named working is looked into",
        "inbox/subfolder_walk",
        """        if name.casefold() in reserved:
""",
        """        if False:
""",
        (BELOW,),
    ),
    Bug(
        "the subfolder leaves its slash at the top",
        "model/file_command",
        """    if values.get("subfolder") == "":
""",
        """    if False:
""",
        (BELOW,),
    ),
    Bug(
        "a watched subfolder that was renamed keeps its old path",
        "system/watch",
        """                    self._leave(each)  # their paths are others now
""",
        """                    pass
""",
        (BELOW,),
    ),
    Bug(
        "a rename into a subfolder proves a file of another subfolder of that name whole",
        "system/watch",
        """            self._subs.pop(watched, None)
            self._forget_renames(sub)
""",
        """            self._subs.pop(watched, None)
""",
        (BELOW,),
    ),
    Bug(
        "a stranger who closes the folder of a claimed file stops the inbox",
        "inbox/file_box",
        """        except PermissionError:
            if not sub:
                raise
            return self._give""",
        """        except PermissionError:
            if sub:
                raise
            return self._give""",
        (BELOW, "hostile/test_folders_two_users.py"),
    ),
    Bug(
        "a file that was changed after its folder was moved in counts as whole",
        "inbox/file_poller",
        """            if above in self._moved and seen.ctime_ns < self._moved[above][1]:
""",
        """            if above in self._moved:
""",
        (BELOW,),
    ),
    Bug(
        "a folder into which something was put since its move proves its files whole",
        "inbox/subfolder_walk",
        """        return ctime_ns if mtime_ns < ctime_ns else 0
""",
        """        return ctime_ns
""",
        (BELOW,),
    ),
    Bug(
        "the change of a folder's mode counts as its move",
        "system/watch",
        """        wanted = Mask(wanted | InotifyConstants.IN_ATTRIB)
""",
        """        pass
""",
        (BELOW,),
    ),
    Bug(
        "a name may become an option",
        "model/file_command",
        """    return text.startswith(_OPTION_SIGNS) and text[0] != word[:1]
""",
        """    return False
""",
        TESTS,
    ),
    Bug(
        "a name may begin like a file of arguments",
        "model/file_command",
        """_OPTION_SIGNS = ("-", "+", "@")
""",
        """_OPTION_SIGNS = ("-",)
""",
        NAMES,
    ),
    Bug(
        "a name that is too long for its marker stops the inbox",
        "inbox/file_handover",
        "errno.ENAMETOOLONG, ",
        "",
        NAMES,
    ),
    Bug(
        "a file that comes back under another name leaves no room for its marker",
        "inbox/file_box",
        """room = max(0, len(os.fsencode(marker)) - len(os.fsencode(name)))""",
        """room = 0""",
        NAMES,
    ),
    Bug(
        "status shows the name of a refused file as it is",
        "cli/commands/status",
        """line(f"    {safe(refused.name)}  """,
        """line(f"    {refused.name}  """,
        NAMES,
    ),
    Bug(
        "the text about a failed file shows its name as it is",
        "inbox/file_ends",
        """f"The job for {safe(name)} """,
        """f"The job for {name} """,
        NAMES,
    ),
    Bug(
        "a refused name settles again at each poll",
        "inbox/file_poller",
        """            self._refused[name] = f"{error}; {error.hint}"
            return False
        if self._inbox.done_file:
""",
        """            if known is not None:
                self._refused[name] = f"{error}; {error.hint}"
                return False
        if self._inbox.done_file:
""",
        LIMITS,
    ),
    Bug(
        "two inboxes may be one folder",
        "inbox/opening",
        "if folder is not None and (other := ",
        "if folder is None and (other := ",
        LIMITS,
    ),
    Bug(
        "a missing folder of results is reported without what to do",
        "inbox/file_poller",
        "            raise OSError(what) from None\n",
        "            raise\n",
        LIMITS,
    ),
    Bug(
        "max_per_minute does not hold for files",
        "inbox/file_poller",
        """                    self._limits.count(taken=True)
""",
        "",
        LIMITS,
    ),
    Bug(
        "jobs that run count as waiting",
        "inbox/file_poller",
        "self._limits.begin(self._ends.owed.waiting())",
        "self._limits.begin(len(self._ends.owed.ids()))",
        LIMITS,
    ),
    Bug(
        "files of all inboxes have one owner",
        "inbox/file_judge",
        """            "owner": inbox.owner,
""",
        "",
        LIMITS,
    ),
    Bug(
        "a failed file has a text although receipts are off",
        "inbox/file_ends",
        "text = self._text(job_id, note.name, item) if self._inbox.receipts else",
        "text = self._text(job_id, note.name, item) if True else",
        LIMITS,
    ),
    Bug(
        "a restarted receiver does not know what ended last",
        "inbox/file_poller",
        "if earlier is not None and earlier.path == path:",
        "if False:",
        LIMITS,
    ),
    Bug(
        "on a share, no writer of this machine counts as no writer",
        "inbox/file_box",
        "return None if self._is_far and found is False else found",
        "return found",
        (POLLER,),
    ),
    Bug(
        "a share that is mounted later keeps the settle_s of the folder before",
        "inbox/polling",
        """                self._measure()  # a share may have been mounted there
""",
        "",
        (POLLER,),
    ),
    Bug(
        "the jobs of a share that is not mounted are settled",
        "inbox/file_box",
        "if not is_new():",
        "if False:",
        (POLLER,),
    ),
    Bug(
        "workers wait for an inbox on a share that hangs",
        "inbox/opening",
        "call() if does_answer else None for",
        "call() for",
        ("unit/inbox/test_trust.py",),
    ),
    Bug(
        "the conflicting copies of a share's clients are files",
        "model/file_command",
        " or _UNFINISHED.search(name) is not None",
        "",
        (COMMAND,),
    ),
)
