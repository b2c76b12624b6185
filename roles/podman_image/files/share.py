"""Give the caller and another user access to each other's files below some directories.

    python3 share.py [--check] UID DIRECTORY...

Every directory gets access and default entries for both, so that new files are shared, and every
regular file access entries; owners and all other entries stay. Left alone are symbolic links, other
filesystems, files for nobody but their owner (0600), and what has the entries already: its mask is
its creator's choice.

The caller may change what is their own. `podman unshare` runs this as the owner of what the
container made, too, but there the kernel refuses lists that name users whom the namespace has not.
So it takes both calls.

Prints {"shared": how many get entries, "refused": [paths that the caller may not change]}.
"""

import errno
import json
import os
import stat
import struct
import subprocess
import sys
from collections.abc import Iterator


def has_entries(path: str, kind: str, users: set[int], wanted: int) -> bool:
    """Whether the list of this kind, access or default, gives the users these permissions."""
    try:
        acl = os.getxattr(path, f"system.posix_acl_{kind}", follow_symlinks=False)
    except OSError as error:
        if error.errno == errno.ENODATA:
            return False
        raise
    # linux/posix_acl_xattr.h: a version, then entries of tag (2: ACL_USER), permissions and id.
    entries = struct.iter_unpack("<HHI", acl[4:])
    allowed = {uid for tag, may, uid in entries if tag == 2 and may & wanted == wanted}
    return users <= allowed


def lacks_entries(path: str, users: set[int]) -> bool:
    """Whether this is to be shared and is not."""
    try:
        mode = os.lstat(path).st_mode
        if stat.S_ISDIR(mode):
            return not all(has_entries(path, kind, users, 7) for kind in ("access", "default"))
        private = not mode & 0o077
        return stat.S_ISREG(mode) and not private and not has_entries(path, "access", users, 6)
    except (FileNotFoundError, PermissionError):
        return False  # gone again, or out of the caller's reach


def below(top: str, refused: list[str]) -> Iterator[str]:
    """Yield the directory and all that is in it, on its own filesystem."""

    def unreadable(error: OSError) -> None:
        if isinstance(error, PermissionError):
            refused.append(error.filename)

    for directory, directories, files in os.walk(top, onerror=unreadable):
        yield directory
        here = [name for name in directories if not os.path.ismount(os.path.join(directory, name))]
        directories[:] = here
        yield from (os.path.join(directory, name) for name in files)


def share(paths: list[str], users: set[int], *kinds: str) -> None:
    """Add entries of these kinds ("" for access, "d:" for default) where that is allowed."""
    entries = ",".join(f"{kind}u:{uid}:rwX" for kind in kinds for uid in users)
    result = subprocess.run(
        ["xargs", "-0", "-r", "setfacl", "-m", entries, "--"],
        input=b"\0".join(map(os.fsencode, paths)), stderr=subprocess.PIPE, check=False,
    )  # fmt: skip
    # 123: for some paths it is not, and a second look tells which.
    if result.returncode not in {0, 123}:
        sys.exit(result.stderr.decode(errors="replace"))


def main(arguments: list[str]) -> None:
    """Look, share unless --check, look again, and print what came of it."""
    check = arguments[0] == "--check"
    uid, *tops = arguments[check:]
    users = {os.geteuid(), int(uid)}
    refused: list[str] = []
    paths = [path for top in tops for path in below(top, refused)]
    lacking = [path for path in paths if lacks_entries(path, users)]
    shared = len(lacking)
    if not check:
        directories = set(filter(os.path.isdir, lacking))
        share([path for path in lacking if path in directories], users, "", "d:")
        share([path for path in lacking if path not in directories], users, "")
        still = [path for path in lacking if lacks_entries(path, users)]
        shared -= len(still)
        refused += still
    print(json.dumps({"shared": shared, "refused": refused}))


if __name__ == "__main__":
    try:
        main(sys.argv[1:])
    except OSError as error:
        if error.errno != errno.ENOTSUP:
            raise
        sys.exit(f"{error.filename} lies on a filesystem without access lists")
