"""Decide from a file's name whether an inbox of files takes it, and make its job. Move and change no file.

The name is the producer's. It becomes words of the command of the settings, and nothing else (`file_command`).
"""

from __future__ import annotations

import fnmatch
import os
import re
from functools import partial
from typing import TYPE_CHECKING, Any

import msgspec

from queuectl.errors import InvalidJobError
from queuectl.inbox import admission, confinement
from queuectl.inbox.free_names import FAILED_TEXT
from queuectl.inbox.handover import BY
from queuectl.jobs.enqueue import Prepared, Producer
from queuectl.model import file_command, names, subfolders
from queuectl.model.inbox import Inbox
from queuectl.model.spec import UNTIL_DELETED
from queuectl.spool.session import Session

if TYPE_CHECKING:
    from queuectl.model.command import Param

TOKEN_CHARS = 6
# Linux opens no longer path, in bytes.
_PATH_MOST = 4000


class FileJudge:
    """Judges the names of files in one inbox."""

    def __init__(self, session: Session, inbox: Inbox) -> None:
        self._session = session
        self._inbox = inbox
        self._match = _compiled(inbox.match)
        self.ignore = _compiled(inbox.ignore)
        self._out = os.path.abspath(os.path.join(session.spool.root, inbox.out)) if inbox.out else ""
        self._command = session.settings.commands[inbox.template] if inbox.template else None
        self._producer = Producer(session)

    @property
    def out(self) -> str:
        """The folder that `{out}` stands for, "" for none."""
        return self._out

    def why_left_alone(self, path: str) -> str:
        """Return why a path in the inbox is never taken because of its name, as the end of a sentence, or ""."""
        name = path.rpartition("/")[2]
        if name.startswith("."):
            return "its name begins with a dot"
        if names.opens_a_device(name):
            return "its name means something else to Windows"
        if file_command.is_unfinished(name):
            return "its name is that of an unfinished file, or of a conflicting copy"
        if name.endswith(FAILED_TEXT):
            return "it is a text about a failed file"
        if not self._match.fullmatch(name):
            return f"its name does not match {', '.join(self._inbox.match)}"
        if self.ignore.fullmatch(name):
            return f"its name matches {', '.join(self._inbox.ignore)}, which are ignored"
        return ""

    def marker_of(self, path: str) -> str:
        """Return the path of the marker that says that a file is whole, "" if the inbox has none."""
        if not self._inbox.done_file:
            return ""
        sub, name = subfolders.split(path)
        return subfolders.join(sub, file_command.done_file_of(self._inbox.done_file, name))

    def command_for(self, path: str, *, sub: str = "") -> list[str]:
        """Return the words to run for the file at `path`, which is absolute, of a subfolder.

        Raises:
            InvalidJobError: no command may get a file of this name, or of its subfolder.
        """
        if why := file_command.why_bad_subfolder(sub):
            raise InvalidJobError(why, hint="rename the folder")
        if len(os.fsencode(path)) > _PATH_MOST:
            raise InvalidJobError(f"its path would be longer than {_PATH_MOST} bytes", hint="use fewer folders")
        if why := file_command.why_bad_name(os.path.basename(path)):
            raise InvalidJobError(why, hint="rename the file")
        subfolder = subfolders.native(sub)
        if self._command is None:
            return file_command.fill_in(self._inbox.command, path, out=self._out, subfolder=subfolder)
        from queuectl.model import file_template

        resolve = partial(_resolved, os.path.dirname(path))
        values = file_command.values_of(path, out=self._out, subfolder=subfolder)
        return file_template.fill_in(self._inbox, self._command, values, resolve=resolve)

    def new_id(self, path: str) -> str:
        """Return an id for the job of a file, with random letters: the same name comes again and again."""
        return names.with_suffix(id_of(self._inbox, path), names.new_token(self._session.rng, TOKEN_CHARS))

    def prepare(self, name: str, job_id: str, path: str, *, unique: str = "") -> Prepared:
        """Return the record of the job for the file `name` (a path in the inbox), which will be at `path`.

        In memory only. A `unique` key is held until the record is deleted.

        Raises:
            InvalidJobError: no command may get a file of this name.
        """
        inbox = self._inbox
        sub, _ = subfolders.split(name)
        tags = [*inbox.tags, *(subfolders.tags_of(sub) if inbox.subfolder_tags else ())]
        document: dict[str, Any] = {
            "id": job_id,
            "command": self.command_for(path, sub=sub),
            "minimal_env": True,
            "owner": inbox.owner,
        }
        further: dict[str, Any] = {
            "queue": inbox.queue or None,
            "tags": list(dict.fromkeys(tags)) or None,
            "priority": inbox.priority or None,
            "timeout": inbox.timeout,
            "max_retries": inbox.max_retries,
        }
        if (command := self._command) is not None:
            further |= {"template": inbox.template, "cwd": command.cwd or None, "env": command.env or None}
            for key in ("timeout", "max_retries"):
                further[key] = getattr(command, key) if further[key] is None else further[key]
        if unique:
            document |= {"unique": unique, "unique_until": UNTIL_DELETED}
        document |= {key: value for key, value in further.items() if value is not None}
        return self._producer.prepare(document, by=BY, file=name, claimed=path)


def id_of(inbox: Inbox, path: str) -> str:
    """Return the id of the jobs of a file, before its random letters."""
    return admission.id_for(inbox.owner, file_command.split_ending(subfolders.split(path)[1])[0])


def _resolved(folder: str, param: Param, text: str) -> str:
    """Return the path for a param of the type path. What is in the folder of the job's file is there when it runs."""
    if param.exists and (text == folder or text.startswith(folder + os.sep)):
        param = msgspec.structs.replace(param, exists=False)
    return confinement.resolve(param, text)


def _compiled(patterns: tuple[str, ...]) -> re.Pattern[str]:
    """Return one pattern for names that match any of these, ignoring case; none matches nothing."""
    texts = [fnmatch.translate(each) for each in patterns]
    return re.compile("|".join(texts) or r"(?!)", re.IGNORECASE | re.DOTALL)
