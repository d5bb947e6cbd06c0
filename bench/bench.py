#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""telex beside the tools that a user would pick instead, measured in turn in one run on one machine.

Usage: bench.py [P1] [P3] [P4] [P5] [P6] [P7] [P8] [P9] [P10] [P11] [P12] [P13] [P15] [P16] [P17] [P18]
                (none: all; P2 comes with P1)
Environment: top_builddir; TELEX_BENCH_SCALE (default 1): a factor on rounds, bytes and numbers.

The peers: an sshd of our own on loopback with keys made for the run, and yardsticks of our own ("limit").
Nothing is left behind. Each row: ours, theirs, ratio, target, met or not; as soon as it is measured, and all of them
as a table at the end.
"""
import json
import os
import pty
import pwd
import select
import shutil
import signal
import socket
import statistics
import subprocess
import sys
import tempfile
import threading
import time
import tty

import watches

BUILD = os.environ.get("top_builddir", ".")
SCALE = float(os.environ.get("TELEX_BENCH_SCALE", "1"))
GIB = 1 << 30
TELEX = os.path.join(BUILD, "telex")
SPAWN, RAW_TLS, SCALED, WRITER, HANDSHAKE = (
    os.path.join(BUILD, "bench", name)
    for name in ("bench_spawn", "bench_tls", "bench_scale", "bench_writer", "bench_handshake"))
rows = []


def scaled(number, least):
    return max(least, int(number * SCALE))


def add_row(*cells):
    rows.append(cells)
    print("  ".join(cell for cell in cells if cell), flush=True)


def row(name, what, ours, against, theirs, ratio, target, unit):
    add_row(name, what, f"{ours:.4g} {unit}", against, f"{theirs:.4g} {unit}", f"{ratio:.2f}x",
            f">= {target}x" if target > 0 else f"<= {-target}x",
            "met" if (ratio >= target if target > 0 else ratio <= -target) else "NOT MET")


def row_more(name, what, ours, against, theirs, allowed, unit):
    """What ours may be more than theirs."""
    add_row(name, what, f"{ours:.4g} {unit}", against, f"{theirs:.4g} {unit}", f"{ours - theirs:+.4g} {unit}",
            f"<= +{allowed} {unit}", "met" if ours - theirs <= allowed else "NOT MET")


def timed(argv, **options):
    start = time.perf_counter()
    done = subprocess.run(argv, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL,
                          stderr=subprocess.PIPE, check=False, **options)
    seconds = time.perf_counter() - start
    if done.returncode != 0:
        raise SystemExit(f"bench: {argv} ended with {done.returncode}: {done.stderr.decode()}")
    return seconds


def in_turn(rounds, *commands):
    """Runs the commands A B C A B C ..., one warm-up each; the medians."""
    times = [[] for _ in commands]
    for n in range(rounds + 1):
        for i, argv in enumerate(commands):
            seconds = argv() if callable(argv) else timed(argv)
            if n > 0:
                times[i].append(seconds)
    return [statistics.median(t) for t in times]


class Agent:
    """An agent of its own (`telex dev`) with its files below the folder."""

    def __init__(self, folder):
        self.env = dict(os.environ, HOME=folder, XDG_CONFIG_HOME=folder + "/config",
                        XDG_STATE_HOME=folder + "/state", TELEX_CONTEXT="dev")
        subprocess.run([TELEX, "-q", "dev", "--detach"], check=True, stdin=subprocess.DEVNULL, env=self.env)
        shown = subprocess.run([TELEX, "--json", "context", "show", "dev"], check=True,
                               stdout=subprocess.PIPE, env=self.env)
        c = json.loads(shown.stdout)
        self.credentials = [c["host"], c["certificate"], c["key"], c["ca"]]
        with open(folder + "/state/telex/dev/telexd.pid", encoding="ascii") as f:
            self.keeper = int(f.read().split()[0])

    def processes(self):
        with open(f"/proc/{self.keeper}/task/{self.keeper}/children", encoding="ascii") as f:
            children = [int(pid) for pid in f.read().split()]
        return [self.keeper] + [pid for pid in children if comm(pid) == "telex-worker"]

    def memory(self):
        """KiB of all its processes, what they share with others by their part of it (Pss)."""
        total = 0
        for pid in self.processes():
            with open(f"/proc/{pid}/smaps_rollup", encoding="ascii") as f:
                total += sum(int(line.split()[1]) for line in f if line.startswith("Pss:"))
        return total

    def stop(self):
        subprocess.run([TELEX, "-q", "dev", "--stop"], check=False, env=self.env)


def comm(pid):
    try:
        with open(f"/proc/{pid}/comm", encoding="ascii") as f:
            return f.read().strip()
    except OSError:
        return ""


def output_of(*argv, **options):
    return subprocess.run(argv, check=True, stdout=subprocess.PIPE, text=True, **options).stdout


def free_port():
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return s.getsockname()[1]


def wait_for_port(port):
    end = time.monotonic() + 60
    while True:
        try:
            socket.create_connection(("127.0.0.1", port), timeout=5).close()
            return
        except OSError:
            if time.monotonic() > end:
                raise
            time.sleep(0.02)


class Sshd:
    """An sshd on loopback. With a bare shell (root only): the login shell is the program itself, so that
    no shell's start is counted."""

    def __init__(self, folder, bare_shell=None):
        self.folder = tempfile.mkdtemp(dir=folder)
        for name in ("host", "user"):
            subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", f"{self.folder}/{name}"],
                           check=True)
        shutil.copy(f"{self.folder}/user.pub", f"{self.folder}/authorized")
        with socket.socket() as s:
            s.bind(("127.0.0.1", 0))
            self.port = s.getsockname()[1]
        with open(f"{self.folder}/config", "w", encoding="ascii") as f:
            f.write(f"ListenAddress 127.0.0.1\nPort {self.port}\nHostKey {self.folder}/host\n"
                    f"AuthorizedKeysFile {self.folder}/authorized\nStrictModes no\nUsePAM no\n"
                    f"PidFile none\nPermitRootLogin yes\nPrintLastLog no\nMaxSessions 100\n"
                    "PasswordAuthentication no\nMaxStartups 100:30:200\nSubsystem sftp internal-sftp\n")
        sshd = shutil.which("sshd") or "/usr/sbin/sshd"
        argv = [sshd, "-D", "-e", "-f", f"{self.folder}/config"]
        self.bare = bool(bare_shell) and os.geteuid() == 0
        if self.bare:
            with open("/etc/passwd", encoding="utf-8") as f:
                lines = [line.rsplit(":", 1)[0] + ":" + bare_shell + "\n"
                         if line.startswith(pwd.getpwuid(0).pw_name + ":") else line for line in f]
            with open(f"{self.folder}/passwd", "w", encoding="utf-8") as f:
                f.writelines(lines)
            argv = ["unshare", "-m", "sh", "-c", 'mount --bind "$0" /etc/passwd && exec "$@"',
                    f"{self.folder}/passwd", *argv]
        if os.geteuid() == 0:
            os.makedirs("/run/sshd", exist_ok=True)
        self.log = open(f"{self.folder}/log", "wb")
        self.process = subprocess.Popen(argv, stdin=subprocess.DEVNULL, stdout=self.log, stderr=self.log)
        for _ in range(200):
            with socket.socket() as s:
                if s.connect_ex(("127.0.0.1", self.port)) == 0:
                    break
            time.sleep(0.05)
        self.control = f"{self.folder}/mux"

    def command(self, *argv, options=()):
        return ["ssh", "-F", "none", "-p", str(self.port), "-i", f"{self.folder}/user",
                "-o", "StrictHostKeyChecking=no", "-o", "UserKnownHostsFile=/dev/null",
                "-o", "LogLevel=ERROR", "-o", "IdentitiesOnly=yes", *options,
                f"{pwd.getpwuid(os.geteuid()).pw_name}@127.0.0.1", *argv]

    def start_master(self):
        self.master = subprocess.Popen(
            self.command(options=("-N", "-M", "-S", self.control)), stdin=subprocess.DEVNULL)
        for _ in range(200):
            if os.path.exists(self.control):
                return
            time.sleep(0.05)
        raise SystemExit("bench: the ssh master did not start")

    def stop(self):
        for process in (getattr(self, "master", None), self.process):
            if process:
                process.send_signal(signal.SIGTERM)
                process.wait()
        self.log.close()


def spawn_times(agent, rounds, *control):
    """us, p50, of "telex", "spawn" and, with the path of an ssh master, "ssh"."""
    out = output_of(SPAWN, str(rounds), "/bin/true", *agent.credentials, *control)
    return {name: int(p50) / 1000 for name, p50, _ in (line.split() for line in out.splitlines())}


def run_true(agent):
    return lambda: timed([TELEX, "run", "-n", "--", "/bin/true"], env=agent.env)


def p1(agent, folder):
    """P1 and P2: run /bin/true over a warm connection."""
    sshd = Sshd(folder, bare_shell="/bin/true")
    try:
        sshd.start_master()
        p50 = spawn_times(agent, scaled(500, 20), sshd.control)
        shell = "bare shell" if sshd.bare else "login shell"
        one, mux = in_turn(scaled(40, 5), run_true(agent),
                           sshd.command("/bin/true", options=("-S", sshd.control)))
        # What a user of ssh has is its program on a warm master; a user of telex has the library. The
        # second row gives ssh a library, too: its multiplexing protocol, spoken in our process. There,
        # making the process itself is the most of both times: the third row is what none can pass.
        row("P1", "run /bin/true, warm, p50", p50["telex"], f"ssh program, warm master, {shell}", mux * 1e6,
            mux * 1e6 / p50["telex"], 5, "us")
        row("P1", "the same, against its protocol alone", p50["telex"], f"ssh mux, in process, {shell}",
            p50["ssh"], p50["ssh"] / p50["telex"], 5, "us")
        add_row("-", "local posix_spawn + wait alone", f"{p50['spawn']:.4g} us", "ssh mux, in process",
                f"{p50['ssh']:.4g} us", f"{p50['ssh'] / p50['spawn']:.2f}x", "", "for information")
        row("P2", "run /bin/true, warm, p50", p50["telex"], "local posix_spawn + wait (limit)", p50["spawn"],
            p50["telex"] / p50["spawn"], -1.5, "us")
        add_row("-", "telex program, cold", f"{one * 1000:.4g} ms", "ssh program, warm master",
                f"{mux * 1000:.4g} ms", f"{mux / one:.2f}x", "", "for information")
    finally:
        sshd.stop()


def p3(agent, folder):
    sshd = Sshd(folder, bare_shell="/bin/true")
    try:
        ours, theirs = in_turn(scaled(40, 5), run_true(agent), sshd.command("/bin/true"))
        row("P3", "cold telex run -- /bin/true", ours * 1000, "ssh cold, keys, bare shell" if sshd.bare else
            "ssh cold, keys, login shell", theirs * 1000, theirs / ours, 5, "ms")
    finally:
        sshd.stop()


def p4(agent, _):
    out = output_of(SCALED, *agent.credentials, "rate", str(scaled(10000, 200)), "32", "/bin/true")
    rate = {name: float(value) for name, value in (line.split() for line in out.splitlines())}
    row("P4", "/bin/true, 32 in flight, a second", rate["telex"], "2 loops of posix_spawn (limit)",
        rate["local"], rate["telex"] / rate["local"], 0.7, "/s")


def streamed(size, argv, env, feed):
    """Seconds of one stream of size bytes: into the program's stdin, or out of it to /dev/null."""
    start = time.perf_counter()
    source = subprocess.Popen([WRITER, str(size)], stdout=subprocess.PIPE) if feed else None
    status = subprocess.run(argv, stdin=source.stdout if feed else subprocess.DEVNULL,
                            stdout=subprocess.DEVNULL, env=env, check=False).returncode
    seconds = time.perf_counter() - start
    if feed:
        source.stdout.close()
        source.wait()
    if status != 0:
        raise SystemExit(f"bench: {argv} ended with {status}")
    return seconds


def throughput(agent, folder, name, what, feed, against_limit):
    size = int(4 * GIB * SCALE)
    sshd = Sshd(folder)
    program = [WRITER, str(size)] + (["sink"] if feed else [])
    ours = [TELEX, "run", *([] if feed else ["-n"]), "--", *program]
    ssh = sshd.command(*program, options=("-c", "aes128-gcm@openssh.com"))
    try:
        # The kernel's congestion control may pace what stays on the machine (BBR does). telex switches
        # that off; a second pump does the same.
        t, s, raw, plain = in_turn(
            3, lambda: streamed(size, ours, agent.env, feed), lambda: streamed(size, ssh, None, feed),
            lambda: int(output_of(RAW_TLS, str(size))) / 1e9,
            lambda: int(output_of(RAW_TLS, str(size), "reno")) / 1e9)
        rate = size / (1 << 20)
        row(name, f"{what}, {size / GIB:.3g} GiB", rate / t, "ssh aes128-gcm", rate / s, s / t, 1.6, "MiB/s")
        row(name, "the same", rate / t, "raw TLS pump (limit)", rate / raw, raw / t, against_limit, "MiB/s")
        rows.append(("-", "the same", f"{rate / t:.4g} MiB/s", "the pump, without pacing",
                     f"{rate / plain:.4g} MiB/s", f"{plain / t:.2f}x", "", "for information"))
    finally:
        sshd.stop()


def p5(agent, folder):
    throughput(agent, folder, "P5", "stdout", False, 0.9)


def p6(agent, folder):
    throughput(agent, folder, "P6", "stdin", True, 0.85)


class Typist:
    """A program on a terminal of ours whose other end answers each key with the same byte."""

    def __init__(self, argv, env):
        self.pid, self.fd = pty.fork()
        if self.pid == 0:
            os.execvpe(argv[0], argv, env or os.environ)
        tty.setraw(self.fd)
        self.expect(b"ready", 20)

    def expect(self, wanted, seconds):
        got = b""
        deadline = time.monotonic() + seconds
        while wanted not in got:
            if not select.select([self.fd], [], [], max(0, deadline - time.monotonic()))[0]:
                raise SystemExit(f"bench: a terminal did not answer; it said {got!r}")
            got += os.read(self.fd, 4096)

    def key(self):
        start = time.perf_counter()
        os.write(self.fd, b"x")
        self.expect(b"x", 20)
        return time.perf_counter() - start

    def stop(self):
        os.write(self.fd, b"\x04")
        os.close(self.fd)
        try:
            os.kill(self.pid, signal.SIGTERM)
        except ProcessLookupError:
            pass
        os.waitpid(self.pid, 0)


def p7(agent, folder):
    echo = "stty raw -echo; echo ready; exec cat"
    sshd = Sshd(folder)
    typists = []
    try:
        sshd.start_master()
        typists.append(Typist([TELEX, "run", "-it", "--", "sh", "-c", echo], agent.env))
        typists.append(Typist(sshd.command(f"sh -c '{echo}'", options=("-tt", "-S", sshd.control)), None))
        times = [[], []]
        for n in range(scaled(2000, 50)):
            for typist, t in zip(typists, times):
                seconds = typist.key()
                if n >= 10:
                    t.append(seconds * 1e6)
        ours, ssh = (sorted(t) for t in times)
        for what, at, target in (("p50", 0.5, 2), ("p99", 0.99, 1)):
            mine, theirs = ours[int(len(ours) * at)], ssh[int(len(ssh) * at)]
            row("P7", f"keystroke echo, {what}", mine, "ssh mux", theirs, theirs / mine, target, "us")
    finally:
        for typist in typists:
            typist.stop()
        sshd.stop()


def rivals(sshd):
    """How scp, rsync and tar reach the sshd: with the cipher that TLS has."""
    cipher = "aes128-gcm@openssh.com"
    words = sshd.command(options=("-c", cipher))
    shell = " ".join(words[:-1])
    name = words[-1]
    scp = ["scp", "-q", "-c", cipher, "-P", str(sshd.port), *words[5:-3]]
    return scp, shell, name


def beside(folder, kind, ways, clean, rounds=3):
    """ways: name -> argv. Each in its turn, with `clean` before it; the medians. What was written before is on the disk
    by then: nobody waits for the one before him."""
    times = {name: [] for name in ways}
    for n in range(rounds + 1):
        for name, argv in ways.items():
            clean()
            os.sync()
            seconds = timed(argv[0], env=argv[1]) if isinstance(argv, tuple) else timed(argv)
            if n > 0:
                times[name].append(seconds)
    return {name: statistics.median(t) for name, t in times.items()}


def places(folder):
    """tmpfs and disk, where there are both."""
    found = [("disk", tempfile.mkdtemp(dir=folder))]
    if os.path.isdir("/dev/shm") and os.access("/dev/shm", os.W_OK):
        found.append(("tmpfs", tempfile.mkdtemp(dir="/dev/shm")))
    return found


def p8(agent, folder):
    size = scaled(2 * GIB, 16 << 20)
    sshd = Sshd(folder)
    try:
        scp, shell, name = rivals(sshd)
        for where, place in places(folder):
            a, b = place + "/a", place + "/b"
            with open(a, "wb") as f:
                block = os.urandom(1 << 20)
                for _ in range(size >> 20):
                    f.write(block)

            def clean():
                if os.path.exists(b):
                    os.unlink(b)
            for verb, ours, theirs in (
                    ("put", [TELEX, "-q", "put", a, b], (a, f"{name}:{b}")),
                    ("get", [TELEX, "-q", "get", a, b], (f"{name}:{a}", b))):
                got = beside(folder, verb, {
                    "telex": (ours, agent.env), "scp": [*scp, *theirs],
                    "rsync": ["rsync", "-W", "-e", shell, *theirs]}, clean, 2)
                mib = size / (1 << 20)
                for rival in ("scp", "rsync"):
                    row("P8", f"{verb} {mib:.0f} MiB, {where}", mib / got["telex"],
                        f"{rival}{' -W' if rival == 'rsync' else ''} aes128-gcm", mib / got[rival],
                        got[rival] / got["telex"], 1.5, "MiB/s")
            shutil.rmtree(place)
    finally:
        sshd.stop()


def make_small_files(folder, files):
    for n in range(files):
        below = f"{folder}/{n % 20}"
        os.makedirs(below, exist_ok=True)
        with open(f"{below}/{n}", "wb") as f:
            f.write(os.urandom(4096))


def p9(agent, folder):
    files = scaled(20000, 200)
    sshd = Sshd(folder)
    try:
        scp, shell, name = rivals(sshd)
        for where, place in places(folder):
            a, b = place + "/a", place + "/b"
            make_small_files(a, files)

            # Not removed: for some minutes ext4 gives no inode away that was just freed, and each new file looks through
            # all of these.
            def clean():
                if os.path.exists(b):
                    os.rename(b, tempfile.mkdtemp(dir=place) + "/b")
            for verb in ("put", "get"):
                source, target = (a, f"{name}:{b}") if verb == "put" else (f"{name}:{a}", b)
                tar = f"mkdir {b} && tar -C {a} -cf - . | {shell} {name} tar -C {b} -xf -" if verb == "put" else \
                    f"mkdir {b} && {shell} {name} tar -C {a} -cf - . | tar -C {b} -xf -"
                got = beside(folder, verb, {
                    "telex": ([TELEX, "-q", verb, a, b], agent.env),
                    "scp": [*scp, "-r", source, target],
                    "rsync": ["rsync", "-a", "-e", shell, source + "/", target],
                    "tar": ["sh", "-c", tar]}, clean, 2)
                for rival, target_ratio in (("scp", 10), ("rsync", 2), ("tar", 1)):
                    row("P9", f"{verb} {files} files of 4 KiB, {where}", got["telex"] * 1000,
                        {"scp": "scp -r", "rsync": "rsync -a", "tar": "tar | ssh tar"}[rival],
                        got[rival] * 1000, got[rival] / got["telex"], target_ratio, "ms")
            shutil.rmtree(place)
    finally:
        sshd.stop()


class Relay:
    """Stands before a port of this machine, and counts the bytes that go through it, both ways: what is on the wire."""

    def __init__(self, port):
        self.to, self.up, self.down = port, 0, 0
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.port = self.listener.getsockname()[1]
        threading.Thread(target=self.accept, daemon=True).start()

    def accept(self):
        while True:
            try:
                near, _ = self.listener.accept()
            except OSError:
                return
            far = socket.create_connection(("127.0.0.1", self.to))
            for s in (near, far):
                s.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            threading.Thread(target=self.pump, args=(near, far, "up"), daemon=True).start()
            threading.Thread(target=self.pump, args=(far, near, "down"), daemon=True).start()

    def pump(self, one, other, way):
        try:
            while some := one.recv(1 << 18):
                # One thread for each way: nobody else counts it.
                setattr(self, way, getattr(self, way) + len(some))
                other.sendall(some)
            other.shutdown(socket.SHUT_WR)
        except OSError:
            one.close()
            other.close()

    def stop(self):
        """Bytes up and down."""
        self.listener.close()
        return self.up, self.down


def change_part(path, size, places):
    """One percent, in so many places."""
    with open(path, "r+b") as f:
        for n in range(places):
            f.seek(size // places * n + 1000)
            f.write(os.urandom(size // 100 // places))


def p10_unchanged(agent, folder, sshd, files):
    _, shell, name = rivals(sshd)
    place = tempfile.mkdtemp(dir=folder)
    a, b = place + "/a", place + "/b"
    make_small_files(a, files)
    timed(["rsync", "-a", a + "/", b])
    got = beside(folder, "sync", {
        "telex": ([TELEX, "-q", "sync", a, b], agent.env),
        "rsync": ["rsync", "-a", "-e", shell, a + "/", f"{name}:{b}/"]}, lambda: None)
    row("P10", f"sync {files} unchanged files", got["telex"] * 1000, "rsync -a", got["rsync"] * 1000,
        got["rsync"] / got["telex"], 1, "ms")
    shutil.rmtree(place)


def p10_wire(agent, sshd, place, what):
    """The bytes on the wire of both, and of ours again where nothing has changed."""
    def ours():
        relay = Relay(int(agent.credentials[0].rsplit(":", 1)[1]))
        timed([TELEX, "-q", "-w", f"127.0.0.1:{relay.port}", "sync", place + "/a", place + "/b"], env=agent.env)
        return relay.stop()

    up, down = ours()
    relay = Relay(sshd.port)
    words = sshd.command(options=("-c", "aes128-gcm@openssh.com"))
    words[words.index("-p") + 1] = str(relay.port)
    timed(["rsync", "-a", "-e", " ".join(words[:-1]), place + "/a/", f"{words[-1]}:{place}/c/"])
    their_up, their_down = relay.stop()
    row("P10", f"{what}: on the wire, {up / 1e6:.2f} up and {down / 1e6:.2f} down", (up + down) / 1e6,
        f"rsync -a, {their_up / 1e6:.2f} up and {their_down / 1e6:.2f} down", (their_up + their_down) / 1e6,
        (their_up + their_down) / (up + down), 1, "MB")
    again = sum(ours())
    if again > 100000:
        raise SystemExit(f"bench: sync of what is alike sent {again} bytes")


def p10_changed(agent, folder, sshd, size):
    _, shell, name = rivals(sshd)
    place = tempfile.mkdtemp(dir=folder)
    for one in "abc":
        os.mkdir(f"{place}/{one}")
    with open(place + "/old", "wb") as f:
        for _ in range(size >> 20):
            f.write(os.urandom(1 << 20))

    def clean():
        for one in "bc":
            shutil.copy(place + "/old", f"{place}/{one}/f")

    for places in (100, 1, 1000):
        what = f"sync {size >> 20} MiB with 1% changed in {places} places"
        shutil.copy(place + "/old", place + "/a/f")
        change_part(place + "/a/f", size, places)
        if places == 100:
            got = beside(folder, "sync", {
                "telex": ([TELEX, "-q", "sync", place + "/a", place + "/b"], agent.env),
                "rsync": ["rsync", "-a", "-e", shell, place + "/a/", f"{name}:{place}/c/"]}, clean, 1)
            row("P10", what, got["telex"] * 1000, "rsync -a", got["rsync"] * 1000, got["rsync"] / got["telex"], 1, "ms")
        clean()
        p10_wire(agent, sshd, place, what)
    shutil.rmtree(place)


def p10(agent, folder):
    sshd = Sshd(folder)
    try:
        p10_unchanged(agent, folder, sshd, scaled(20000, 200))
        p10_changed(agent, folder, sshd, scaled(GIB, 8 << 20))
    finally:
        sshd.stop()


def p11(agent, folder):
    """The same changes for both, in one folder, one at a time."""
    place = folder + "/watched"
    os.mkdir(place)
    tellers = [watches.Teller([TELEX, "watch", "--paths", place], b"watching", agent.env)]
    try:
        tellers.append(watches.Teller(["inotifywait", "-m", "--format", "%f", place], b"established", None))
        ours, theirs = watches.latencies(tellers, place, scaled(2000, 50))
    finally:
        for teller in tellers:
            teller.stop()
    for what, at, allowed in (("p50", 0.5, 300), ("p99", 0.99, 1000)):
        row_more("P11", f"change to line, {what}", ours[int(len(ours) * at)], "local inotifywait -m",
                 theirs[int(len(theirs) * at)], allowed, "us")


def p12_memory(agent, folder, top, count):
    """What the folders cost, beyond a telex-files that watches next to nothing."""
    empty = folder + "/empty"
    os.mkdir(empty)
    first = watches.Watching(agent, empty)
    before = watches.memory_of_watchers(agent.keeper)
    watching = watches.Watching(agent, top)
    after = watches.memory_of_watchers(agent.keeper)
    for one in (first, watching):
        one.stop()
    each = (after - before) / count
    row("P12", f"resident, each of {count} folders, {watching.backend}", each, "what is allowed", 200, each / 200, -1, "B")


def p12_ours(folder, top):
    """By an agent that knows nothing of them yet."""
    own = tempfile.mkdtemp(dir=folder)
    agent = Agent(own)
    try:
        watching = watches.Watching(agent, top)
        watching.stop()
        return watching.seconds
    finally:
        agent.stop()
        shutil.rmtree(own, ignore_errors=True)


def p12(agent, folder):
    count = scaled(100000, 200)
    if watches.most_watches() < count + 1000:
        raise SystemExit(f"bench: P12 needs the sysctl fs.inotify.max_user_watches to be {count + 1000} or more")
    top = folder + "/many"
    watches.make_folders(top, count)
    ways = {"telex": lambda: p12_ours(folder, top), "limit": lambda: watches.limit(top)}
    if shutil.which("watchman"):
        ways["watchman"] = lambda: watches.watchman(folder, top)
    times = {name: [] for name in ways}
    for n in range(4):
        for name, way in ways.items():
            seconds = way()
            if n > 0:
                times[name].append(seconds * 1000)
    ms = {name: statistics.median(t) for name, t in times.items()}
    row("P12", f"arm {count} folders", ms["telex"], "inotify_add_watch + readdir (limit)", ms["limit"],
        ms["telex"] / ms["limit"], -1.2, "ms")
    if "watchman" in ms:
        row("P12", f"arm {count} folders", ms["telex"], "watchman", ms["watchman"], ms["watchman"] / ms["telex"], 1, "ms")
    p12_memory(agent, folder, top, count)


def p13(_agent, _folder):
    alike, lines = watches.storm(SCALE)
    add_row("P13", f"a storm of {int(200000 * SCALE)} changes", "tree alike" if alike else "DIFFERENT", "find", "the true tree",
            "", "lost silently: 0", "met" if alike else "NOT MET")
    print("\n".join(lines), flush=True)


class Held:
    """Idle connections and running jobs at an agent, until stop."""

    def __init__(self, agent, connections, jobs):
        self.process = subprocess.Popen(
            [SCALED, *agent.credentials, "hold", str(connections), str(jobs)],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        if self.process.stdout.readline() != b"held\n":
            raise SystemExit("bench: the connections or jobs could not be made")

    def stop(self):
        self.process.stdin.close()
        self.process.wait()


def p16(agent, _):
    idle = agent.memory()
    row("P16", "resident, agent idle, all processes", idle / 1024, "what is allowed", 8, idle / 1024 / 8, -1, "MB")
    for what, connections, jobs, limit in (("idle connection", scaled(2000, 50), 0, 40),
                                           ("idle running job", 0, scaled(2000, 50), 24)):
        before = agent.memory()
        held = Held(agent, connections, jobs)
        try:
            each = (agent.memory() - before) / (connections + jobs)
        finally:
            held.stop()
        row("P16", f"resident, each {what}", each, "what is allowed", limit, each / limit, -1, "KB")


def p17(agent, folder):
    connections, jobs = scaled(10000, 100), scaled(5000, 50)
    loaded_folder = tempfile.mkdtemp(dir=folder)
    loaded = Agent(loaded_folder)
    held = None
    try:
        held = Held(loaded, connections, jobs)
        times = [[], []]
        for _ in range(5):
            for t, a in zip(times, (loaded, agent)):
                t.append(spawn_times(a, scaled(200, 20))["telex"])
        with_them, without = (statistics.median(t) for t in times)
        row("P17", f"P1's p50, {connections} connections, {jobs} jobs", with_them, "an idle agent", without,
            with_them / without, -1.5, "us")
    finally:
        if held:
            held.stop()
        loaded.stop()


def p18(agent, _):
    sizes = [str(scaled(n, 2 + i)) for i, n in enumerate((10, 100, 1000, 5000))]
    out = output_of(SCALED, *agent.credentials, "work", str(scaled(500, 20)), *sizes)
    lines = [line.split() for line in out.splitlines()]
    for at, what, target in ((6, "signal", -1.2), (4, "attach", -1.2)):
        few, many = int(lines[0][at]) / 1000, int(lines[-1][at]) / 1000
        row("P18", f"{what}, with {lines[-1][0]} jobs", many, f"with {lines[0][0]}", few, many / few, target, "us")
    few, many = (int(line[2]) / 1000 / int(line[0]) for line in (lines[-2], lines[-1]))
    row("P18", f"list, each of {lines[-1][0]} jobs", many, f"each of {lines[-2][0]}", few, many / few, -1.2, "us")


def table():
    heads = ("", "what", "ours", "against", "theirs", "ratio", "target", "")
    widths = [max(len(r[i]) for r in [heads, *rows]) for i in range(len(heads))]
    for r in [heads, *rows]:
        print("  ".join(cell.ljust(width) for cell, width in zip(r, widths)).rstrip())


def p15(agent, folder):
    """New mutual-TLS connections a second, in turns with openssl s_server."""
    host, certificate, key, ca = agent.credentials
    ours_port = host.rsplit(":", 1)[1]
    theirs_port = str(free_port())
    dev = os.path.dirname(ca)
    server = subprocess.Popen(
        ["openssl", "s_server", "-accept", f"127.0.0.1:{theirs_port}", "-cert", f"{dev}/agent.pem", "-key",
         f"{dev}/agent.key", "-CAfile", ca, "-Verify", "1", "-verify_return_error", "-tls1_3", "-num_tickets", "0",
         "-alpn", "h2", "-www", "-quiet"], cwd=folder, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL)
    try:
        wait_for_port(int(theirs_port))
        count = str(scaled(1000, 20))
        best = {"ours": 0.0, "theirs": 0.0}
        for _ in range(3):
            for name, port, say in (("ours", ours_port, []), ("theirs", theirs_port, ["say"])):
                rate = float(output_of(HANDSHAKE, port, certificate, key, ca, count, *say))
                best[name] = max(best[name], rate)
        row("P15", "mutual-TLS connections a second", best["ours"], "openssl s_server -www", best["theirs"],
            best["ours"] / best["theirs"], 0.9, "/s")
    finally:
        server.kill()
        server.wait()


BENCHES = {"P1": p1, "P3": p3, "P4": p4, "P5": p5, "P6": p6, "P7": p7, "P8": p8, "P9": p9, "P10": p10,
           "P11": p11, "P12": p12, "P13": p13, "P15": p15, "P16": p16, "P17": p17, "P18": p18}


def main():
    wanted = {"P1" if name == "P2" else name for name in sys.argv[1:]} or set(BENCHES)
    unknown = wanted - set(BENCHES)
    if unknown:
        raise SystemExit(f"bench: no such target: {', '.join(sorted(unknown))} (there are P2, {', '.join(BENCHES)})")
    # Ended by a signal, it still ends what it started.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    try:
        with tempfile.TemporaryDirectory() as folder:
            for name, bench in BENCHES.items():
                if name not in wanted:
                    continue
                with tempfile.TemporaryDirectory(dir=folder) as own:
                    agent = Agent(own)
                    try:
                        bench(agent, own)
                    finally:
                        agent.stop()
    finally:
        table()


if __name__ == "__main__":
    main()
