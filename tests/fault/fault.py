#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Streams under faults, compared byte by byte: R1, R2, R3, R4 (the process's part) and R5 of the targets.

Usage: fault.py [--short] [--tap] [R1] [R1s] [R2] [R3] [R4] [R5] ...     (none: all)
  R1   workers are killed at random moments while jobs stream both ways
  R1s  workers are killed in the middle of each system call that they make (strace)
  R2   reloads (SIGHUP) and upgrades (SIGUSR2) under the same load
  R3   workers are stopped (SIGSTOP) while a detached job writes
  R4   the connection is cut at random bytes, by a proxy on loopback
  R5   500 kB, then exit, many times under load
Environment: top_builddir; TELEX_FAULT_SCALE (default 1): a factor on the counts.
Everything that is started is ended, by pid; what cannot be run here is said.
"""
import hashlib
import json
import os
import random
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time

BUILD = os.environ.get("top_builddir", ".")
TELEX = os.path.join(BUILD, "telex")
STREAM = os.path.abspath(os.path.join(BUILD, "tests/fault/fault_stream"))
SCALE = float(os.environ.get("TELEX_FAULT_SCALE", "1"))
DEADLINE = 300  # seconds: nothing that is waited for takes this long
RATE = 8 << 20  # bytes a second, each direction


# Ended by a signal, it still ends what it started.
signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))


class Failed(Exception):
    pass


def breathe(seconds):
    """The pace of faults and of polling; nothing depends on it."""
    threading.Event().wait(seconds)


def until(what, condition, seconds=DEADLINE):
    """Polls; the value of the condition once it is true."""
    end = time.monotonic() + seconds
    while True:
        value = condition()
        if value:
            return value
        if time.monotonic() > end:
            raise Failed(f"{what}: not within {seconds} s")
        breathe(0.005)


def count(full, short):
    return short if "--short" in sys.argv else max(1, int(full * SCALE))


def quantile(values, q):
    values = sorted(values)
    return values[min(len(values) - 1, int(len(values) * q))] if values else 0.0


class Agent:
    """An agent of our own, in a folder of its own."""

    def __init__(self):
        self.folder = tempfile.mkdtemp(prefix="telex-fault.")
        self.dev = self.folder + "/dev"
        os.environ.update(HOME=self.folder, XDG_CONFIG_HOME=self.folder + "/config",
                          XDG_STATE_HOME=self.folder + "/state", TELEX_CONTEXT="dev")
        subprocess.run([TELEX, "-q", "dev", "--detach", "--dir", self.dev], check=True, stdin=subprocess.DEVNULL)
        shown = subprocess.run([TELEX, "--json", "context", "show", "dev"], check=True, stdout=subprocess.PIPE)
        host = json.loads(shown.stdout)["host"]
        self.port = int(host.rsplit(":", 1)[1])
        with open(self.dev + "/telexd.pid", encoding="ascii") as f:
            self.pid = int(f.read().split()[0])

    def workers(self):
        """Those that serve: the children that are telex-worker."""
        found = []
        try:
            with open(f"/proc/{self.pid}/task/{self.pid}/children", encoding="ascii") as f:
                children = f.read().split()
        except OSError:
            return found
        for pid in children:
            try:
                with open(f"/proc/{pid}/comm", encoding="ascii") as f:
                    if f.read().strip() == "telex-worker":
                        found.append(int(pid))
            except OSError:
                pass
        return found

    def log(self):
        with open(self.dev + "/telexd.log", encoding="utf-8", errors="replace") as f:
            return f.read()

    def stop(self):
        subprocess.run([TELEX, "-q", "dev", "--stop", "--dir", self.dev], check=False)
        shutil.rmtree(self.folder, ignore_errors=True)


def telex(*words, check=True, **options):
    done = subprocess.run([TELEX, *words], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                          timeout=DEADLINE, check=False, **options)
    if check and done.returncode != 0:
        raise Failed(f"telex {' '.join(words)}: status {done.returncode}: {done.stderr.decode()}")
    return done


def signal_all(pids, signo=signal.SIGKILL):
    """Signals them; how many were there still."""
    met = 0
    for pid in pids:
        try:
            os.kill(pid, signo)
            met += 1
        except ProcessLookupError:
            pass
    return met


def end(*processes):
    for p in processes:
        if p.poll() is None:
            p.kill()
        p.wait()


class Load:
    """Three jobs: bytes out, bytes in, and a clock whose ticks tell how long the stream stood still."""

    def __init__(self, where=()):
        self.where = list(where)
        self.id = f"f{random.getrandbits(40):010x}"
        self.late = []  # (arrival, latency) in ns
        self.words = open(os.environ["HOME"] + "/words", "ab")
        self.begin = self.words.tell()
        self.out = self.client(["-n", "--id", self.id + "o"], ["gen", "7", str(RATE)])
        self.out_check = subprocess.Popen([STREAM, "verify", "7"], stdin=self.out.stdout, stdout=subprocess.PIPE)
        self.out.stdout.close()
        self.feed = subprocess.Popen([STREAM, "gen", "9", str(RATE)], stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        self.into = self.client(["-i", "--id", self.id + "i"], ["verify", "9"], stdin=self.feed.stdout)
        self.feed.stdout.close()
        self.clock = self.client(["-n", "--id", self.id + "c"], ["tick", "1000"])
        self.clock_check = subprocess.Popen([STREAM, "latency"], stdin=self.clock.stdout, stdout=subprocess.PIPE)
        self.clock.stdout.close()
        self.reader = threading.Thread(target=self.read_latencies)
        self.reader.start()
        for job in "oic":
            until("the jobs run", lambda job=job: telex("--json", "ps").stdout.find((self.id + job).encode()) >= 0)
        # Ended before they hear of signals, they would have no last word.
        self.feed.stderr.readline()
        until("both jobs hear of signals", lambda: self.said().count(b"hears\n") == 2 or self.out.poll() is not None)

    def client(self, options, command, stdin=subprocess.DEVNULL):
        return subprocess.Popen([TELEX, *self.where, "run", "--on-disconnect", "keep", *options, "--", STREAM, *command],
                                stdin=stdin, stdout=subprocess.PIPE, stderr=self.words)

    def said(self):
        """What the jobs said, and their clients."""
        with open(self.words.name, "rb") as f:
            return f.read()[self.begin:]

    def read_latencies(self):
        self.clock_end = b""
        for line in self.clock_check.stdout:
            parts = line.split()
            if len(parts) == 2 and parts[0].isdigit():
                self.late.append((int(parts[0]), int(parts[1])))
            else:
                self.clock_end = line

    def finish(self):
        """Ends all three and says what went wrong; nothing must have."""
        wrong = []
        self.feed.send_signal(signal.SIGTERM)
        fed = self.feed.stderr.read().split()[-1]
        got = self.into.stdout.read().split()
        if self.into.wait(DEADLINE) != 0 or got != [b"ok", fed]:
            wrong.append(f"stdin: {got}, {fed.decode()} were sent, status {self.into.returncode}")
        for job in "oc":
            telex("kill", "--process", "-s", "TERM", self.id + job)
        checked = self.out_check.stdout.read().split()
        if self.out.wait(DEADLINE) != 43 or checked[:1] != [b"ok"]:
            wrong.append(f"stdout: {checked}, status {self.out.returncode}")
        self.reader.join(DEADLINE)
        if self.clock.wait(DEADLINE) != 42 or not self.clock_end.startswith(b"ticks"):
            wrong.append(f"clock: {self.clock_end}, status {self.clock.returncode}")
        words = self.said()
        for end_of in (b"gen " + checked[-1] if checked else b"-", b"gen " + self.clock_end.split()[-1]
                       if self.clock_end else b"-"):
            if end_of not in words:
                wrong.append(f"the job's own count differs: '{end_of.decode()}' is not in {words[-600:]!r}")
        self.bytes = int(checked[-1]) + int(fed) if len(checked) > 1 else 0
        self.close()
        return wrong

    def close(self):
        end(self.feed, self.into, self.out, self.out_check, self.clock, self.clock_check)
        self.words.close()

    def stood_still(self, faults):
        """For each fault (ns), how long the clock's stream stood still after it, in ms; 0: it did not."""
        late, still, i = sorted(self.late), [], 0
        for n, fault in enumerate(faults):
            until_ns = faults[n + 1] if n + 1 < len(faults) else fault + 10**12
            longest = 0
            while i < len(late) and late[i][0] < until_ns:
                if late[i][0] >= fault:
                    longest = max(longest, late[i][1])
                i += 1
            still.append(longest / 1e6)
        return still


class Knocker(threading.Thread):
    """Connects again and again; counts what is refused."""

    def __init__(self, port):
        super().__init__()
        self.port, self.refused, self.tried, self.ended = port, 0, 0, threading.Event()
        self.start()

    def run(self):
        while not self.ended.wait(0.01):
            self.tried += 1
            try:
                socket.create_connection(("127.0.0.1", self.port), 10).close()
            except ConnectionRefusedError:
                self.refused += 1
            except OSError:
                pass

    def stop(self):
        self.ended.set()
        self.join()


def under_load(agent, faults, strike, where=(), pause=(0.05, 0.25)):
    """`faults` times strike(n) under load. The figures, and what went wrong."""
    load = Load(where)
    knocker = Knocker(agent.port)
    times, runs_failed, wrong = [], 0, []
    try:
        for n in range(faults):
            breathe(random.uniform(*pause))
            times.append(time.monotonic_ns())
            strike(n)
            if n % 10 == 0 and telex("run", "-n", "--", "true", check=False).returncode != 0:
                runs_failed += 1
        wrong = load.finish()
    finally:
        knocker.stop()
        load.close()
    still = [ms for ms in load.stood_still(times) if ms > 0]
    if knocker.refused:
        wrong.append(f"{knocker.refused} connects were refused")
    if runs_failed:
        wrong.append(f"{runs_failed} runs failed")
    return wrong, (f"{load.bytes >> 20} MiB compared, {knocker.refused} of {knocker.tried} connects refused, "
                   f"stood still {len(still)} times: p50 {quantile(still, 0.5):.0f} ms, "
                   f"p99 {quantile(still, 0.99):.0f} ms, longest {max(still, default=0):.0f} ms")


# ---- the scenarios: each returns (what went wrong, figures) ----


def kill_a_worker(agent):
    signal_all([random.choice(until("a worker", agent.workers))])


def r1(agent):
    n = count(1000, 10)
    wrong, figures = under_load(agent, n, lambda _: kill_a_worker(agent))
    return wrong, f"{n} kills: {figures}"


# The first six are made all the time; the others where somebody connects, attaches or starts.
CALLS = ("epoll_wait", "recvmsg", "sendmsg", "sendto", "recvfrom", "epoll_ctl", "write", "read", "close", "accept4", "mmap",
         "munmap", "fcntl", "getsockopt", "setsockopt", "openat", "pread64", "writev")


def r1_calls(agent):
    if shutil.which("strace") is None:
        return None, "strace is not installed"
    rounds = count(10, 1)
    calls = CALLS[:6] if "--short" in sys.argv else CALLS
    died = {}

    def strike(n):
        call = calls[n % len(calls)]
        victim = random.choice(until("a worker", agent.workers))
        tracer = subprocess.Popen(
            ["strace", "-qq", "-o", "/dev/null", "-p", str(victim), "-e", f"trace={call}", "-e",
             f"inject={call}:signal=SIGKILL:when={random.randint(1, 12)}"], stdin=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL)
        deadline = time.monotonic() + (2 if died else 30)  # a call that it does not make; one dies in any case
        while tracer.poll() is None and time.monotonic() < deadline:
            breathe(0.005)
        if tracer.poll() is None:
            tracer.terminate()
            tracer.wait()
        else:
            died[call] = died.get(call, 0) + 1

    wrong, figures = under_load(agent, rounds * len(calls), strike, pause=(0.02, 0.1))
    never = [c for c in calls if c not in died]
    if not died:
        wrong.append("no worker died")
    return wrong, (f"{sum(died.values())} deaths in {len(died)} system calls"
                   f"{' (never made: ' + ', '.join(never) + ')' if never else ''}: {figures}")


def r2(agent):
    n = count(1000, 5)

    def change(i):
        """One is over before the next: else it may be refused, or both be one."""
        signo, words = (signal.SIGHUP, ": reloaded: ") if i % 2 == 0 else (signal.SIGUSR2, ": upgraded: ")
        before = agent.log().count(words)
        os.kill(agent.pid, signo)
        until("that it is done", lambda: agent.log().count(words) > before)

    wrong, figures = under_load(agent, 2 * n, change)
    with open(f"/proc/{agent.pid}/comm", encoding="ascii") as f:
        if f.read().strip() != "telexd":
            wrong.append("the keeper is another process")
    return wrong, f"{n} reloads, {n} upgrades: {figures}"


def r3(agent):
    seconds = count(60, 3)
    job = telex("run", "-d", "--output-buffer", "4M", "--", "sh", "-c", "seq 1 400000; exit 9").stdout.decode().strip()
    signal_all(agent.workers(), signal.SIGSTOP)
    stopped = time.monotonic()
    want = hashlib.sha256("".join(f"{i}\n" for i in range(1, 400001)).encode()).hexdigest()

    def is_over():
        with open(f"/proc/{agent.pid}/task/{agent.pid}/children", encoding="ascii") as f:
            children = f.read().split()
        for pid in children:
            try:
                with open(f"/proc/{pid}/comm", encoding="ascii") as f:
                    if f.read().strip() in ("sh", "seq"):
                        return False
            except OSError:
                pass
        return True

    until("the job is not held up by workers that stand still", is_over)
    took = time.monotonic() - stopped
    while time.monotonic() - stopped < seconds:
        signal_all(agent.workers(), signal.SIGSTOP)  # those that came since, too
        breathe(0.05)
    signal_all(agent.workers(), signal.SIGCONT)
    got = hashlib.sha256(telex("logs", job).stdout).hexdigest()
    status = telex("wait", job, check=False).returncode
    wrong = []
    if got != want:
        wrong.append("the output differs")
    if status != 9:
        wrong.append(f"status {status}, not 9")
    return wrong, f"workers stopped for {seconds} s, the job was over after {took:.2f} s, output whole, status {status}"


class CutProxy(threading.Thread):
    """Forwards to the agent and cuts: each connection after a random number of bytes, at most `most`, `cuts` times."""

    def __init__(self, port, cuts, most=4 << 20):
        super().__init__()
        self.agent_port, self.left, self.done, self.most = port, cuts, 0, most
        self.lock = threading.Lock()
        self.server = socket.create_server(("127.0.0.1", 0))
        self.port = self.server.getsockname()[1]
        self.ended = False
        self.open = []
        self.start()

    def run(self):
        while True:
            try:
                client, _ = self.server.accept()
            except OSError:
                return
            if self.ended:
                client.close()
                return
            try:
                agent = socket.create_connection(("127.0.0.1", self.agent_port), 10)
            except OSError:
                client.close()
                continue
            budget = [min(self.most, random.choice((random.randint(1, 6000), random.randint(6000, 200000),
                                                    random.randint(200000, 4 << 20))))]
            with self.lock:
                self.open.append((client, agent))
            for a, b in ((client, agent), (agent, client)):
                threading.Thread(target=self.pump, args=(a, b, budget), daemon=True).start()

    def cut(self, a, b):
        with self.lock:
            for pair in ((a, b), (b, a)):
                if pair in self.open:
                    self.open.remove(pair)
        # With a reset: what the kernel still holds is thrown away, as when a network dies.
        for s in (a, b):
            try:
                s.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
                s.shutdown(socket.SHUT_RDWR)
            except OSError:
                pass
            s.close()

    def pump(self, a, b, budget):
        try:
            while True:
                data = a.recv(65536)
                if not data:
                    break
                with self.lock:
                    budget[0] -= len(data)
                    cut = budget[0] <= 0 and self.left > 0
                    if cut:
                        self.left -= 1
                        self.done += 1
                        data = data[:max(0, len(data) + budget[0])]
                if data:
                    b.sendall(data)
                if cut:
                    break
        except OSError:
            pass
        self.cut(a, b)

    def cut_now(self):
        """One that is open, as if it had come to its last byte."""
        with self.lock:
            pairs = self.open[-1:]
            self.done += len(pairs)
        for a, b in pairs:
            self.cut(a, b)

    def stop(self):
        self.ended = True
        try:
            socket.create_connection(("127.0.0.1", self.port), 5).close()
        except OSError:
            pass
        self.join()
        self.server.close()
        for a, b in list(self.open):
            self.cut(a, b)


def r4(agent):
    n = count(1000, 12)
    proxy = CutProxy(agent.port, n)
    try:
        load = Load(["-w", f"127.0.0.1:{proxy.port}"])
        try:
            until("all cuts", lambda: proxy.left == 0, DEADLINE + n)
            wrong = load.finish()
        finally:
            load.close()
    finally:
        proxy.stop()
    return wrong, f"{proxy.done} cuts at random bytes: {load.bytes >> 20} MiB compared"


def r5(agent):
    n = count(1000, 20)
    path = os.environ["HOME"] + "/burst"
    data = os.urandom(500000)
    with open(path, "wb") as f:
        f.write(data)
    load = Load()
    differ = 0
    try:
        for _ in range(n):
            done = telex("run", "-n", "--", "sh", "-c", f"cat {path}; exit 5", check=False)
            differ += done.returncode != 5 or done.stdout != data
        wrong = load.finish()
    finally:
        load.close()
    if differ:
        wrong.append(f"{differ} of {n} differ")
    return wrong, f"{n} bursts of 500 kB under load: {differ} differ"


SCENARIOS = {"R1": r1, "R1s": r1_calls, "R2": r2, "R3": r3, "R4": r4, "R5": r5}


def main():
    wanted = [a for a in sys.argv[1:] if not a.startswith("--")] or list(SCENARIOS)
    tap = "--tap" in sys.argv
    seed = int(os.environ.get("TELEX_FAULT_SEED", random.SystemRandom().getrandbits(32)))
    random.seed(seed)
    print(f"{'# ' if tap else ''}seed {seed}", flush=True)
    failed = 0
    for n, name in enumerate(wanted, 1):
        if name not in SCENARIOS:
            raise SystemExit(f"fault: there is no {name}; there are {', '.join(SCENARIOS)}")
        agent = Agent()
        try:
            wrong, figures = SCENARIOS[name](agent)
        except (Failed, subprocess.TimeoutExpired) as e:
            wrong, figures = [str(e)], "not finished"
            print("\n".join("# " + line for line in agent.log().splitlines()[-40:]), file=sys.stderr)
        finally:
            agent.stop()
        failed += bool(wrong)
        if tap:
            skip = f" # SKIP {figures}" if wrong is None else ""
            print(f"{'not ok' if wrong else 'ok'} {n} - {name}{skip or ': ' + figures}", flush=True)
        else:
            print(f"{name:4} {'skipped' if wrong is None else 'FAILED' if wrong else 'ok':8} {figures}", flush=True)
        for line in wrong or ():
            print(f"{'# ' if tap else '     '}{line}", flush=True)
    if tap:
        print(f"1..{len(wanted)}")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
