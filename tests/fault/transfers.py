#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Files and trees on their way, under faults: R4 of the targets for put, get and sync.

Usage: transfers.py [--short] [--tap] [CUT] [KILL] [HELPER] [CLIENT] [STDIN]     (none: all)
  CUT     the connection is cut at random bytes, by a proxy on loopback, and workers are killed, while a large file is
          put and got; a reader polls the target and must never see anything but the old or the new file
  KILL    a tree is put and got while workers are killed
  HELPER  telex-files is killed in the middle of a transfer
  CLIENT  the client is killed in the middle of a put, and the same words are typed again
  STDIN   `put -` and `get -` of 10 GiB (256 MiB), a worker and telex-files killed and the agent reloaded in the middle;
          no process may hold more than a few MiB of it
Environment: top_builddir; TELEX_FAULT_SCALE (default 1): a factor on sizes and counts.
"""
import hashlib
import os
import signal
import subprocess
import sys
import threading

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
from fault import DEADLINE, SCALE, TELEX, Agent, CutProxy, Failed, breathe, count, end, signal_all, until  # noqa: E402


def digest(path):
    h = hashlib.sha256()
    with open(path, "rb") as f:
        while block := f.read(1 << 20):
            h.update(block)
    return h.hexdigest()


def make_file(path, size, seed):
    """`size` bytes that are like no other's, made fast."""
    block = hashlib.shake_128(bytes([seed])).digest(1 << 20)
    with open(path, "wb") as f:
        for n in range(0, size, len(block)):
            f.write(n.to_bytes(8, "big") + block[8:min(len(block), size - n)])
    os.truncate(path, size)


def make_tree(path, files, seed):
    for n in range(files):
        folder = f"{path}/{n % 17}/{n % 5}"
        os.makedirs(folder, exist_ok=True)
        make_file(f"{folder}/{n}", (n * 7919) % 9000 if n % 50 else 300000, seed + n % 200)
    os.symlink("0/0/0", f"{path}/link")
    os.link(f"{path}/0/0/0", f"{path}/hard")


def compare_trees(a, b):
    """What differs, as diff says it; and parts that were left behind."""
    done = subprocess.run(["diff", "-r", "--no-dereference", a, b], stdout=subprocess.PIPE, check=False)
    wrong = done.stdout.decode(errors="replace").splitlines()[:5]
    return wrong + [f"{name} was left" for name in parts(b)]


def parts(folder):
    return [name for _, _, names in os.walk(folder) for name in names if name.startswith(".telex-")]


def size_of_parts(folder):
    """The most that any has; each may be gone any time."""
    most = 0
    for name in parts(folder):
        try:
            most = max(most, os.path.getsize(f"{folder}/{name}"))
        except FileNotFoundError:
            pass
    return most


def start(*words):
    return subprocess.Popen([TELEX, *words], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)


def finish(client, seconds=DEADLINE):
    try:
        out, _ = client.communicate(timeout=seconds)
    except subprocess.TimeoutExpired:
        end(client)
        raise Failed(f"{client.args}: not done within {seconds} s")
    return client.returncode, out.decode(errors="replace")


class Reader(threading.Thread):
    """Polls the target: whatever it opens is the old file or the new one, whole."""

    def __init__(self, path, allowed):
        super().__init__()
        self.path, self.allowed, self.torn, self.read, self.ended = path, allowed, [], 0, False
        self.start()

    def run(self):
        while not self.ended:
            try:
                with open(self.path, "rb") as f:
                    size, first = os.fstat(f.fileno()).st_size, f.read(4096)
                    f.seek(max(0, size - 4096))
                    last = f.read(4096)
            except FileNotFoundError:
                continue
            self.read += 1
            if (size, first, last) not in self.allowed:
                self.torn.append(f"a file of {size} bytes was seen")
            breathe(0.002)

    def stop(self):
        self.ended = True
        self.join()


def ends_of(path):
    with open(path, "rb") as f:
        size, first = os.fstat(f.fileno()).st_size, f.read(4096)
        f.seek(max(0, size - 4096))
        return size, first, f.read(4096)


def one_way(agent, verb, source, target, cuts, kills):
    allowed = [ends_of(source), ends_of(target)]
    proxy, reader = CutProxy(agent.port, cuts), Reader(target, allowed)
    wrong = []
    try:
        client = start("-w", f"127.0.0.1:{proxy.port}", verb, source, target)
        for _ in range(kills):
            before = proxy.done
            until("a cut", lambda: proxy.done > before or client.poll() is not None or proxy.left == 0)
            signal_all(agent.workers()[:1])
        status, said = finish(client)
    finally:
        reader.stop()
        proxy.stop()
    if status != 0:
        wrong.append(f"{verb}: status {status}: {said}")
    elif digest(source) != digest(target):
        wrong.append(f"{verb}: another content")
    wrong += reader.torn[:3]
    return wrong, proxy.done, reader.read


def cut(agent):
    size = int((64 << 20 if "--short" in sys.argv else 2 << 30) * SCALE)
    cuts, kills = count(20, 8), count(5, 2)
    folder = agent.folder + "/cut"
    os.mkdir(folder)
    make_file(folder + "/source", size, 1)
    for name in ("put", "got"):
        make_file(f"{folder}/{name}", 100000, 2)
    wrong, n, read = one_way(agent, "put", folder + "/source", folder + "/put", cuts, kills)
    wrong2, n2, read2 = one_way(agent, "get", folder + "/source", folder + "/got", cuts, kills)
    wrong += wrong2 + [f"{name} was left" for name in parts(folder)]
    return wrong, f"{size >> 20} MiB each way, {n + n2} cuts, {2 * kills} workers killed, {read + read2} looks at the target"


def kill(agent):
    folder = agent.folder + "/kill"
    make_tree(folder + "/a", count(5000, 400), 3)
    wrong, all_kills = [], 0
    for verb, source, target in (("put", "a", "b"), ("get", "b", "c")):
        # So slow that it is not over before the first of them.
        client = start("-q", verb, "--limit-rate", "2M", f"{folder}/{source}", f"{folder}/{target}")
        until("a beginning", lambda: os.path.isdir(f"{folder}/{target}") or client.poll() is not None)
        kills = 0
        while client.poll() is None and kills < 5:
            kills += signal_all(agent.workers()[:1])
            breathe(0.03)
        status, said = finish(client)
        if status != 0:
            wrong.append(f"{verb}: status {status}: {said}")
        if kills == 0:
            wrong.append(f"{verb}: no worker was killed")
        wrong += compare_trees(f"{folder}/{source}", f"{folder}/{target}")
        all_kills += kills
    return wrong, f"a tree each way, {all_kills} workers killed meanwhile"


def helpers(agent):
    found = []
    for pid in filter(str.isdigit, os.listdir("/proc")):
        try:
            with open(f"/proc/{pid}/stat", encoding="ascii") as f:
                stat = f.read().rsplit(")", 1)[1].split()
            with open(f"/proc/{pid}/comm", encoding="ascii") as f:
                if f.read().strip() == "telex-files" and int(stat[1]) == agent.pid:
                    found.append(int(pid))
        except OSError:
            pass
    return found


def helper(agent):
    folder = agent.folder + "/helper"
    os.mkdir(folder)
    make_file(folder + "/source", int((96 << 20) * SCALE), 4)
    wrong, killed = [], 0
    for verb, target in (("put", "put"), ("get", "got")):
        # So slow that it is in the middle when it is looked at.
        client = start("-q", verb, "--limit-rate", "32M", folder + "/source", f"{folder}/{target}")
        until("a part", lambda: parts(folder) or client.poll() is not None)
        killed += signal_all(helpers(agent))
        status, said = finish(client)
        if status != 0 or digest(folder + "/source") != digest(f"{folder}/{target}"):
            wrong.append(f"{verb}: status {status}: {said}")
    wrong += [f"{name} was left" for name in parts(folder)]
    if killed == 0:
        wrong.append("no telex-files was there to be killed")
    return wrong, f"{killed} telex-files killed in the middle"


def client(agent):
    folder = agent.folder + "/client"
    os.mkdir(folder)
    make_file(folder + "/source", int((128 << 20) * SCALE), 5)
    words = ("put", folder + "/source", folder + "/target")
    # So slow that it is in the middle when it is ended.
    first = start(words[0], "--limit-rate", "16M", *words[1:])
    until("a part", lambda: size_of_parts(folder) > 4 << 20 or first.poll() is not None)
    end(first)
    first.stdout.close()
    status, said = finish(start("--json", *words))
    wrong = [] if status == 0 else [f"status {status}: {said}"]
    if not wrong and digest(folder + "/source") != digest(folder + "/target"):
        wrong.append("another content")
    if not wrong and '"saved_bytes":0' in said:
        wrong.append(f"nothing was gone on with: {said}")
    wrong += [f"{name} was left" for name in parts(folder)]
    # A tree: the target is there by then, and is gone on with, and not gone into.
    make_tree(folder + "/a", 600, 6)
    for verb, source, target in (("put", "a", "b"), ("get", "b", "c")):
        first = start(verb, "--limit-rate", "2M", f"{folder}/{source}", f"{folder}/{target}")
        until("a folder", lambda: os.path.isdir(f"{folder}/{target}") or first.poll() is not None)
        end(first)
        first.stdout.close()
        status, said = finish(start(verb, f"{folder}/{source}", f"{folder}/{target}"))
        wrong += [f"{verb}: status {status}: {said}"] if status != 0 else []
        wrong += compare_trees(f"{folder}/{source}", f"{folder}/{target}")
    return wrong, "killed, typed again, gone on with"


RESIDENT_MAX = 64 << 10  # KiB, of each of our processes, however much goes through


class Peak(threading.Thread):
    """The most that the client, the workers and telex-files had resident, in KiB, by name."""

    def __init__(self, agent, client_pid):
        super().__init__()
        self.agent, self.client_pid, self.most, self.ended = agent, client_pid, {}, False
        self.start()

    def look(self):
        for pid in [self.client_pid, *self.agent.workers(), *helpers(self.agent)]:
            try:
                with open(f"/proc/{pid}/maps", encoding="ascii", errors="replace") as f:
                    maps = f.read()
                if not maps or "asan" in maps:
                    continue  # it is ending; or its memory is no concern of ours
                with open(f"/proc/{pid}/status", encoding="ascii", errors="replace") as f:
                    fields = dict(line.split(":", 1) for line in f)
            except OSError:
                continue
            name = fields["Name"].strip()
            if "VmHWM" in fields:
                self.most[name] = max(self.most.get(name, 0), int(fields["VmHWM"].split()[0]))

    def run(self):
        while not self.ended:
            self.look()
            breathe(0.05)

    def stop(self):
        self.ended = True
        self.join()
        return [f"{name} had {kib} KiB resident" for name, kib in self.most.items() if kib > RESIDENT_MAX]


def disturb(agent, at, size, done):
    """What happens on the way, by how far it is: each once."""
    faults = (("worker", lambda: agent.workers()[:1], signal.SIGKILL), ("helper", lambda: helpers(agent), signal.SIGKILL),
              ("reload", lambda: [agent.pid], signal.SIGHUP))
    for n, (name, whom, signo) in enumerate(faults, 1):
        if name not in done and at >= size * n // 4:
            done[name] = until(f"a {name}", whom)
            signal_all(done[name], signo)


def put_stream(agent, target, size, done):
    """Standard input of a client, of which nobody has a copy; its digest."""
    words = open(agent.folder + "/words", "w+b")
    client = subprocess.Popen([TELEX, "-q", "put", "-", target], stdin=subprocess.PIPE, stdout=words, stderr=words)
    peak, h = Peak(agent, client.pid), hashlib.sha256()
    block = hashlib.shake_128(b"stdin").digest(1 << 20)
    try:
        for at in range(0, size, len(block)):
            disturb(agent, at, size, done)
            piece = at.to_bytes(8, "big") + block[8:min(len(block), size - at)]
            h.update(piece)
            client.stdin.write(piece)
        client.stdin.close()
        status = client.wait(DEADLINE + (size >> 24))  # it becomes durable
    except (BrokenPipeError, subprocess.TimeoutExpired) as e:
        status = f"none ({e})"
    finally:
        wrong = peak.stop()
        end(client)
    words.seek(0)
    if status != 0:
        wrong.append(f"put -: status {status}: {words.read().decode(errors='replace')}")
    return wrong, h.hexdigest(), peak.most


def get_stream(agent, source, size, done):
    words = open(agent.folder + "/words", "w+b")
    client = subprocess.Popen([TELEX, "-q", "get", source, "-"], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                              stderr=words)
    peak, h, at = Peak(agent, client.pid), hashlib.sha256(), 0
    try:
        while piece := client.stdout.read(1 << 20):
            h.update(piece)
            at += len(piece)
            disturb(agent, at, size, done)
        status = client.wait(DEADLINE)
    finally:
        wrong = peak.stop()
        end(client)
        client.stdout.close()
    words.seek(0)
    if status != 0:
        wrong.append(f"get -: status {status}: {words.read().decode(errors='replace')}")
    return wrong, h.hexdigest(), peak.most


def streams(agent):
    size = int((256 << 20 if "--short" in sys.argv else 10 << 30) * SCALE)
    folder = agent.folder + "/streams"
    os.mkdir(folder)
    there, back = {}, {}
    wrong, put, most = put_stream(agent, folder + "/target", size, there)
    if not os.path.exists(folder + "/target"):
        return wrong, f"{size >> 20} MiB put; resident at most, KiB: {most}"
    if digest(folder + "/target") != put:
        wrong.append("put -: another content")
    wrong2, got, most2 = get_stream(agent, folder + "/target", size, back)
    if got != put:
        wrong2.append("get -: another content")
    wrong += wrong2 + [f"{name} was left" for name in parts(folder)]
    wrong += [f"no {name} was there" for done in (there, back) for name in ("worker", "helper", "reload") if name not in done]
    most = {name: max(most.get(name, 0), most2.get(name, 0)) for name in (*most, *most2)}
    os.unlink(folder + "/target")
    return wrong, f"{size >> 20} MiB each way; resident at most, KiB: {most}"


RUNS = {"CUT": cut, "KILL": kill, "HELPER": helper, "CLIENT": client, "STDIN": streams}


def main():
    names = [a for a in sys.argv[1:] if not a.startswith("--")] or list(RUNS)
    tap = "--tap" in sys.argv
    agent = Agent()
    failed = 0
    try:
        if tap:
            print(f"1..{len(names)}", flush=True)
        for n, name in enumerate(names, 1):
            try:
                wrong, words = RUNS[name](agent)
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
        agent.stop()
    return failed > 0


if __name__ == "__main__":
    sys.exit(main())
