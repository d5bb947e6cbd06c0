#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""A watch by a stock client: it keeps a tree from the changes alone, and comes back with its clock when workers, what
watches, or the agent's configuration go from under it. And whose processes do it, with what rights. Prints TAP.

Environment: TELEX_ADDRESS, TELEX_CA, TELEX_CERT, TELEX_KEY (PEM files), TELEX_BOX (the stem of another PEM pair,
whose role may watch TELEX_FOLDER/box and no more), TELEX_FOLDER (a folder), TELEX_AGENT (telexd's pid), TELEX_LOG (its
log), TELEX_CONFIG (its configuration), TELEX_STATE (its state directory), top_srcdir.
"""
import importlib
import json
import os
import queue
import signal
import stat
import subprocess
import sys
import tempfile
import threading
import time

os.environ["GRPC_VERBOSITY"] = "NONE"
import grpc  # noqa: E402

top = os.environ.get("top_srcdir", ".")
folder = os.environ["TELEX_FOLDER"]
DEADLINE = 120
NOBODY = "nobody"
failed = []
done = 0

generated = tempfile.TemporaryDirectory()
protoc = [sys.executable, "-m", "grpc_tools.protoc", "-I", os.path.join(top, "proto"), "--python_out", generated.name]
subprocess.run(protoc + ["--grpc_python_out", generated.name, "telex/v1/process.proto", "telex/v1/file.proto",
                         "telex/v1/watch.proto"], check=True)
subprocess.run(protoc + ["google/rpc/status.proto", "google/rpc/error_details.proto"], check=True)
sys.path.insert(0, generated.name)
import google  # noqa: E402
google.__path__.append(os.path.join(generated.name, "google"))
file_pb = importlib.import_module("telex.v1.file_pb2")
pb = importlib.import_module("telex.v1.watch_pb2")
stubs = importlib.import_module("telex.v1.watch_pb2_grpc")
status_pb = importlib.import_module("google.rpc.status_pb2")
details_pb = importlib.import_module("google.rpc.error_details_pb2")


def ok(what, good, note=""):
    global done
    done += 1
    print(f"{'ok' if good else 'not ok'} {done} - {what}", flush=True)
    if not good:
        failed.append(what)
        for line in str(note).splitlines()[:20]:
            print(f"# {line}", flush=True)


def skip(what, why):
    global done
    done += 1
    print(f"ok {done} - {what} # SKIP {why}", flush=True)


def until(test):
    end = time.monotonic() + DEADLINE
    while not test():
        if time.monotonic() > end:
            return False
        time.sleep(0.02)
    return True


def read(path):
    with open(path, "rb") as f:
        return f.read()


def connect(cert=os.environ["TELEX_CERT"], key=os.environ["TELEX_KEY"]):
    credentials = grpc.ssl_channel_credentials(
        root_certificates=read(os.environ["TELEX_CA"]), private_key=read(key), certificate_chain=read(cert))
    return grpc.secure_channel(os.environ["TELEX_ADDRESS"], credentials,
                               options=[("grpc.use_local_subchannel_pool", 1),
                                        ("grpc.initial_reconnect_backoff_ms", 20),
                                        ("grpc.max_reconnect_backoff_ms", 500)])


def reason(error):
    for key, value in error.trailing_metadata() or ():
        if key == "grpc-status-details-bin":
            info = details_pb.ErrorInfo()
            status_pb.Status.FromString(value).details[0].Unpack(info)
            return info.reason
    return error.code().name


# ---- processes ----

def status_of(pid):
    with open(f"/proc/{pid}/status", encoding="utf-8") as f:
        return {k: v.split() for k, v in (line.rstrip("\n").split(":", 1) for line in f)}


def children(name):
    """Of the agent: pid -> status."""
    found = {}
    for pid in os.listdir("/proc"):
        try:
            if pid.isdigit() and (s := status_of(pid))["Name"] == [name]:
                if s["PPid"] == [os.environ["TELEX_AGENT"]] and s["State"][0] != "Z":
                    found[int(pid)] = s
        except (OSError, KeyError):
            pass
    return found


def descriptors(pid):
    """Number -> what it is; those that are closed meanwhile are left out."""
    found = {}
    for fd in os.listdir(f"/proc/{pid}/fd"):
        try:
            found[fd] = os.readlink(f"/proc/{pid}/fd/{fd}")
        except FileNotFoundError:
            pass
    return found


def watchers(uid=None):
    return {pid: s for pid, s in children("telex-files").items() if uid is None or s["Uid"][0] == str(uid)}


def kill_all(pids):
    for pid in pids:
        try:
            os.kill(pid, signal.SIGKILL)
        except ProcessLookupError:
            pass


# ---- a client that keeps a tree ----

def kind_of(mode):
    for is_kind, kind in ((stat.S_ISREG, file_pb.FILE_TYPE_REGULAR), (stat.S_ISDIR, file_pb.FILE_TYPE_DIRECTORY),
                          (stat.S_ISLNK, file_pb.FILE_TYPE_SYMLINK)):
        if is_kind(mode):
            return kind
    return None


def what_is_there(root):
    """path -> (type, inode, and of files size and time)."""
    found = {}

    def add(path):
        s = os.lstat(path)
        name = os.fsencode(os.path.relpath(path, root)) if path != root else b""
        is_file = stat.S_ISREG(s.st_mode)
        found[name] = (kind_of(s.st_mode), s.st_ino, s.st_size if is_file else 0, s.st_mtime_ns if is_file else 0)

    add(root)
    for top_of, folders, files in os.walk(root):
        for name in folders + files:
            add(os.path.join(top_of, name))
    return found


class Watch(threading.Thread):
    """Comes back by its clock until it is stopped."""

    def __init__(self, channel, root, user=""):
        super().__init__(daemon=True)
        self.stub = stubs.WatchServiceStub(channel)
        self.begin = dict(user=user, paths=[os.fsencode(root)], recursive=True)
        self.lock = threading.Condition()
        self.tree, self.clock, self.requests = {}, "", None
        self.armed, self.fresh, self.rescans, self.warnings, self.breaks = 0, [], [], [], []
        self.synced, self.next_sync, self.error, self.stopped = set(), 1, None, False
        self.start()

    def take(self, m):
        which = m.WhichOneof("response")
        if which == "armed":
            self.armed += 1
            self.fresh.append(m.armed.fresh_instance)
            if m.armed.fresh_instance:
                self.tree = {}
            else:
                self.clock = m.armed.clock
        elif which == "changes":
            for c in m.changes.changes:
                self.apply(c)
            self.clock = m.changes.clock or self.clock
        elif which == "rescan":
            self.rescans.append((m.rescan.reason, m.rescan.done))
        elif which == "warning":
            self.warnings.append((m.warning.error.reason, m.warning.path))
        elif which == "synced":
            self.clock = m.synced.clock
            self.synced.add(m.synced.id)

    def apply(self, c):
        if pb.CHANGE_KIND_DELETED in c.kinds:
            below = c.path + b"/" if c.path else b""
            for path in [p for p in self.tree if p == c.path or p.startswith(below)]:
                del self.tree[path]
        if c.exists:
            is_file = c.type == file_pb.FILE_TYPE_REGULAR
            self.tree[c.path] = (c.type, c.inode, c.size if is_file else 0, c.mtime_ns if is_file else 0)

    def run(self):
        while not self.stopped:
            requests = queue.Queue()
            begin = pb.WatchBegin(since=self.clock, state=not self.clock, wait=bool(self.clock), **self.begin)
            requests.put(pb.WatchRequest(begin=begin))
            with self.lock:
                self.requests = requests
            try:
                for m in self.stub.Watch(iter(requests.get, None)):
                    with self.lock:
                        self.take(m)
                        self.lock.notify_all()
                return
            except grpc.RpcError as error:
                requests.put(None)
                with self.lock:
                    self.breaks.append(reason(error))
                    if error.code() not in (grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.ABORTED):
                        self.error = error
                        self.lock.notify_all()
                        return
            time.sleep(0.02)

    def wait(self, test):
        with self.lock:
            return self.lock.wait_for(lambda: self.error or test(), DEADLINE) and not self.error

    def sync(self):
        """Everything until now has come: asks again after each break."""
        asked = None
        end = time.monotonic() + DEADLINE
        while time.monotonic() < end and not self.error:
            with self.lock:
                if self.requests is not asked:
                    asked = self.requests
                    number = self.next_sync
                    self.next_sync += 1
                    asked.put(pb.WatchRequest(sync=pb.WatchSync(id=number)))
                if number in self.synced:
                    return True
                self.lock.wait(0.05)
        return False

    def stop(self):
        self.stopped = True
        self.requests.put(None)
        self.join(DEADLINE)

    def differs(self, root):
        """"" when the tree is what is there."""
        if not self.sync():
            return f"no barrier: {self.error or self.breaks}"
        with self.lock:
            mine = dict(self.tree)
        there = what_is_there(root)
        return "\n".join(f"{p}: {mine.get(p)} and not {there.get(p)}"
                         for p in sorted(set(mine) | set(there)) if mine.get(p) != there.get(p))


class Changes(threading.Thread):
    """Changes a folder until it is stopped, or has done so much."""

    def __init__(self, root):
        super().__init__(daemon=True)
        self.root, self.number, self.stopped = root, 0, False
        self.start()

    def run(self):
        while not self.stopped:
            n = self.number
            deep = os.path.join(self.root, f"d{n % 7}", "x", "y")
            os.makedirs(deep, exist_ok=True)
            with open(os.path.join(deep, f"f{n % 50}"), "a", encoding="ascii") as f:
                f.write(f"{n}\n")
            if n % 5 == 0:
                os.rename(os.path.join(self.root, f"d{n % 7}"), os.path.join(self.root, f"e{n}"))
            if n % 10 == 9:
                subprocess.run(["rm", "-rf", os.path.join(self.root, f"e{n - 9}")], check=True)
            self.number += 1
            time.sleep(0.001)

    def some(self, how_many=30):
        before = self.number
        return until(lambda: self.number >= before + how_many)

    def stop(self):
        self.stopped = True
        self.join(DEADLINE)


# ---- what is tried ----

def make(name):
    path = os.path.join(folder, name)
    os.mkdir(path)
    return path


def whose_it_is():
    root = make("whose")
    uid = os.getuid()
    with connect() as channel:
        one = Watch(channel, root)
        ok("it is armed", one.wait(lambda: one.armed == 1), one.error)
        with connect() as second:
            other = Watch(second, root)
            ok("so is another, on another connection", other.wait(lambda: other.armed == 1), other.error)
            found = watchers(uid)
            ok("one process is there for both", len(found) == 1, found)
            other.stop()
        pid, s = next(iter(found.items()), (0, {}))
        ok("it is the user's, without new privileges", s.get("Uid") == [str(uid)] * 4 and s["NoNewPrivs"] == ["1"], s)
        kept = 1 << 2 if uid == 0 else 0  # looking
        ok("with no capability but root's to look", int(s["CapEff"][0], 16) & ~kept == 0 and
           int(s["CapPrm"][0], 16) & ~kept == 0, s)
        if uid == 0:
            fds = descriptors(pid)
            ok("it has sockets, its store, inotify and fanotify, what is mounted, and nothing else of the agent's",
               all(t.startswith(("socket:", "/memfd:telex-watch", "anon_inode:inotify", "anon_inode:[fanotify]",
                                 "/dev/null", "pipe:"))
                   or t in ("/", f"/proc/{pid}/mountinfo") or t.endswith(".log") or t.startswith(folder) for t in fds.values()), fds)
            ok("the agent holds the store, too", any("telex-watch" in t
                                                     for t in descriptors(os.environ["TELEX_AGENT"]).values()))
        os.mkdir(os.path.join(root, "a"))
        ok("what happens is told", one.differs(root) == "", one.differs(root))
        one.stop()
        ok("it ends well when the client has closed its half", one.error is None and not one.breaks, one.breaks)
    with connect() as channel:
        again = Watch(channel, root)
        ok("it is there for the next call", again.wait(lambda: again.armed == 1) and list(watchers(uid)) == [pid],
           (pid, watchers(uid)))
        again.stop()


def survives(what, strike, root, times=3, fresh=False, same=True, recovered=lambda watch: True):
    """A watch goes on over the strikes, and its tree is what is there. recovered: what is waited for after each."""
    with connect() as channel:
        watch = Watch(channel, root)
        if not watch.wait(lambda: watch.armed == 1):
            ok(f"{what}: armed", False, watch.error)
            return
        before = set(watchers())
        changes = Changes(root)
        went_on = True
        for _ in range(times):
            armed = watch.armed
            went_on = changes.some() and strike() and watch.wait(
                lambda n=armed: watch.armed > n and recovered(watch)) and went_on
        went_on = changes.some() and went_on
        changes.stop()
        ok(f"{what}: the watch comes back", went_on, (watch.error, watch.breaks))
        difference = watch.differs(root)
        ok(f"{what}: nothing is missed", difference == "", difference)
        if not fresh:
            ok(f"{what}: nor does it begin anew", watch.fresh[0] and not any(watch.fresh[1:]), watch.fresh)
        if same:
            ok(f"{what}: by the same process", set(watchers()) == before, (before, watchers()))
        watch.stop()
        return watch


def worker_killed():
    def strike():
        kill_all(children("telex-worker"))
        return True
    survives("workers are killed", strike, make("workers"))


def watcher_killed():
    def strike():
        kill_all(watchers())
        return True
    # The third one, one soon after the other, has perhaps died of what it knew.
    looked = (pb.WatchRescan.REASON_RESTARTED, True)
    watch = survives("what watches is killed", strike, make("watchers"), fresh=True, same=False,
                     recovered=lambda watch: looked in watch.rescans)
    ok("what watches is killed: the first time the next goes on where it was", watch and watch.fresh[1] is False,
       watch and watch.fresh)
    ok("what watches is killed: and says that it looks through everything",
       watch and looked in watch.rescans, watch and watch.rescans)
    ok("what watches is killed: the client is told why", watch and "HELPER_DIED" in watch.breaks, watch and watch.breaks)


def ask_agent(signo, words):
    """Signals it, and waits until it has done what that means."""
    def count():
        return read(os.environ["TELEX_LOG"]).count(words)
    before = count()
    os.kill(int(os.environ["TELEX_AGENT"]), signo)
    return until(lambda: count() > before)


def reloaded():
    survives("the agent is reloaded", lambda: ask_agent(signal.SIGHUP, b": reloaded: "), make("reloads"))


def upgraded():
    before = set(watchers())
    watch = survives("the agent is upgraded", lambda: ask_agent(signal.SIGUSR2, b": upgraded: "), make("upgrades"),
                     times=1, fresh=True, same=False)
    ok("the agent is upgraded: the watch begins anew", watch and watch.fresh == [True, True], watch and watch.fresh)
    ok("the agent is upgraded: what watched before has ended", until(lambda: not before & set(watchers())), watchers())


def two_users():
    if os.getuid() != 0:
        for what in ("root is told of root's", "nobody is not", "each by a process of its own"):
            skip(what, "only root can be two users")
        return
    root = make("two")
    os.chmod(root, 0o755)
    private = os.path.join(root, "private")
    os.mkdir(private, 0o700)
    with connect() as channel:
        mine, theirs = Watch(channel, root, "root"), Watch(channel, root, NOBODY)
        mine.wait(lambda: mine.armed == 1)
        theirs.wait(lambda: theirs.armed == 1)
        with open(os.path.join(private, "secret"), "w", encoding="ascii") as f:
            f.write("x")
        ok("root is told of root's", mine.sync() and b"private/secret" in mine.tree, mine.tree)
        ok("nobody is not", theirs.sync() and b"private" in theirs.tree and b"private/secret" not in theirs.tree and
           ("FILE_DENIED", b"private") in theirs.warnings, (theirs.tree, theirs.warnings, theirs.error))
        found = watchers(65534)
        s = next(iter(found.values()), {})
        ok("each by a process of its own", len(found) == 1 and len(watchers(0)) >= 1 and
           int(s["CapEff"][0], 16) == 0 and s["Uid"] == ["65534"] * 4, watchers())
        mine.stop()
        theirs.stop()


def refused(channel, path, **more):
    """Why there is no watch; "" where there is one."""
    requests = queue.Queue()
    requests.put(pb.WatchRequest(begin=pb.WatchBegin(paths=[os.fsencode(path)], **more)))
    call = stubs.WatchServiceStub(channel).Watch(iter(requests.get, None), timeout=DEADLINE)
    try:
        for m in call:
            if m.WhichOneof("response") == "armed":
                return ""
    except grpc.RpcError as error:
        return reason(error)
    finally:
        requests.put(None)
        call.cancel()
    return "an end"


def roots():
    box = make("box")
    os.symlink("/etc", os.path.join(box, "out"))
    os.mkdir(os.path.join(box, "in"))
    with connect(os.environ["TELEX_BOX"] + ".pem", os.environ["TELEX_BOX"] + ".key") as channel:
        ok("what a role may watch is watched", refused(channel, box, recursive=True) == "")
        ok("what it may not is denied", refused(channel, "/etc") == "NOT_ALLOWED")
        ok("by a link, too", refused(channel, os.path.join(box, "out", "ssl")) in ("OUTSIDE_ROOT", "NO_SUCH_FILE"),
           refused(channel, os.path.join(box, "out", "ssl")))
        ok("and by ..", refused(channel, box + "/../x") == "BAD_REQUEST")
        ok("what is not there is told", refused(channel, box + "/none") == "NO_SUCH_FILE")
        watch = Watch(channel, box)
        watch.wait(lambda: watch.armed == 1)
        ok("a link is not gone into", watch.sync() and b"out" in watch.tree and
           not [p for p in watch.tree if p.startswith(b"out/")], watch.tree)
        watch.stop()


def ceiling():
    """Lowered while it is watched: those that watch beyond it end, and none begins."""
    inside, outside = make("inside"), make("outside")
    with connect() as channel:
        before, beyond = Watch(channel, inside), Watch(channel, outside)
        armed = before.wait(lambda: before.armed == 1) and beyond.wait(lambda: beyond.armed == 1)
        pids = set(watchers())
        with open(os.environ["TELEX_CONFIG"], "a", encoding="utf-8") as f:
            f.write(f'ceiling {{ folders = {{"{inside}"}} }}\n')
        ok("the ceiling is lowered", armed and ask_agent(signal.SIGHUP, b": reloaded: "))
        if before.wait(lambda: before.armed == 2) is False and "needs Landlock" in str(before.error):
            for what in ("what is below it is watched on", "by another process", "what is beyond it is not", "nor by another call"):
                skip(what, before.error.details())
            return
        ok("what is below it is watched on", before.wait(lambda: before.armed == 2) and before.differs(inside) == "",
           (before.error, before.breaks))
        ok("by another process, as that one may less", until(lambda: not pids & set(watchers())), (pids, list(watchers())))
        ok("what is beyond it is not", not beyond.wait(lambda: False) and beyond.error is not None and
           reason(beyond.error) == "NOT_ALLOWED", (beyond.error, beyond.breaks))
        ok("nor by another call", refused(channel, outside) == "NOT_ALLOWED", refused(channel, outside))
        before.stop()


def limits():
    root = make("many")
    with connect() as channel:
        many = [Watch(channel, root) for _ in range(64)]
        ok("64 watch on one connection", all(w.wait(lambda w=w: w.armed == 1) for w in many),
           [w.error for w in many if w.error])
        ok("and no more", refused(channel, root) == "LIMIT")
        many[0].stop()
        ok("when one ends there is room for another", until(lambda: refused(channel, root) == ""))
        with open(os.path.join(root, "x"), "w", encoding="ascii") as f:
            f.write("x")
        ok("all of them are told", all(w.sync() and b"x" in w.tree for w in many[1:]))
        for w in many[1:]:
            w.stop()


def log(name):
    """The records; one that is being written has no newline yet."""
    with open(os.path.join(os.environ["TELEX_STATE"], name), encoding="utf-8") as f:
        return [json.loads(line) for line in f if line.endswith("\n")]


def records():
    audit, execs = log("audit.log"), log("exec.log")
    mine = [r for r in audit if r["event"] == "file" and r.get("method") == "Watch"]
    ok("each watch is written down with its roots", mine and mine[0]["paths"] == [os.path.join(folder, "whose")], mine[:1])
    denied = [r for r in audit if r["event"] == "denied" and "/etc" in json.dumps(r)]
    ok("so is what was denied", denied, [r["event"] for r in audit][-20:])
    ok("the keeper has each process", [r for r in execs if r["event"] == "files-exec" and r.get("watch")], execs[-3:])


def main():
    for test in (whose_it_is, worker_killed, watcher_killed, reloaded, upgraded, two_users, roots, limits, records, ceiling):
        test()
    print(f"1..{done}")
    return 1 if failed else 0


sys.exit(main())
