#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""The power goes while files come: each is the old one or the new one, and what was said to be done is done.

Usage: powercut.py [--short] [--tap] [FILE] [LARGE] [TREE] [SYNC] [MOVE]     (none: all)
  FILE    a small file over an old one, by put
  LARGE   a large file over an old one, by put
  TREE    many small files, links and folders over old ones, by sync
  SYNC    the same with --delete and differences of a large file
  MOVE    a folder from another file system, by fs mv: the one or the other is whole
The target is on ext4, in an image on a loop device. At a random moment of the transfer, or as soon as it has said that
it is done, the file system is shut down without its journal (EXT4_IOC_SHUTDOWN): what had not reached the device by
then is lost. It is mounted again, looked at, and the same words are typed again. What the device itself would forget,
as its cache was not flushed, is not seen here.
Environment: top_builddir; TELEX_FAULT_SCALE (default 1): a factor on the count of moments.
"""
import fcntl
import hashlib
import os
import random
import shutil
import stat
import struct
import subprocess
import sys
import threading
import time

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
from fault import DEADLINE, Agent, Failed, count, until  # noqa: E402
from transfers import digest, finish, make_file, parts, start  # noqa: E402

SHUTDOWN = 0x8004587D  # EXT4_IOC_SHUTDOWN: _IOR('X', 125, __u32)
NO_LOG_FLUSH = 2
MOMENTS = 40  # of each kind


class Disk:
    """ext4 that can lose its power."""

    def __init__(self, folder):
        self.image, self.path = folder + "/image", folder + "/disk"
        os.mkdir(self.path)
        with open(self.image, "wb") as f:
            f.truncate(512 << 20)
        subprocess.run(["mkfs.ext4", "-q", "-F", self.image], check=True)
        self.mount()

    def mount(self):
        # The loop device that is free may be somebody else's by then.
        until("the disk is there", lambda: subprocess.run(["mount", "-o", "loop", self.image, self.path],
                                                          check=False).returncode == 0)

    def cut(self):
        fd = os.open(self.path, os.O_RDONLY)
        try:
            fcntl.ioctl(fd, SHUTDOWN, struct.pack("I", NO_LOG_FLUSH))
        finally:
            os.close(fd)

    def unmount(self):
        until("nobody uses the disk", lambda: subprocess.run(["umount", self.path], stderr=subprocess.DEVNULL,
                                                             check=False).returncode == 0)
        # Whoever has mounts of his own since may have this one among them, and keep it.
        until("the disk is let go", lambda: not subprocess.run(["losetup", "-j", self.image], stdout=subprocess.PIPE,
                                                               check=True).stdout)

    def power_on(self):
        self.unmount()
        self.mount()

    def stop(self):
        subprocess.run(["umount", "-l", self.path], check=False)


def missing():
    """Why there can be no such disk here; None: there can."""
    if os.geteuid() != 0:
        return "only root can mount a disk"
    for program in ("mkfs.ext4", "losetup", "mount"):
        if shutil.which(program) is None:
            return f"{program} is not installed"
    if subprocess.run(["losetup", "-f"], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, check=False).returncode:
        return "there is no free loop device"
    return None


# ---- what is there ----


def look(path):
    """{path below it: what it is}; {} where nothing is. Times of folders are kept apart: a cut leaves any."""
    found = {}

    def add(full):
        st = os.lstat(full)
        if stat.S_ISLNK(st.st_mode):
            what = ("link", os.readlink(full))
        elif stat.S_ISDIR(st.st_mode):
            what = ("folder", st.st_mode, st.st_mtime_ns)
        else:
            what = ("file", digest(full), st.st_mode, st.st_mtime_ns)
        found[os.path.relpath(full, path)] = what

    if os.path.lexists(path):
        add(path)
    for folder, folders, names in os.walk(path):
        for name in folders + names:
            if not name.startswith(".telex-"):
                add(f"{folder}/{name}")
    return found


def torn(was, new, now):
    """What is neither as it was nor as it is to be."""
    wrong = []
    for name in set(was) | set(new) | set(now):
        seen = now.get(name)
        # A folder of its own time, or of its first mode, is one all the same.
        if seen is not None and seen[0] == "folder" and "folder" in (was.get(name, " ")[0], new.get(name, " ")[0]):
            continue
        if seen not in (was.get(name), new.get(name)):
            wrong.append(f"{name} is {seen}, was {was.get(name)}, was to be {new.get(name)}")
    return wrong


# ---- the kinds of transfers: each makes two sources, which take turns, and has its words ----


def make_files(folder, size):
    os.mkdir(folder)
    for n, name in enumerate(("a", "b")):
        make_file(f"{folder}/{name}", size + n, n + 1)


def make_trees(folder, large):
    for n, name in enumerate(("a", "b")):
        top = f"{folder}/{name}"
        for i in range(400):
            inside = f"{top}/{i % 7}/{name if i % 11 == 0 else 'both'}"
            os.makedirs(inside, exist_ok=True)
            if i % 5 == n:
                os.symlink(f"{name}-{i}", f"{inside}/{i}")
            else:
                make_file(f"{inside}/{i}", 1 + (i * 997 + n) % 20000, n + i % 100)
        os.link(f"{top}/0/both/7", f"{top}/hard")
    if large:
        make_file(f"{folder}/a/large", 12 << 20, 3)
        shutil.copyfile(f"{folder}/a/large", f"{folder}/b/large")
        with open(f"{folder}/b/large", "r+b") as f:
            f.seek(5 << 20)
            f.write(b"another" * 1000)


class Put:
    """A file by put, or a tree by sync."""

    def __init__(self, folder, make, words, ending):
        self.words, self.ending, self.turn = words, ending, 0
        self.sources = [f"{folder}/a", f"{folder}/b"]
        make(folder)

    def prepare(self, target):
        """What is to be at the target by and by; it is as it was until then."""
        self.turn ^= 1
        return look(self.sources[self.turn])

    def start(self, target):
        return start(*self.words, self.sources[self.turn] + self.ending, target + self.ending)

    def wrong(self, was, new, target):
        """After a cut: what is torn, and whether all is old or new."""
        if self.words[-1] == "sync":  # without --delete, what the other source had stays
            new = {**was, **new}
        now = look(target)
        return torn(was, new, now), now == was, now == new

    def done(self, new, target):
        now = look(target)
        wrong = [f"{name} is {now.get(name)}, not {what}" for name, what in new.items() if now.get(name) != what]
        return wrong + ([f"{name} should be gone" for name in set(now) - set(new)] if "--delete" in self.words else [])


class Move(Put):
    """A folder from elsewhere, by fs mv: until it is here whole, it is there whole."""

    def prepare(self, target):
        self.turn ^= 1
        self.source = self.sources[0] + ".moved"
        shutil.rmtree(target, ignore_errors=True)
        os.sync()
        if not os.path.lexists(self.source):
            shutil.copytree(self.sources[self.turn], self.source, symlinks=True)
        return look(self.source)

    def start(self, target):
        return start("fs", "mv", self.source, target)

    def wrong(self, was, new, target):
        here, there = look(target), look(self.source)
        if here and here != new:
            return [f"half of it is here: {len(here)} of {len(new)} entries"], False, False
        if not here and there != new:
            return [f"it is not here, and there are {len(there)} of {len(new)} entries there"], False, False
        return [], not here, bool(here)

    def again(self, target):
        """Whether there is anything to be typed again."""
        return os.path.lexists(self.source) and not os.path.lexists(target)


KINDS = {
    "FILE": lambda folder: Put(folder, lambda f: make_files(f, 300), ("put",), ""),
    "LARGE": lambda folder: Put(folder, lambda f: make_files(f, 24 << 20), ("put",), ""),
    "TREE": lambda folder: Put(folder, lambda f: make_trees(f, False), ("sync",), "/"),
    "SYNC": lambda folder: Put(folder, lambda f: make_trees(f, True), ("sync", "--delete"), "/"),
    "MOVE": lambda folder: Move(folder, lambda f: make_trees(f, False), ("fs", "mv"), ""),
}


# ---- moments ----


def undisturbed(kind, target):
    """How long it takes, in seconds; and that it works at all."""
    longest = 0
    for _ in range(2):
        new = kind.prepare(target)
        began = time.monotonic()
        status, said = finish(kind.start(target))
        longest = max(longest, time.monotonic() - began)
        wrong = kind.done(new, target)
        if status != 0 or wrong:
            raise Failed(f"without a cut: status {status}: {said} {wrong[:3]}")
    return longest


def one(kind, disk, target, seconds, seen):
    """One moment; what is wrong after it."""
    new = kind.prepare(target)
    os.sync()
    was = look(target)
    client = kind.start(target)
    if seconds is None:
        client.wait(DEADLINE)
    else:
        threading.Event().wait(seconds)
    disk.cut()
    status, said = finish(client)
    disk.power_on()
    wrong, old, whole = kind.wrong(was, new, target)
    if status == 0:
        wrong += kind.done(new, target)
    seen["said done" if status == 0 else "failed"] += 1
    seen["old" if old else "new" if whole else "some of each"] += 1
    seen["parts found"] += len(parts(disk.path))
    if isinstance(kind, Move) and not kind.again(target):
        shutil.rmtree(kind.source, ignore_errors=True)
        return wrong[:3]
    status, said = finish(kind.start(target))
    if status != 0:
        wrong.append(f"typed again: status {status}: {said}")
    wrong += kind.done(new, target)
    left = parts(disk.path)
    for name in left:
        wrong.append(f"{name} was left")
    for folder, folders, names in os.walk(disk.path):
        for name in set(left) & set(names):
            os.unlink(f"{folder}/{name}")
    return wrong[:3]


def run(name, disk, folder):
    kind = KINDS[name](f"{folder}/{name}")
    target = f"{disk.path}/{name}"
    seen = dict.fromkeys(("said done", "failed", "old", "new", "some of each", "parts found"), 0)
    wrong, longest = [], undisturbed(kind, target)
    moments = count(MOMENTS, 2)
    for n in range(moments):
        seconds = None if n % 4 == 1 else random.uniform(0, longest * 1.05)
        for line in one(kind, disk, target, seconds, seen):
            wrong.append(f"moment {n} ({'at its end' if seconds is None else f'{seconds:.4f} s'}): {line}")
    subprocess.run(["rm", "-rf", target], check=False)
    return wrong, f"{moments} moments in {longest:.3f} s: " + ", ".join(f"{k} {v}" for k, v in seen.items())


def main():
    names = [a for a in sys.argv[1:] if not a.startswith("--")] or list(KINDS)
    tap, why = "--tap" in sys.argv, missing()
    if why is not None:
        print(f"1..0 # SKIP {why}" if tap else f"not run: {why}")
        return 0
    agent = Agent()
    failed, disk = 0, None
    try:
        disk = Disk(agent.folder)
        if tap:
            print(f"1..{len(names)}", flush=True)
        for n, name in enumerate(names, 1):
            try:
                wrong, words = run(name, disk, agent.folder)
            except Failed as e:
                wrong, words = [str(e)], "given up"
            failed += bool(wrong)
            if tap:
                print(f"{'not ok' if wrong else 'ok'} {n} - {name}: {words}")
                for line in wrong:
                    print("# " + line.replace("\n", "\n# "))
            else:
                print(f"{name:7} {'FAILED' if wrong else 'ok':7} {words}", *wrong, sep="\n        ")
            sys.stdout.flush()
    finally:
        if disk is not None:
            disk.stop()
        agent.stop()
    return failed > 0


if __name__ == "__main__":
    sys.exit(main())
