"""Namespaces and the private file view of level I: what a guest can see is built here, nothing else exists for it."""

from __future__ import annotations

import os

from . import kernel

BOX = "/box"  # its tmpfs is mounted one level below, so that one Landlock rule on BOX covers every run's fresh mount
WORK = "/box/w"
DEVICES = ("null", "zero", "full", "random", "urandom")
SYSTEM = ("/usr", "/bin", "/sbin", "/lib", "/lib32", "/lib64", "/libx32")
ETC = ("ld.so.cache", "alternatives")
_ETC_FILES = {
    "passwd": "root:x:0:0:root:/:/bin/false\nguest:x:{uid}:{gid}:guest:/box/w:/bin/sh\n",
    "group": "root:x:0:\nguest:x:{gid}:\n",
    "hosts": "127.0.0.1 localhost\n",
}


def enter_namespaces(root: bool, inner_uid: int) -> None:
    """Leave the host's mount, network, IPC, UTS and PID namespaces; without root, through a user namespace.

    The PID namespace begins with the next child: the caller forks and becomes its launcher.
    """
    flags = kernel.CLONE_NEWNS | kernel.CLONE_NEWNET | kernel.CLONE_NEWIPC | kernel.CLONE_NEWUTS | kernel.CLONE_NEWPID
    if root:
        kernel.unshare(flags)
    else:
        enter_user_namespace(inner_uid, inner_uid, flags)


def enter_user_namespace(inner_uid: int, inner_gid: int, flags: int = 0) -> None:
    """Leave the host's user namespace (and others); this user and group are the only ones in the new one."""
    uid, gid = os.geteuid(), os.getegid()
    kernel.unshare(flags | kernel.CLONE_NEWUSER)
    maps = {"setgroups": "deny", "uid_map": f"{inner_uid} {uid} 1", "gid_map": f"{inner_gid} {gid} 1"}
    for name, line in maps.items():
        with open(f"/proc/self/{name}", "w") as file:
            file.write(line)


def _bind(source: str, target: str) -> None:
    kernel.mount(source, target, flags=kernel.MS_BIND | kernel.MS_REC)
    kernel.restrict_mount(target)


def build(new_root: str, runtime: list[str], uid: int, gid: int) -> int:
    """Replace the file tree of this mount namespace by a minimal read-only one.

    Args:
        new_root: an existing directory to build on.
        runtime: further trees to show, at their own paths (the interpreter, site-packages).
        uid: the guest's user id, for ``/etc/passwd``.
        gid: the guest's group id.

    Returns:
        A directory descriptor on ``/proc`` of this PID namespace that no guest path leads to, or -1.
    """
    kernel.mount("none", "/", flags=kernel.MS_REC | kernel.MS_PRIVATE)
    kernel.mount("palaestra", new_root, "tmpfs", kernel.MS_NOSUID | kernel.MS_NODEV, "size=4m,mode=0755")
    for path in SYSTEM:
        _show(path, new_root)
    for name in ETC:
        _show(f"/etc/{name}", new_root)
    for path in runtime:
        if not any(path == top or path.startswith(top + "/") for top in SYSTEM):
            _show(path, new_root)
    for name in DEVICES:
        _show(f"/dev/{name}", new_root, device=True)
    for name, text in _ETC_FILES.items():
        with open(f"{new_root}/etc/{name}", "w") as file:
            file.write(text.format(uid=uid, gid=gid))
    for link, target in (("/tmp", "w/tmp"), ("/var/tmp", "w/tmp"), ("/dev/shm", "w/shm")):
        os.makedirs(new_root + os.path.dirname(link), exist_ok=True)
        if not os.path.isdir(new_root + link):  # a runtime that lies below /tmp is shown there, read-only
            os.symlink(f"{BOX}/{target}", new_root + link)
    for directory in (BOX, WORK, "/proc", "/.old"):
        os.makedirs(new_root + directory, exist_ok=True)
    os.chdir(new_root)
    kernel.pivot_root(".", ".old")
    os.chdir("/")
    proc = _private_proc()
    kernel.umount("/.old")
    os.rmdir("/.old")
    kernel.restrict_mount("/", recursive=False)
    return proc


def _show(path: str, new_root: str, device: bool = False) -> None:
    """Make one host path visible: a link as a link, a file or tree as a read-only bind mount."""
    if not os.path.lexists(path):
        return
    target = new_root + path
    os.makedirs(os.path.dirname(target), mode=0o755, exist_ok=True)
    if os.path.islink(path):
        os.symlink(os.readlink(path), target)
    elif os.path.isdir(path):
        os.makedirs(target, exist_ok=True)
        _bind(path, target)
    else:
        os.close(os.open(target, os.O_CREAT | os.O_WRONLY, 0o644))
        if device:  # nodev would make the device useless; it is bound as it is
            kernel.mount(path, target, flags=kernel.MS_BIND)
        else:
            _bind(path, target)


def _private_proc() -> int:
    """Mount /proc, keep a descriptor, and detach it again: the fork server can measure, a guest finds nothing."""
    try:
        kernel.mount("proc", "/proc", "proc", kernel.MS_NOSUID | kernel.MS_NODEV | kernel.MS_NOEXEC)
    except OSError:  # refused in some containers
        return -1
    proc = os.open("/proc", os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    kernel.umount("/proc")
    return proc


def fresh_work(size_mb: int, uid: int, gid: int) -> None:
    """Mount an empty scratch file system for one run; its size and number of files are bounded."""
    options = f"size={size_mb}m,nr_inodes={1024 + 64 * size_mb},mode=0700,uid={uid},gid={gid}"
    kernel.mount("scratch", WORK, "tmpfs", kernel.MS_NOSUID | kernel.MS_NODEV, options)
    for name in ("tmp", "shm"):
        os.mkdir(f"{WORK}/{name}", 0o700)
        os.chown(f"{WORK}/{name}", uid, gid)


def drop_work() -> None:
    """Throw the scratch file system away without walking what the guest left in it."""
    kernel.umount(WORK)
