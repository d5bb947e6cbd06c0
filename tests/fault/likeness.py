#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Whether trees that were put and got are what they were, as rsync sees them: content, kind, mode, owner, times in ns,
hard links, ACLs and extended attributes.

Usage: likeness.py [--short] [--tap] [ROOT] [USER]     (none: both that can be)
  ROOT  agent and client run as root: any owner, device nodes, mode 0000
  USER  both run as a user without privileges
--short makes some hundred files instead of 20,000. Needs rsync.
Environment: top_builddir; TELEX_FAULT_SCALE (default 1): a factor on the number of files.
"""
import os
import random
import shutil
import subprocess
import sys
import tempfile

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
from fault import TELEX, Agent, count  # noqa: E402

NOBODY = 65534
RSYNC = ("rsync", "-aHAXn", "--checksum", "--delete", "--itemize-changes")


def set_times(path, r, **how):
    at = r.randrange(10**18, 17 * 10**17)
    os.utime(path, ns=(at + 1, at), **how)


def odd_names():
    """Every byte that a name may have, alone and among others, and the longest name."""
    for byte in range(1, 256):
        if byte not in (0x2f,):
            yield b"n" + bytes([byte])
            if byte != 0x2e:
                yield bytes([byte])
    yield b"-rf"
    yield b"..."
    yield b"l" * 255
    yield bytes(range(1, 47))
    yield bytes(range(48, 256))


def write(path, content):
    with open(path, "wb") as f:
        f.write(content)


def make_sparse(path, r):
    """Data, a hole, data, and a hole at the end."""
    with open(path, "wb") as f:
        f.write(r.randbytes(5000))
        f.seek(3 << 20)
        f.write(r.randbytes(70000))
        f.truncate(9 << 20)


def acl(*words):
    return subprocess.run(["setfacl", *words], stderr=subprocess.DEVNULL, check=False).returncode == 0


def make_specials(root):
    os.mkfifo(root + b"/fifo", 0o640)
    if os.geteuid() == 0:
        os.mknod(root + b"/null", 0o20666, os.makedev(1, 3))
        os.mknod(root + b"/block", 0o60600, os.makedev(7, 200))


def make_tree(root, files, r):
    """A tree with a bit of everything, and `files` small files. Folders get their times last."""
    privileged = os.geteuid() == 0
    modes = [0o644, 0o600, 0o755, 0o444, 0o4755, 0o2711] + ([0] if privileged else [])
    os.makedirs(root + b"/odd")
    os.mkdir(root + b"/empty")
    os.mkdir(root + b"/deep")
    deep = root + b"/deep" + b"/d" * 40
    os.makedirs(deep)
    for name in odd_names():
        write(root + b"/odd/" + name, name)
    os.mkdir(root + b"/odd/folder \xff\n")
    write(root + b"/odd/folder \xff\n/file", b"within")
    for n in range(files):
        folder = root + b"/many/%d/%d" % (n % 23, n % 7)
        os.makedirs(folder, exist_ok=True)
        path = folder + b"/%d" % n
        write(path, r.randbytes(r.choice((0, 1, 100, 4096, 9000))))
        if n % 30 == 0:
            os.setxattr(path, b"user.\xc3\xa4", r.randbytes(60))
        if n % 10 == 0:
            os.chmod(path, r.choice(modes))
        if n % 50 == 0:
            os.link(path, root + b"/hard %d" % n)
        if n % 70 == 0:
            os.symlink(b"../\xfe no such %d" % n, folder + b"/link %d" % n)
        if privileged and n % 20 == 0:
            mode = os.stat(path).st_mode
            os.chown(path, r.randrange(70000), r.randrange(70000))
            os.chmod(path, mode & 0o7777)
    make_sparse(root + b"/sparse", r)
    os.link(root + b"/sparse", deep + b"/sparse too")
    os.symlink(b"sparse", root + b"/link to sparse")
    os.link(root + b"/link to sparse", root + b"/link to sparse, again", follow_symlinks=False)
    write(root + b"/large", r.randbytes(5 << 20))
    os.setxattr(root + b"/large", b"user.telex", b"\0value\n")
    os.setxattr(root + b"/empty", b"user.folder", b"")
    acl("-m", "u:1:rw,g:2:r", root + b"/large")
    acl("-m", "u:3:rwx", "-d", "-m", "u:4:rx", root + b"/empty")
    os.chmod(root + b"/empty", 0o2750)
    make_specials(root)
    if privileged:
        os.mkdir(root + b"/closed")
        write(root + b"/closed/in", b"it")
        os.chmod(root + b"/closed", 0)
        os.lchown(root + b"/link to sparse", 5, 6)
    for folder, folders, names in os.walk(root, topdown=False):
        for name in names + [f for f in folders if os.path.islink(folder + b"/" + f)]:
            set_times(folder + b"/" + name, r, follow_symlinks=False)
        set_times(folder, r)


def differences(a, b):
    """What rsync would change of b to make it like a."""
    done = subprocess.run([*RSYNC, "-D", a + b"/", b + b"/"], stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                          check=False)
    lines = done.stdout.decode(errors="backslashreplace").splitlines()
    return lines[:8] + ([f"rsync: status {done.returncode}"] if done.returncode else [])


def times_in_ns(a, b):
    """rsync compares times by the second where it is asked for nothing else: the rest is compared here. The content
    of holes is, too: as many blocks as there were, or fewer."""
    wrong = []
    for folder, folders, names in os.walk(a):
        for name in names + folders:
            path = folder + b"/" + name
            one, two = os.lstat(path), os.lstat(b + path[len(a):])
            if one.st_mtime_ns != two.st_mtime_ns:
                wrong.append(f"{path!r}: mtime {one.st_mtime_ns} became {two.st_mtime_ns}")
            if two.st_blocks > one.st_blocks + 64:
                wrong.append(f"{path!r}: {one.st_blocks} blocks became {two.st_blocks}")
    return wrong[:8]


def telex(*words):
    done = subprocess.run([TELEX, *words], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                          check=False)
    return done.returncode, done.stdout.decode(errors="backslashreplace")[:1000]


FROM_THERE = ("--any-links", "--keep-special-bits")


def transfer(verb, a, b):
    status, said = telex("-q", verb, "--specials", *(FROM_THERE if verb == "get" else ()), a, b)
    return [f"{verb}: status {status}: {said}"] if status or said else []


def sync(words, a, b):
    """What is alike is not sent again."""
    status, said = telex("--json", "sync", "--specials", *words, a, b)
    return [] if status == 0 and '"files":0,' in said else [f"sync of equal trees: status {status}: {said}"]


def alike(agent):
    r = random.Random(7)
    a, b, c = (os.fsencode(agent.folder) + b"/" + name for name in (b"a", b"put", b"got"))
    files = count(20000, 700)
    make_tree(a, files, r)
    wrong = transfer("put", a, b) + transfer("get", b, c)
    if not wrong:
        wrong = differences(a, b) + differences(a, c) + times_in_ns(a, b) + times_in_ns(a, c)
    if not wrong:
        wrong = sync([], a, b) + sync(["--pull", *FROM_THERE], b, c)
    return wrong, f"{files} files and some of each kind, put and got"


def one(name):
    agent = Agent()
    try:
        wrong, words = alike(agent)
    finally:
        agent.stop()
    print("not ok" if wrong else "ok", "-", f"{name}: {words}")
    for line in wrong:
        print("#", line)
    return bool(wrong)


def as_user(name):
    """The same as nobody, in a process of its own: with a folder in which he may write."""
    home = tempfile.mkdtemp(prefix="telex-likeness.")
    os.chown(home, NOBODY, NOBODY)
    sys.stdout.flush()
    pid = os.fork()
    if pid == 0:
        failed = True
        try:
            os.setgroups([])
            os.setgid(NOBODY)
            os.setuid(NOBODY)
            if os.access(TELEX, os.X_OK):
                tempfile.tempdir = home
                failed = one(name)
            else:
                print(f"ok - {name} # SKIP who has no privileges may not run {TELEX}")
                failed = False
            sys.stdout.flush()
        finally:
            os._exit(failed)
    _, status = os.waitpid(pid, 0)
    shutil.rmtree(home, ignore_errors=True)
    return status != 0


def main():
    flags = [a for a in sys.argv[1:] if a.startswith("--")]
    root = os.geteuid() == 0
    names = [a for a in sys.argv[1:] if not a.startswith("--")] or (["ROOT", "USER"] if root else ["USER"])
    if "--tap" in flags:
        print(f"1..{len(names)}", flush=True)
        flags.remove("--tap")
    failed = 0
    for name in names:
        failed += as_user(name) if name == "USER" and root else one(name)
    return failed > 0


if __name__ == "__main__":
    sys.exit(main())
