# SPDX-License-Identifier: Apache-2.0
"""What P11 to P13 of bench.py need: programs that tell of changes as lines, a watchman of our own, many folders."""
import json
import os
import random
import select
import shutil
import subprocess
import sys
import tempfile
import threading
import time

BUILD = os.environ.get("top_builddir", ".")
TELEX = os.path.join(BUILD, "telex")
LIMIT = os.path.join(BUILD, "bench", "bench_watch")
STORM = os.path.join(os.path.dirname(os.path.dirname(os.path.abspath(__file__))), "tests", "fault", "watch.py")
FAN_OUT = 46  # 100,000 folders are three deep


def end(process):
    process.terminate()
    process.wait()
    for stream in (process.stdout, process.stderr):
        if stream:
            stream.close()


class Teller:
    """A program that writes a line with the name of what changed. ready: what it says on stderr when it watches."""

    def __init__(self, argv, ready, env):
        self.process = subprocess.Popen(argv, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                                        stderr=subprocess.PIPE, env=env)
        self.fd, self.tail = self.process.stdout.fileno(), b""
        while ready not in (line := self.process.stderr.readline()):
            if not line:
                raise SystemExit(f"bench: {argv} ended")

    def told(self, name):
        """Whether what it has written since has the name."""
        some = os.read(self.fd, 65536)
        if not some:
            raise SystemExit("bench: a program that watches has ended")
        lines = self.tail + some
        self.tail = lines[lines.rfind(b"\n") + 1:]
        return name in lines

    def stop(self):
        end(self.process)


def latencies(tellers, folder, rounds):
    """us from before each change to the line about it, of each of them: the same changes, one at a time."""
    times = [[] for _ in tellers]
    poll = select.poll()
    for teller in tellers:
        poll.register(teller.fd, select.POLLIN)
    pace = threading.Event()
    for n in range(rounds):
        name, waited_for = f"change-{n:07}", set(range(len(tellers)))
        start = time.perf_counter()
        with open(f"{folder}/{name}", "wb", buffering=0) as f:
            f.write(b"x")
        while waited_for:
            ready = {fd for fd, _ in poll.poll()}
            for i, teller in enumerate(tellers):
                if teller.fd in ready and teller.told(name.encode()) and i in waited_for:
                    waited_for.remove(i)
                    times[i].append((time.perf_counter() - start) * 1e6)
        # Neither is to be met at the end of what it does for the change before.
        pace.wait(random.uniform(0.002, 0.006))
    return [sorted(t[rounds // 20:]) for t in times]


def make_folders(top, count):
    """So many, with the top."""
    paths = [top]
    os.mkdir(top)
    for n in range(1, count):
        paths.append(f"{paths[(n - 1) // FAN_OUT]}/folder{(n - 1) % FAN_OUT:02}")
        os.mkdir(paths[n])


def most_watches():
    with open("/proc/sys/fs/inotify/max_user_watches", encoding="ascii") as f:
        return int(f.read())


class Watching:
    """`telex watch -r`, armed; `seconds` is what that took from the start of the program."""

    def __init__(self, agent, folder):
        start = time.perf_counter()
        self.process = subprocess.Popen([TELEX, "--json", "watch", "-r", folder], stdin=subprocess.DEVNULL,
                                        stdout=subprocess.PIPE, env=agent.env)
        line = self.process.stdout.readline()
        self.seconds = time.perf_counter() - start
        armed = json.loads(line or "{}")
        if armed.get("event") != "armed":
            raise SystemExit(f"bench: telex watch -r {folder}: {line}")
        self.backend = armed["backend"]

    def stop(self):
        end(self.process)


def memory_of_watchers(keeper):
    """Bytes of the telex-files of an agent that watch: their own, and of the store what they have touched."""
    total = 0
    with open(f"/proc/{keeper}/task/{keeper}/children", encoding="ascii") as f:
        for pid in f.read().split():
            with open(f"/proc/{pid}/cmdline", "rb") as words:
                if not any(word.startswith(b"--watch") for word in words.read().split(b"\0")):
                    continue
            with open(f"/proc/{pid}/smaps_rollup", encoding="ascii") as f2:
                total += sum(int(line.split()[1]) << 10 for line in f2 if line.startswith("Pss:"))
    if total == 0:
        raise SystemExit("bench: no process that watches was found")
    return total


def limit(folder):
    out = subprocess.run([LIMIT, folder], check=True, stdout=subprocess.PIPE, text=True).stdout
    return int(out.split()[0]) / 1e6


class Watchman:
    """A service of our own, which is running already; the crawl is over when it answers with a clock."""

    def __init__(self, folder):
        self.folder = tempfile.mkdtemp(dir=folder)
        self.words = ["watchman", f"--sockname={self.folder}/socket", f"--statefile={self.folder}/state",
                      f"--logfile={self.folder}/log", f"--pidfile={self.folder}/pid"]
        self.process = subprocess.Popen([*self.words, "--foreground"], stdin=subprocess.DEVNULL,
                                        stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        while not os.path.exists(f"{self.folder}/socket") and self.process.poll() is None:
            threading.Event().wait(0.02)
        self.ask(["get-pid"])

    def ask(self, words):
        done = subprocess.run([*self.words, "--no-spawn", "--no-pretty", "-j"], input=json.dumps(words),
                              stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, check=False)
        if done.returncode != 0 or "error" in json.loads(done.stdout):
            raise SystemExit(f"bench: watchman {words[0]}: {done.stdout} {done.stderr}")

    def watch(self, folder):
        start = time.perf_counter()
        self.ask(["watch", folder])
        self.ask(["clock", folder, {"sync_timeout": 600000}])
        return time.perf_counter() - start

    def stop(self):
        end(self.process)


def watchman(scratch, folder):
    service = Watchman(scratch)
    try:
        return service.watch(folder)
    finally:
        service.stop()
        shutil.rmtree(service.folder, ignore_errors=True)


def storm(scale):
    """A storm of tests/fault/watch.py: whether the client's tree is the true one at the end, and what was told."""
    done = subprocess.run([sys.executable, STORM, "PLAIN"], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                          text=True, check=False, env=dict(os.environ, TELEX_FAULT_SCALE=str(scale)))
    lines = [line for line in done.stdout.splitlines() if not line.startswith("seed")]
    return done.returncode == 0, lines
