#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""An agent that means harm, for `telex get`: nothing outside the target changes, nothing wrong passes for right. Prints TAP.

Environment: TELEX_DEV (the folder of `telex dev`, whose agent's certificate is used), top_builddir, top_srcdir.
"""
import concurrent.futures
import hashlib
import importlib
import os
import queue
import shutil
import signal
import stat
import subprocess
import sys
import tempfile
import threading

os.environ["GRPC_VERBOSITY"] = "NONE"
import grpc  # noqa: E402

top = os.environ.get("top_srcdir", ".")
TELEX = os.path.join(os.environ.get("top_builddir", "."), "telex")
DEADLINE = 180
work = tempfile.TemporaryDirectory()
generated = work.name + "/generated"
os.mkdir(generated)
subprocess.run([sys.executable, "-m", "grpc_tools.protoc", "-I", os.path.join(top, "proto"), "--python_out", generated,
                "--grpc_python_out", generated, "telex/v1/process.proto", "telex/v1/file.proto"], check=True)
sys.path.insert(0, generated)
pb = importlib.import_module("telex.v1.file_pb2")
stubs = importlib.import_module("telex.v1.file_pb2_grpc")

FILE, FOLDER, LINK = pb.FILE_TYPE_REGULAR, pb.FILE_TYPE_DIRECTORY, pb.FILE_TYPE_SYMLINK
UPLOAD = "0123456789abcdef0123456789abcdef"
OUTSIDE = work.name + "/outside"


# ---- what it sends ----


def send(**parts):
    return pb.GetTreeResponse(send=pb.TreeSend(**parts))


def entries(*some):
    return send(entries=list(some))


def entry(index, path, kind=FILE, **more):
    more.setdefault("mode", 0o755 if kind == FOLDER else 0o644)
    if kind == FILE and "size" not in more and "hard_link" not in more:
        more.setdefault("content", b"evil")
        more.update(size=len(more["content"]), has_content=True)
    path = path if isinstance(path, bytes) else path.encode()
    return pb.TreeEntry(index=index, path=path, type=kind, **more)


def large(index, path, size):
    return entry(index, path, size=size, upload_id=UPLOAD)


def data(index, offset, some):
    return send(data=pb.TreeData(index=index, offset=offset, data=some))


def end(index, some):
    return send(end=pb.TreeEnd(index=index, sha256=hashlib.sha256(some).digest()))


FINISH = send(finish=pb.TreeFinish())
ROOT = entry(1, "", FOLDER)  # of `get source target`: the target itself


def tree(*more):
    return [entries(ROOT, *more), FINISH]


class Attack:
    """`messages` are sent to whoever asks; `holds`: nothing else comes, and Ctrl-C must end it; `right`: it is not refused as a
    whole, and what is at the target is looked at by `look`; `cut`: the call ends after the last."""

    def __init__(self, name, messages, said="", holds=False, look=None, right=False, sources=("source",), options=(),
                 cut=False):
        self.name, self.messages, self.said, self.holds, self.look = name, messages, said, holds, look
        self.right, self.sources, self.options, self.cut = right, sources, options, cut


def mode_of(path):
    return stat.S_IMODE(os.lstat(path).st_mode)


B = b"x" * 100000
ATTACKS = [
    Attack("a name that goes up", tree(entry(2, "../outside/new")), "not allowed"),
    Attack("a name that goes up further below", tree(entry(2, "a", FOLDER), entry(3, "a/../../outside/new")), "not allowed"),
    Attack("an absolute name", tree(entry(2, OUTSIDE + "/new")), "not allowed"),
    Attack("a name with an empty part", tree(entry(2, "a//b")), "not allowed"),
    Attack("a name that is the folder itself", tree(entry(2, ".")), "not allowed"),
    Attack("a name with a NUL", tree(entry(2, b"a\0b")), "not allowed"),
    Attack("a name that is too long", tree(entry(2, "a" * 300)), "not allowed"),
    Attack("a path that is too long", tree(entry(2, "/".join(["a" * 200] * 25))), "not allowed"),
    Attack("a file that nobody asked for, beside one that was", [
        entries(entry(1, "one"), entry(2, "other")), FINISH], "not asked for", sources=("one", "two")),
    Attack("a link that leads out, absolute", tree(entry(2, "l", LINK, link_target=OUTSIDE.encode())), "leads out"),
    Attack("a link that leads out, relative", tree(entry(2, "l", LINK, link_target=b"../outside")), "leads out"),
    Attack("a file through a link that leads out", tree(
        entry(2, "l", LINK, link_target=b"../outside"), entry(3, "l/new")), "leads out"),
    Attack("a file through a link, where any links are taken", tree(
        entry(2, "l", LINK, link_target=OUTSIDE.encode()), entry(3, "l/new")), "l/new", options=("--any-links",)),
    Attack("a folder's mode through a link, where any links are taken", tree(
        entry(2, "l", LINK, link_target=OUTSIDE.encode()), entry(3, "l", FOLDER, mode=0o777)), "l", options=("--any-links",)),
    Attack("the same name twice, a link and a folder", tree(
        entry(2, "l", LINK, link_target=b"d"), entry(3, "d", FOLDER), entry(4, "l/new")), "l/new"),
    Attack("a hard link to a file outside", tree(entry(2, "h", hard_link=b"../outside/secret")), "hard link"),
    Attack("a hard link through a link", tree(
        entry(2, "l", LINK, link_target=OUTSIDE.encode()), entry(3, "h", hard_link=b"l/secret")), "hard link",
        options=("--any-links",)),
    Attack("a hard link to what is not there", tree(entry(2, "h", hard_link=b"nothing")), "hard link"),
    Attack("an attribute that is set through a link", tree(
        entry(2, "l", LINK, link_target=(OUTSIDE + "/secret").encode(), mtime_ns=5), entry(3, "l/x", FOLDER)), "l/x",
        options=("--any-links",)),
    Attack("special bits", tree(entry(2, "f", mode=0o6755), entry(3, "d", FOLDER, mode=0o7777)), right=True,
           look=lambda t: mode_of(t + "/f") & 0o7000 == 0 and mode_of(t + "/d") & 0o7000 == 0),
    Attack("bits beyond a mode", tree(entry(2, "f", mode=0xffffffff)), right=True,
           look=lambda t: mode_of(t + "/f") & 0o7000 == 0),
    Attack("a device", tree(entry(2, "dev", pb.FILE_TYPE_CHARACTER_DEVICE, rdev_major=1, rdev_minor=1, mode=0o666)), "special"),
    Attack("a kind that there is not", tree(entry(2, "k", 99)), ""),
    Attack("a content that is longer than its size", [
        entries(ROOT, large(2, "f", 1000)), data(2, 0, B), end(2, B), FINISH], "cannot be"),
    Attack("a content that is shorter than its size", [
        entries(ROOT, large(2, "f", 200000)), data(2, 0, B), end(2, B), FINISH], "SHA-256"),
    Attack("a content beside its size, in its entry", tree(
        pb.TreeEntry(index=2, path=b"f", type=FILE, content=b"evil", has_content=True, size=5)), "not its size"),
    Attack("a size beyond all files", tree(large(2, "f", 2**64 - 1)), "larger than"),
    Attack("a content at an offset beyond all files", [
        entries(ROOT, large(2, "f", 200000)), data(2, 2**64 - 10, B)], "cannot be"),
    Attack("a content that goes back", [
        entries(ROOT, large(2, "f", 200000)), data(2, 0, B), data(2, 0, B)], "cannot be"),
    Attack("another content than its digest", [
        entries(ROOT, large(2, "f", 100000)), data(2, 0, B), end(2, b"other"), FINISH], "SHA-256"),
    Attack("a digest of another length", [
        entries(ROOT, large(2, "f", 100000)), data(2, 0, B), send(end=pb.TreeEnd(index=2, sha256=b"x")), FINISH], "SHA-256"),
    Attack("a content that nobody wanted", [entries(ROOT), data(7, 0, B)], "turn"),
    Attack("a content that never comes, and the end", [entries(ROOT, large(2, "f", 100000)), FINISH], "before its contents"),
    Attack("an upload id that is a path", tree(entry(2, "f", size=100000, upload_id="../../../outside/new")), "upload_id"),
    Attack("indexes that go back", tree(entry(1, "f")), "order"),
    Attack("no end", tree(entry(2, "f"))[:-1], "before its end", cut=True),
    Attack("more after the end", tree(entry(2, "f")) + [entries(entry(9, "late"))], None),
    Attack("a message that is compressed to nothing sensible", [send(zstd=b"\x28\xb5\x2f\xfd" + b"\0" * 50)], "compressed"),
    Attack("a bomb", [send(zstd=subprocess.run(["zstd", "-q", "-19", "-c"], input=b"\0" * (64 << 20), stdout=subprocess.PIPE,
                                                check=True).stdout)] if shutil.which("zstd") else None, "compressed"),
    Attack("escapes in names", tree(entry(2, b"\x1b]0;owned\x07\x1b[2J\x9b31m", LINK, link_target=b"/x")), "leads out"),
    Attack("escapes in what failed", [entries(ROOT), send(failed=[pb.TreeFailed(path=b"\x1b[2Jp", error=pb.FileError(
        code=5, reason="R\x1b[2J", message="it \x1b[2J\x07 failed\nand more"))]), send(finish=pb.TreeFinish(errors=True))], "failed"),
    Attack("a hole that takes years", [entries(ROOT, large(2, "f", 2**43)), end(2, b"")], holds=True),
    Attack("nothing at all", [], holds=True),
]


# ---- the agent ----


attack = None
all_is_sent = threading.Event()


class Agent(stubs.FileServiceServicer):
    def GetTree(self, requests, context):
        come = queue.Queue()
        next(requests)
        context.add_callback(lambda: come.put(None))
        for message in attack.messages:
            yield message
        if attack.holds:
            all_is_sent.set()
            come.get()
        elif not attack.cut:
            # What is refused ends the call from the other side.
            for request in requests:
                if request.receive.HasField("summary"):
                    return


def serve(handler=None):
    """An agent of dev's name. handler: a generic one, instead of what does GetTree."""
    def read(name):
        with open(f"{os.environ['TELEX_DEV']}/{name}", "rb") as f:
            return f.read()

    server = grpc.server(concurrent.futures.ThreadPoolExecutor(8))
    if handler is None:
        stubs.add_FileServiceServicer_to_server(Agent(), server)
    else:
        server.add_generic_rpc_handlers((handler,))
    credentials = grpc.ssl_server_credentials([(read("agent.key"), read("agent.pem"))], read("ca.pem"), True)
    port = server.add_secure_port("127.0.0.1:0", credentials)
    server.start()
    return server, port


# ---- what became of it ----


done, failed = 0, 0


def outside():
    """All that is around the target, which must not change."""
    found = []
    for folder, folders, names in os.walk(OUTSIDE):
        for name in sorted(folders + names):
            st = os.lstat(f"{folder}/{name}")
            found.append((f"{folder}/{name}", st.st_mode, st.st_nlink, st.st_mtime_ns, st.st_ctime_ns, st.st_size))
    st = os.lstat(OUTSIDE)
    return found, st.st_mode, st.st_mtime_ns, st.st_ctime_ns, sorted(os.listdir(os.path.dirname(OUTSIDE)))


def run(port, target):
    client = subprocess.Popen([TELEX, "-w", f"127.0.0.1:{port}", "get", *attack.options, *(f"/srv/{s}" for s in attack.sources),
                               target], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    try:
        if attack.holds:
            # It is in the middle: from then on it may take its time, and is interrupted.
            while not all_is_sent.wait(0.1) and client.poll() is None:
                pass
            try:
                client.wait(3)
            except subprocess.TimeoutExpired:
                client.send_signal(signal.SIGINT)
        out, _ = client.communicate(timeout=DEADLINE)
    except subprocess.TimeoutExpired:
        client.kill()
        client.communicate()
        return None, b"it did not end"
    return client.returncode, out


def judge(before, status, out, target):
    wrong = []
    if status is None or status < 0 and status != -signal.SIGINT:
        wrong.append(f"status {status}")
    if attack.right != (status == 0) and attack.said is not None:
        wrong.append(f"status {status}")
    if any(b < 32 and b not in b"\n\t" or b == 127 for b in out) or b"\x9b" in out.replace("\u009b".encode(), b"\x9b"):
        wrong.append("raw control characters reach the terminal")
    if status not in (0, None) and not out.strip():
        wrong.append("it does not say why")
    if attack.said and attack.said not in out.decode(errors="replace"):
        wrong.append(f"it does not say '{attack.said}'")
    if outside() != before:
        wrong.append(f"what is outside has changed: {outside()}, was {before}")
    if attack.look is not None and not attack.look(target):
        wrong.append("the target is not as it should be")
    return wrong


def main():
    global attack, done, failed
    os.mkdir(OUTSIDE)
    with open(OUTSIDE + "/secret", "w", encoding="ascii") as f:
        f.write("secret")
    os.chmod(OUTSIDE + "/secret", 0o600)
    place = work.name + "/place"
    server, port = serve()
    print(f"1..{len(ATTACKS)}", flush=True)
    for attack in ATTACKS:
        done += 1
        if attack.messages is None:
            print(f"ok {done} - {attack.name} # SKIP zstd is not installed", flush=True)
            continue
        os.mkdir(place)
        if len(attack.sources) > 1:
            os.mkdir(place + "/target")
        before = outside()
        all_is_sent.clear()
        status, out = run(port, place + "/target")
        wrong = judge(before, status, out, place + "/target")
        failed += bool(wrong)
        print(f"{'not ok' if wrong else 'ok'} {done} - {attack.name}", flush=True)
        for line in wrong + [out.decode(errors="replace")] if wrong else []:
            print("# " + line.replace("\n", "\n# "), flush=True)
        shutil.rmtree(place)
    server.stop(None)
    return failed > 0


if __name__ == "__main__":
    sys.exit(main())
