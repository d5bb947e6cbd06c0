#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""put, get, sync --delete and the verbs of fs, while others keep swapping what is in their trees for links that lead
out, folders, files and FIFOs: the client's source, the agent's tree, the client's target. Nothing outside may be read or
changed: each time one is, is an escape.

Usage: swaps.py [--short] [--tap] [SWAPS]
  SWAPS  how many, made while a verb runs (default: a million; --short: 15,000)
The same against the code alone, with many more transfers to a swap: tests/unit/test_tree_races and test_fs_races with
TELEX_SWAPS=SWAPS; `make swaps` runs all three.
Environment: top_builddir.
"""
import collections
import ctypes
import mmap
import os
import random
import shutil
import signal
import stat
import struct
import subprocess
import sys
import tempfile
import time

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
from fault import TELEX, Agent, count  # noqa: E402

LARGE = 200 << 10  # bytes: more than comes with an entry
DEADLINE = 300  # seconds of one verb
EXCHANGE, NOREPLACE = 2, 1
FOLDER = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW
THEN = 1000  # s since the epoch: when all was changed last, so that times tell nothing
libc = ctypes.CDLL(None, use_errno=True)


def rename(from_fd, name, to_fd, to, flags):
    return libc.renameat2(from_fd, name.encode(), to_fd, to.encode(), flags) == 0


def unlink(fd, *names):
    for name in names:
        for how in (os.unlink, os.rmdir):
            try:
                how(name, dir_fd=fd)
                break
            except OSError:
                pass


def put(fd, name, text, size=0):
    """Inside of the folder, whatever has the name by now. By size and time it is what is outside."""
    try:
        f = os.open(name, os.O_WRONLY | os.O_CREAT | os.O_NOFOLLOW | os.O_NONBLOCK, 0o644, dir_fd=fd)
    except OSError:
        return
    try:
        if os.fstat(f).st_size == 0:
            os.write(f, text * (1 + size // len(text)))
        os.utime(f, (THEN, THEN))
    except OSError:
        pass
    os.close(f)


def folder(fd, name, make=True):
    """Its descriptor; None: it is none just now."""
    try:
        if make:
            os.mkdir(name, dir_fd=fd)
    except OSError:
        pass
    try:
        return os.open(name, FOLDER, dir_fd=fd)
    except OSError:
        return None


def fill(path, extra):
    """What is missing of a tree."""
    top = os.open(path, FOLDER)
    put(top, "f", b"insider")
    put(top, "large", b"insider", LARGE)
    a = folder(top, "a")
    if a is not None:
        put(a, "secret", b"insider")
        sub = folder(a, "sub")
        if sub is not None:
            put(sub, "f", b"insider")
            os.close(sub)
        if extra:
            put(a, "extra", b"insider")
        os.close(a)
    more = folder(top, "extra") if extra else None
    if more is not None:
        put(more, "secret", b"insider")
        os.close(more)
    os.close(top)


class Attacker:
    """A process that swaps names of one tree, and counts in shared memory."""

    def __init__(self, work, tree, seed):
        self.counter = mmap.mmap(-1, 8)
        self.work, self.tree = work, tree
        self.item = tree
        self.part = None
        self.pid = os.fork()
        if self.pid == 0:
            try:
                random.seed(seed)
                os.nice(1)
                self.run()
            finally:
                os._exit(1)

    def swaps(self):
        return struct.unpack("Q", self.counter[:])[0]

    def stop(self):
        os.kill(self.pid, signal.SIGKILL)
        os.waitpid(self.pid, 0)

    def swap(self, fd, name, flags=EXCHANGE):
        if rename(self.stash, self.item, fd, name, flags):
            self.counter[:] = struct.pack("Q", self.swaps() + 1)

    def make(self):
        kind = random.randrange(10)
        if kind < 7:
            to = (self.work + "/out", self.work + "/out", "../out", "../../out", self.work + "/out/secret",
                  self.work + "/out/secret", self.work + "/out/large")[kind]
            os.symlink(to, self.item, dir_fd=self.stash)
        elif kind == 7:
            os.mkdir(self.item, dir_fd=self.stash)
        elif kind == 8:
            os.mkfifo(self.item, dir_fd=self.stash)
        else:
            put(self.stash, self.item, b"insider")

    def drop(self):
        inner = folder(self.stash, self.item, make=False)
        if inner is not None:
            sub = folder(inner, "sub", make=False)
            if sub is not None:
                unlink(sub, "f")
                os.close(sub)
            unlink(inner, "secret", "extra", "sub", *os.listdir(inner))
            os.close(inner)
        unlink(self.stash, self.item)

    def swap_parts(self, top):
        """A part in the making becomes a link to what is outside, or there is one before it is made."""
        for name in os.listdir(top):
            if name.startswith(".telex-"):
                self.part = name
        if self.part is None:
            return
        if random.randrange(2):
            os.symlink(self.work + "/out/secret", self.item, dir_fd=self.stash)
        else:
            os.link(self.work + "/out/bait", self.item, dst_dir_fd=self.stash)
        self.swap(top, self.part, random.choice((EXCHANGE, NOREPLACE)))
        self.drop()

    def step(self):
        top = folder(self.root, self.tree, make=False)
        if top is None:
            return
        where, name = random.choice((("", "a"), ("", "f"), ("", "large"), ("", "extra"), ("a", "secret"), ("a", "sub"),
                                     ("a", "extra"), ("", None)))
        fd = folder(top, where, make=False) if where else top
        if name is None:
            self.swap_parts(top)
        elif fd is not None:
            self.make()
            slow = random.randrange(3) == 0
            for _ in range(2 if slow else 2 * random.randrange(6)):
                self.swap(fd, name)
                if slow:
                    time.sleep(random.random() / 1000)
            self.drop()
        if fd is not None and fd != top:
            os.close(fd)
        os.close(top)
        time.sleep(random.random() / 2000)

    def run(self):
        self.root = os.open(self.work, FOLDER)
        self.stash = os.open(self.work + "/stash", FOLDER)
        while True:
            try:
                self.step()
            except OSError:
                self.drop()


# ---- what came of it ----


def describe(path):
    """All that there is to know of what is outside, but when it was read."""
    found = []
    for at, folders, names in os.walk(path):
        for name in sorted(folders) + sorted(names) + ["."]:
            p = os.path.join(at, name)
            s = os.lstat(p)
            content = open(p, "rb").read() if stat.S_ISREG(s.st_mode) else None
            # The attackers link to the bait: by its other names it may be given owner, mode and times.
            known = (s.st_mode, s.st_uid, s.st_gid, s.st_nlink, s.st_mtime_ns) if name != "bait" else ()
            found.append((p, known, content, os.listxattr(p, follow_symlinks=False)))
    return sorted(found, key=lambda f: f[0])


def leaked(fd):
    """Files that hold what is outside."""
    found = []
    for name in os.listdir(fd):
        try:
            f = os.open(name, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK, dir_fd=fd)
        except OSError:
            continue
        try:
            s = os.fstat(f)
            if stat.S_ISDIR(s.st_mode):
                found += leaked(f)
            elif stat.S_ISREG(s.st_mode) and b"outside" in os.read(f, 64):
                found.append(name)
        except OSError:
            pass
        os.close(f)
    return found


def make_outside(out):
    os.makedirs(out + "/sub")
    for name in ("secret", "sub/f", "bait", "large"):
        with open(f"{out}/{name}", "wb") as f:
            # The bait gets names inside, and may be got by these.
            f.write((b"outside" if name != "bait" else b"baiting") * (1 if name != "large" else 1 + LARGE // 7))
        os.chmod(f"{out}/{name}", 0o600)
        os.utime(f"{out}/{name}", (THEN, THEN))


def verbs(work):
    """What is run, with how often."""
    s, t, g = (f"{work}/{name}" for name in ("source", "target", "got"))
    get = ("--any-links", "--keep-special-bits")
    yield 6, ["put", "-I", s + "/.", t + "/."], True
    yield 2, ["put", "-c", s + "/.", t + "/."], False
    yield 8, ["sync", "-I", "--delete", s, t], True
    yield 4, ["sync", "--delete", "-z", s, t], True
    yield 6, ["get", "-I", t + "/.", g], True
    yield 3, ["get", *get, t + "/.", g], False
    yield 8, ["sync", "--pull", "-I", "--delete", t, g], True
    yield 4, ["sync", "--pull", "--delete", *get, t, g], True
    yield 3, ["fs", "cp", "-a", t, work + "/copy"], False
    yield 2, ["fs", "cp", "-r", t, work + "/copy"], False
    yield 2, ["fs", "rm", "-r", t + "/a", t + "/extra"], True
    yield 2, ["fs", "rm", "-r", work + "/copy"], False
    yield 2, ["fs", "chmod", "-R", "a+rwX", t], False
    yield 1, ["fs", "chown", "-R", "65534:65534", t], False
    yield 1, ["fs", "ls", "-laR", t], False


class Race:
    def __init__(self, wanted):
        base = "/dev/shm" if os.access("/dev/shm", os.W_OK) else None
        self.work = tempfile.mkdtemp(prefix="telex-swaps.", dir=base)
        self.wanted = wanted
        self.swaps = 0
        self.runs = collections.Counter()
        self.statuses = collections.Counter()
        self.wrong = []
        make_outside(self.work + "/out")
        for name in ("source", "target", "got", "stash"):
            os.mkdir(f"{self.work}/{name}")
        self.top = os.open(self.work, FOLDER)
        self.before = describe(self.work + "/out")
        self.attackers = []

    def check(self, words, said):
        now = describe(self.work + "/out")
        if now != self.before:
            self.wrong.append(f"{words}: outside was changed: {set(map(str, now)) ^ set(map(str, self.before))}")
        for name in ("target", "got", "copy"):
            fd = folder(self.top, name, make=False)
            if fd is not None:
                self.wrong += [f"{words}: {found} in {name} has come from outside" for found in leaked(fd)]
                os.close(fd)
        if b"outside" in said or b"bait" in said:
            self.wrong.append(f"{words}: said what is outside")
        if b"process for files has ended" in said:
            self.wrong.append(f"{words}: telex-files died: {said[-300:]}")

    def run(self, words):
        before = sum(a.swaps() for a in self.attackers)
        try:
            done = subprocess.run([TELEX, *words], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                                  stderr=subprocess.STDOUT, timeout=DEADLINE, check=False)
        except subprocess.TimeoutExpired:
            self.wrong.append(f"{words}: it hangs")
            return
        self.swaps += sum(a.swaps() for a in self.attackers) - before
        self.runs[words[0]] += 1
        self.statuses[done.returncode] += 1
        if done.returncode not in (0, 1):
            self.wrong.append(f"{words}: status {done.returncode}: {done.stdout[-300:]}")
        self.check(words, done.stdout)

    def race(self):
        choices = [(words, extra) for n, words, extra in verbs(self.work) for _ in range(n)]
        self.attackers = [Attacker(self.work, name, seed) for seed, name in enumerate(("source", "target", "got"))]
        said = time.monotonic()
        while self.swaps < self.wanted and not self.wrong:
            words, extra = random.choice(choices)
            fill(self.work + "/source", False)
            fill(self.work + "/target", extra)
            fill(self.work + "/got", extra)
            self.run(words)
            if time.monotonic() - said > 60:
                said = time.monotonic()
                print(f"# {self.swaps} swaps, {sum(self.runs.values())} verbs", flush=True)

    def stop(self):
        for a in self.attackers:
            a.stop()
        shutil.rmtree(self.work, ignore_errors=True)


def main():
    numbers = [a for a in sys.argv[1:] if not a.startswith("--")]
    wanted = int(numbers[0]) if numbers else count(1000000, 15000)
    if "--tap" in sys.argv:
        print("1..1", flush=True)
    agent = Agent()
    race = Race(wanted)
    try:
        race.race()
    finally:
        race.stop()
        agent.stop()
    words = ", ".join(f"{n} {verb}" for verb, n in sorted(race.runs.items()))
    print("not ok 1" if race.wrong else "ok 1", "-", f"{race.swaps} swaps under {sum(race.runs.values())} verbs ({words}; "
          f"{race.statuses[0]} ended with 0): {len(race.wrong)} escapes or worse", flush=True)
    for line in race.wrong:
        print("#", line)
    return bool(race.wrong)


if __name__ == "__main__":
    sys.exit(main())
