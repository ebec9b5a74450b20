"""rights: what is done in the spool of another user is done with that user's rights."""

from __future__ import annotations

import ast
from pathlib import Path

from queuectl.system import disk, files, inodes, rights, sharing

# What only looks, or works through a handle or in a folder of root's: it needs no rights of a spool's owner.
_NEED_NO_RIGHTS = """sig_of sig_and_change inode_and_size is_regular is_folder may_enter last_change written_at
is_same_file mode_of owner_of user_at is_immutable check_free give_back open_to_others mark_lock_file id_of
id_of_named open_folder open_folder_in open_regular open_handle is_open_elsewhere"""


def test_every_function_for_a_path_works_with_the_rights_of_the_spools_owner() -> None:
    """P10: a function that is added gets `as_owner`, or its place in the list above on purpose."""
    bare = {
        node.name
        for module in (disk, files, inodes, rights, sharing)
        for node in ast.parse(Path(module.__file__).read_text(encoding="utf-8")).body
        if isinstance(node, ast.FunctionDef)
        and not node.name.startswith("_")
        and node.args.args
        and node.args.args[0].arg in ("path", "folder", "source")
        and "as_owner" not in map(ast.unparse, node.decorator_list)
    }
    assert bare <= set(_NEED_NO_RIGHTS.split()), bare - set(_NEED_NO_RIGHTS.split())
