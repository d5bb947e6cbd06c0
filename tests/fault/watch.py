#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Watches in a storm: what a client makes of what it is told is the tree that is there (R-runs of watching; pitfall 8).

Usage: watch.py [--short] [--tap] [--runs N] [--source inotify|fanotify|both] [PLAIN] [CUT] [WORKER] [HELPER] [ALL] [QUEUE] [SLOW]     (none: all;
                                    with --short: PLAIN, ALL and QUEUE)
  --source  what the agent watches by (default: both, one after the other; fanotify is skipped where it cannot be)
  PLAIN   16 writers create, write, rename across folders, delete, make folders deep and touch in them at once: 200,000
          changes. A tree that is built of nothing but `telex --json watch` equals find, and nothing else is said
  CUT     the same, with the connection cut at random bytes
  WORKER  the same, with workers killed
  HELPER  the same, with telex-files killed
  ALL     the three at once
  QUEUE   the same, and what watches stands still until the kernel's queue has overflowed, again and again: rescans are said
  SLOW    a reader that stops for most of the storm: nobody's memory grows with what it does not read
Environment: top_builddir; TELEX_FAULT_SCALE (default 1): a factor on the changes; TELEX_FAULT_SEED.
"""
import base64
import json
import os
import random
import shutil
import signal
import stat
import subprocess
import sys
import threading

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
from fault import DEADLINE, SCALE, TELEX, Agent, CutProxy, Failed, breathe, signal_all, until  # noqa: E402
from transfers import helpers  # noqa: E402

WRITERS = 16
CHANGES = int((3000 if "--short" in sys.argv else 200000) * SCALE)
QUEUE = "/proc/sys/fs/{}/max_queued_events"
QUEUE_MAX = 1 << 18  # more events take too long to be made


# ---- a storm ----


class Writer:
    """Makes so many changes below a folder, among others who do the same."""

    def __init__(self, root, changes, seed):
        self.root, self.left, self.r = root, changes, random.Random(seed)
        self.mine = []  # files that were made here, and may be elsewhere by now

    def place(self):
        """A folder of those that all writers use."""
        path = self.root
        for _ in range(self.r.randrange(4)):
            path += f"/d{self.r.randrange(6)}"
        return path

    def name(self):
        return f"{self.place()}/f{self.r.randrange(400)}"

    def some(self):
        return self.r.choice(self.mine) if self.mine and self.r.random() < 0.7 else self.name()

    def write(self):
        path = self.name()
        with open(path, self.r.choice("wa"), encoding="ascii") as f:
            f.write("x" * self.r.randrange(200))
        self.mine.append(path)
        del self.mine[:-200]

    def append(self):
        with open(self.some(), "a", encoding="ascii") as f:
            f.write("y")

    def rename(self):
        to = self.name()
        os.rename(self.some(), to)
        self.mine.append(to)

    def delete(self):
        os.unlink(self.some())

    def deep(self):
        """mkdir -p and touch, at once: what is made before the folder above is watched."""
        path = f"{self.place()}/" + "/".join(f"n{self.r.randrange(9)}" for _ in range(self.r.randint(2, 6)))
        os.makedirs(path, exist_ok=True)
        with open(f"{path}/t{self.r.randrange(9)}", "w", encoding="ascii"):
            pass
        self.left -= 3

    def make_folder(self):
        os.mkdir(f"{self.place()}/d{self.r.randrange(6)}")

    def move_folder(self):
        os.rename(f"{self.place()}/{self.r.choice('dn')}{self.r.randrange(6)}",
                  f"{self.place()}/{self.r.choice('dnm')}{self.r.randrange(6)}")

    def remove_folder(self):
        shutil.rmtree(f"{self.place()}/{self.r.choice('dnm')}{self.r.randrange(6)}")
        self.left -= 3

    def change_mode(self):
        os.chmod(self.some(), self.r.choice((0o600, 0o644, 0o755)))

    def link(self):
        os.symlink("nowhere", f"{self.place()}/l{self.r.randrange(100)}")

    def exchange(self):
        """A file is replaced by another, as editors do it."""
        path = self.some()
        with open(path + "~", "w", encoding="ascii") as f:
            f.write("z" * self.r.randrange(100))
        os.rename(path + "~", path)
        self.left -= 1

    def run(self):
        steps = [self.write] * 30 + [self.append] * 12 + [self.rename] * 14 + [self.delete] * 12 + [self.deep] * 5 + \
            [self.make_folder] * 6 + [self.move_folder] * 3 + [self.remove_folder] + [self.change_mode] * 6 + \
            [self.link] * 4 + [self.exchange] * 6
        while self.left > 0:
            try:
                self.r.choice(steps)()
                self.left -= 1
            except (OSError, shutil.Error):
                pass  # others were first


class Storm:
    def __init__(self, root, changes, seed):
        self.pids = []
        for n in range(WRITERS):
            pid = os.fork()
            if pid == 0:
                status = 1
                try:
                    signal.signal(signal.SIGTERM, signal.SIG_DFL)
                    Writer(root, changes // WRITERS, seed * 1000 + n).run()
                    status = 0
                finally:
                    os._exit(status)
            self.pids.append(pid)

    def over(self):
        for pid in list(self.pids):
            done, status = os.waitpid(pid, os.WNOHANG)
            if done:
                self.pids.remove(pid)
                if status:
                    raise Failed(f"a writer ended with {status}")
        return not self.pids

    def stop(self):
        for pid in self.pids:
            os.kill(pid, signal.SIGKILL)
            os.waitpid(pid, 0)


def truth(root):
    """What find sees: path -> what a client is told of it. A folder's size and time come of what is in it, and are not
    told again with each of its entries."""
    found = {}

    def add(path, st):
        kind = "folder" if stat.S_ISDIR(st.st_mode) else "link" if stat.S_ISLNK(st.st_mode) else "file"
        found[path] = (kind, st.st_ino, f"{stat.S_IMODE(st.st_mode):04o}",
                       *((None, None) if kind == "folder" else (st.st_size, st.st_mtime_ns)))

    add(root, os.lstat(root))
    todo = [root]
    while todo:
        folder = todo.pop()
        with os.scandir(folder) as entries:
            for e in entries:
                add(e.path, e.stat(follow_symlinks=False))
                if e.is_dir(follow_symlinks=False):
                    todo.append(e.path)
    return found


# ---- a client's tree ----


class Node:
    __slots__ = ("state", "below")

    def __init__(self):
        self.state, self.below = None, {}


class Model(threading.Thread):
    """The tree that `telex --json watch -r` tells, and nothing else."""

    def __init__(self, root, words=(), where=()):
        super().__init__()
        self.root, self.top, self.lock = root, Node(), threading.Lock()
        self.events, self.kinds, self.strange = 0, {}, []
        self.clock, self.whole, self.armed, self.source = None, False, False, None
        self.client = subprocess.Popen([TELEX, *where, "--json", "watch", "-r", "--state", *words, root],
                                       stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        self.start()

    def node(self, path, make):
        node = self.top
        for name in path[len(self.root) + 1:].split("/") if path != self.root else ():
            following = node.below.get(name)
            if following is None:
                if not make:
                    return None
                following = node.below[name] = Node()
            node = following
        return node

    def drop(self, path):
        if path == self.root:
            self.top = Node()
            return
        above, name = path.rsplit("/", 1)
        parent = self.node(above, False)
        if parent is not None:
            parent.below.pop(name, None)

    def change(self, e):
        path = os.fsdecode(base64.b64decode(e["path_base64"])) if "path_base64" in e else e["path"]
        if path != self.root and not path.startswith(self.root + "/"):
            self.strange.append(f"{path} is not below {self.root}")
            return
        if "deleted" in e["kinds"]:
            self.drop(path)
        if e["exists"]:
            self.node(path, True).state = (e["type"], e["inode"], e["mode"], *(
                (None, None) if e["type"] == "folder" else (e["size"], e["modified_ns"])))
        elif "deleted" not in e["kinds"]:
            self.strange.append(f"{path} is not there, and was not deleted: {e['kinds']}")

    def take(self, line):
        e = json.loads(line)
        event = e["event"]
        self.kinds[event] = self.kinds.get(event, 0) + 1
        if event == "change":
            self.events += 1
            self.change(e)
            self.whole = False
        elif event == "clock":
            self.clock, self.whole = e["clock"], True
        elif event == "armed":
            self.armed, self.source = True, e["backend"]
            if e["fresh_instance"]:
                self.top = Node()
                self.whole = False
        elif event == "rescan":
            key = f"rescan {e['reason']}{' done' if e['done'] else ''}"
            self.kinds[key] = self.kinds.get(key, 0) + 1
        elif event in ("warning", "warning-over") and e["reason"] != "OVERFLOWS":
            self.strange.append(f"a warning: {line.decode().strip()}")

    def run(self):
        for line in self.client.stdout:
            with self.lock:
                self.take(line)

    def tree(self):
        found, todo = {}, [(self.root, self.top)]
        while todo:
            path, node = todo.pop()
            found[path] = node.state
            todo += [(f"{path}/{name}", below) for name, below in node.below.items()]
        return found

    def equals(self, wanted):
        with self.lock:
            return self.whole and self.tree() == wanted

    def differences(self, wanted):
        with self.lock:
            got = self.tree()
        out = [f"too much: {p} {got[p]}" for p in sorted(set(got) - set(wanted))]
        out += [f"missing: {p} {wanted[p]}" for p in sorted(set(wanted) - set(got))]
        out += [f"{p}: {got[p]}, and it is {wanted[p]}" for p in sorted(set(got) & set(wanted)) if got[p] != wanted[p]]
        return [f"{len(out)} differences"] * bool(out) + out[:8]

    def stop(self):
        """What it said on stderr."""
        if self.client.poll() is None:
            self.client.send_signal(signal.SIGTERM)  # SIGINT may be ignored, where this runs in the background
        try:
            self.client.wait(DEADLINE)
        except subprocess.TimeoutExpired:
            self.client.kill()
        self.join()
        said = self.client.stderr.read().decode()
        self.client.stdout.close()
        self.client.stderr.close()
        return said


# ---- a run ----


def watchers(agent):
    """Those telex-files that watch."""
    found = []
    for pid in helpers(agent):
        try:
            with open(f"/proc/{pid}/cmdline", "rb") as f:
                if {b"--watch", b"--watch-wide"} & set(f.read().split(b"\0")):
                    found.append(pid)
        except OSError:
            pass
    return found


def source_of(agent):
    """What it watches by, as it says."""
    folder = agent.folder + "/source"
    os.makedirs(folder, exist_ok=True)
    client = subprocess.Popen([TELEX, "--json", "watch", "-r", folder], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE)
    try:
        return next(e["backend"] for e in map(json.loads, client.stdout) if e["event"] == "armed")
    finally:
        client.terminate()
        client.wait(DEADLINE)
        client.stdout.close()


def agent_by(source):
    """None: this machine has not what it takes."""
    agent = Agent()
    agent.source = source
    if source == "inotify":
        with open(agent.dev + "/telexd.conf", "a", encoding="utf-8") as f:
            f.write("watch_fanotify = false\n")
        os.kill(agent.pid, signal.SIGHUP)
        until("that it watches by inotify", lambda: source_of(agent) == source)
    elif source_of(agent) != source:
        agent.stop()
        return None
    return agent


class Faults:
    """What happens during a storm, at random moments."""

    def __init__(self, agent, which):
        self.agent, self.which, self.done = agent, which, {}
        self.proxy = CutProxy(agent.port, 1000000, CHANGES * 10) if "cut" in which else None

    def where(self):
        return ["-w", f"127.0.0.1:{self.proxy.port}"] if self.proxy else []

    def strike(self):
        """Each kind is certain until it has happened once: a short storm may be over before chance has come to all."""
        missing = self.missing()
        if not missing:
            breathe(random.uniform(0.02, 0.25))
        for name, whom in (("worker", lambda: self.agent.workers()[:1]), ("helper", lambda: watchers(self.agent))):
            if name in missing or name in self.which and not missing and random.random() < 0.7:
                self.done[name] = self.done.get(name, 0) + signal_all(whom())
        if missing == ["cut"]:
            self.proxy.cut_now()

    def missing(self):
        """The kinds that have not happened yet."""
        done = {**self.done, "cut": self.proxy.done if self.proxy else 0}
        return [name for name in ("worker", "helper", "cut") if name in self.which and not done.get(name)]

    def stop(self):
        """From now on all is well; what was open goes on."""
        if self.proxy:
            self.done["cut"], self.proxy.left = self.proxy.done, 0

    def end(self):
        if self.proxy:
            self.proxy.stop()


def resident(pids):
    """KiB, the most that any had."""
    most = 0
    for pid in pids:
        try:
            with open(f"/proc/{pid}/status", encoding="ascii", errors="replace") as f:
                most = max([most] + [int(line.split()[1]) for line in f if line.startswith("VmHWM:")])
        except OSError:
            pass
    return most


def is_stopped(pid):
    with open(f"/proc/{pid}/stat", encoding="ascii") as f:
        return f.read().rsplit(")", 1)[1].split()[0] in "Tt"


def overflow(agent, root, limit):
    """More changes than its queue holds while it reads none: a storm alone overflows it only where it is slower than that."""
    stopped = watchers(agent)
    signal_all(stopped, signal.SIGSTOP)
    try:
        until("that it reads none", lambda: all(is_stopped(pid) for pid in stopped))
        for n in range(2 * limit):
            path = f"{root}/queued{n}"  # of a name of its own, as the kernel joins what is alike
            os.close(os.open(path, os.O_WRONLY | os.O_CREAT, 0o600))
            os.unlink(path)
    finally:
        signal_all(stopped, signal.SIGCONT)


def storm(agent, which, number):
    """One storm; what was wrong, and the client's figures."""
    root = f"{agent.folder}/storm"
    seed = random.getrandbits(30)
    os.mkdir(root)
    Writer(root, 300, seed).run()
    faults = Faults(agent, which)
    model = Model(root, where=faults.where())
    winds = None
    try:
        until("that it is armed", lambda: model.armed or model.client.poll() is not None)
        if "queue" in which:
            overflow(agent, root, which["queue"])  # once for certain, however short the storm
        winds = Storm(root, CHANGES, seed)
        if "slow" in which:
            model.client.send_signal(signal.SIGSTOP)
        while not winds.over():
            if "worker" in which or "helper" in which:
                faults.strike()
            elif "queue" in which:
                overflow(agent, root, which["queue"])
                breathe(0.5)
            else:
                breathe(0.01)
        # All of the writers may have ended before there was somebody to kill, or enough was sent to be cut.
        until("that each kind of fault happens", lambda: not faults.missing() or faults.strike())
        faults.stop()
        if "slow" in which:
            which["slow"] = max(which["slow"], resident([*watchers(agent), *agent.workers()]))
            model.client.send_signal(signal.SIGCONT)
        wanted = truth(root)
        try:
            until("the same tree", lambda: model.equals(wanted) or model.client.poll() is not None)
            wrong = model.differences(wanted)
        except Failed:
            wrong = model.differences(wanted) + ["it did not come to be alike"]
        if model.client.poll() is not None:
            wrong.append(f"the client ended with {model.client.returncode}")
    finally:
        if winds:
            winds.stop()
        said = model.stop()
        faults.end()
        shutil.rmtree(root)
    wrong += model.strange[:5]
    if model.source != agent.source:
        wrong.append(f"it was told by {model.source}")
    if wrong:
        wrong += [f"run {number}, seed {seed}, {model.kinds}, {faults.done}"] + said.splitlines()[-5:]
    return wrong, model, faults.done, len(wanted)


def storms(agent, runs, **which):
    events, done, kinds, paths = 0, {}, {}, 0
    for number in range(runs):
        wrong, model, faults, n = storm(agent, which, number)
        events += model.events
        paths += n
        for name, k in faults.items():
            done[name] = done.get(name, 0) + k
        for name, k in model.kinds.items():
            kinds[name] = kinds.get(name, 0) + k
        if wrong:
            return wrong, f"{number} of {runs} went well", kinds
    missing = [f"no {name} happened" for name in ("cut", "worker", "helper") if name in which and not done.get(name)]
    words = "".join(f", {k} {name}{'s' * (k != 1)}" for name, k in done.items())
    rescans = sum(k for name, k in kinds.items() if name.startswith("rescan ") and name.endswith("done"))
    return missing, (f"{runs} storm{'s' * (runs != 1)} of {CHANGES} changes: {events} told, {paths // max(runs, 1)} paths "
                     f"at the end, alike{words}, {rescans} rescans"), kinds


def plain(agent, runs):
    wrong, words, kinds = storms(agent, runs)
    return wrong + [f"{name} was said" for name in kinds if name in ("interrupted", "warning")], words


def queue(agent, runs):
    """The limit is as it is, as a smaller one would be that of all who begin to watch meanwhile."""
    path = QUEUE.format(agent.source)
    try:
        with open(path, encoding="ascii") as f:
            limit = int(f.read())
    except OSError as e:
        return None, f"{path}: {e.strerror}"
    if limit > QUEUE_MAX:
        return None, f"the kernel's queue has room for {limit} events"
    wrong, words, kinds = storms(agent, runs, queue=limit)
    if not wrong and not kinds.get("rescan overflow"):
        wrong.append(f"the queue did not overflow: {kinds}")
    return wrong, words


def slow(agent, runs):
    which = {"slow": 0}
    events, words = 0, ""
    for number in range(runs):
        wrong, model, _, _ = storm(agent, which, number)
        events += model.events
        words = f"{runs} of {CHANGES} changes each: {events} told to a reader that stopped; resident at most {which['slow']} KiB"
        if wrong:
            return wrong, words
    return [f"{which['slow']} KiB resident"] if which["slow"] > 96 << 10 and SCALE >= 1 else [], words


RUNS = {"PLAIN": plain,
        "CUT": lambda agent, runs: storms(agent, runs, cut=True)[:2],
        "WORKER": lambda agent, runs: storms(agent, runs, worker=True)[:2],
        "HELPER": lambda agent, runs: storms(agent, runs, helper=True)[:2],
        "ALL": lambda agent, runs: storms(agent, runs, cut=True, worker=True, helper=True)[:2],
        "QUEUE": queue,
        "SLOW": slow}


def main():
    words = sys.argv[1:]
    runs = int(words[words.index("--runs") + 1]) if "--runs" in words else 1
    names = [w for w in words if w in RUNS] or (["PLAIN", "ALL", "QUEUE"] if "--short" in words else list(RUNS))
    tap = "--tap" in words
    seed = int(os.environ.get("TELEX_FAULT_SEED", random.SystemRandom().getrandbits(32)))
    random.seed(seed)
    print(f"{'# ' if tap else ''}seed {seed}", flush=True)
    source = words[words.index("--source") + 1] if "--source" in words else "both"
    sources = ["inotify", "fanotify"] if source == "both" else [source]
    if tap:
        print(f"1..{len(names) * len(sources)}", flush=True)
    return sum(by_source(source, n * len(names), names, runs, tap) for n, source in enumerate(sources)) > 0


def by_source(source, first, names, runs, tap):
    """How many failed."""
    agent = agent_by(source)
    failed = 0
    try:
        for n, name in enumerate(names, first + 1):
            try:
                wrong, figures = RUNS[name](agent, runs) if agent else (None, f"this agent does not watch by {source}")
            except Failed as e:
                wrong, figures = [str(e)], "given up"
            failed += bool(wrong)
            if tap:
                skip = " # SKIP" if wrong is None else ""
                print(f"{'not ok' if wrong else 'ok'} {n} - {name} by {source}{skip}: {figures}")
            else:
                print(f"{name:7} {source:8} {'skipped' if wrong is None else 'FAILED' if wrong else 'ok':8} {figures}")
            for line in wrong or ():
                print(f"{'# ' if tap else '        '}{line}")
            sys.stdout.flush()
    finally:
        if agent:
            agent.stop()
    return failed


if __name__ == "__main__":
    sys.exit(main())
