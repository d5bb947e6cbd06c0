#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Work on files is the user's own: whose processes do it, with what rights, and when they end. Prints TAP.

Environment: TELEX_ADDRESS, TELEX_CA, TELEX_CERT, TELEX_KEY (PEM files), TELEX_BOX (the stem of another PEM pair,
whose role has TELEX_FOLDER/box and no more), TELEX_FOLDER (a folder), TELEX_AGENT (telexd's pid), TELEX_STATE (its state
directory), top_srcdir.
"""
import importlib
import json
import os
import queue
import signal
import subprocess
import sys
import tempfile
import time

os.environ["GRPC_VERBOSITY"] = "NONE"
import grpc  # noqa: E402

top = os.environ.get("top_srcdir", ".")
folder = os.environ["TELEX_FOLDER"]
DEADLINE = 180
NOBODY = "nobody"
failed = []
done = 0

generated = tempfile.TemporaryDirectory()
subprocess.run([sys.executable, "-m", "grpc_tools.protoc", "-I", os.path.join(top, "proto"), "--python_out", generated.name,
                "--grpc_python_out", generated.name, "telex/v1/process.proto", "telex/v1/file.proto",
                "telex/v1/system.proto"], check=True)
subprocess.run([sys.executable, "-m", "grpc_tools.protoc", "-I", os.path.join(top, "proto"), "--python_out", generated.name,
                "google/rpc/status.proto", "google/rpc/error_details.proto"], check=True)
sys.path.insert(0, generated.name)
import google  # noqa: E402
google.__path__.append(os.path.join(generated.name, "google"))
pb = importlib.import_module("telex.v1.file_pb2")
stubs = importlib.import_module("telex.v1.file_pb2_grpc")
system_pb = importlib.import_module("telex.v1.system_pb2")
system_stubs = importlib.import_module("telex.v1.system_pb2_grpc")
status_pb = importlib.import_module("google.rpc.status_pb2")
details_pb = importlib.import_module("google.rpc.error_details_pb2")


def ok(what, good, note=""):
    global done
    done += 1
    print(f"{'ok' if good else 'not ok'} {done} - {what}", flush=True)
    if not good:
        failed.append(what)
        for line in str(note).splitlines():
            print(f"# {line}", flush=True)


def skip(what, why):
    global done
    done += 1
    print(f"ok {done} - {what} # SKIP {why}", flush=True)


def read(path):
    with open(path, "rb") as f:
        return f.read()


def connect(cert, key):
    credentials = grpc.ssl_channel_credentials(
        root_certificates=read(os.environ["TELEX_CA"]), private_key=read(key), certificate_chain=read(cert))
    return grpc.secure_channel(os.environ["TELEX_ADDRESS"], credentials, options=[("grpc.use_local_subchannel_pool", 1)])


def own():
    return connect(os.environ["TELEX_CERT"], os.environ["TELEX_KEY"])


def reason(error):
    for key, value in error.trailing_metadata() or ():
        if key == "grpc-status-details-bin":
            info = details_pb.ErrorInfo()
            status_pb.Status.FromString(value).details[0].Unpack(info)
            return info.reason
    return error.code().name


def stat(channel, path, user="", **more):
    """The file, or the reason why there is none."""
    request = pb.StatRequest(user=user, path=os.fsencode(path), **more)
    try:
        return stubs.FileServiceStub(channel).Stat(request, timeout=DEADLINE).file
    except grpc.RpcError as error:
        return reason(error)


def until(what, test):
    end = time.monotonic() + DEADLINE
    while not test():
        if time.monotonic() > end:
            ok(what, False, "not within the time allowed")
            return False
        time.sleep(0.05)
    return True


# ---- processes ----

def status_of(pid):
    with open(f"/proc/{pid}/status", encoding="utf-8") as f:
        return {k: v.split() for k, v in (line.rstrip("\n").split(":", 1) for line in f)}


def helpers():
    """Of the agent: pid -> status."""
    found = {}
    for pid in os.listdir("/proc"):
        try:
            if pid.isdigit() and (s := status_of(pid))["Name"] == ["telex-files"]:
                if s["PPid"] == [os.environ["TELEX_AGENT"]] and s["State"][0] != "Z":
                    found[int(pid)] = s
        except (OSError, KeyError):
            pass
    return found


def ends_all(what):
    ok(what, until(what, lambda: not helpers()), helpers())


def one_of(uid):
    pids = [pid for pid, s in helpers().items() if s["Uid"][0] == str(uid)]
    return pids[0] if len(pids) == 1 else None


# ---- what is tried ----

def whose_it_is():
    uid = os.getuid()
    with own() as channel:
        ok("a file is told of", stat(channel, "/etc/passwd").type == pb.FILE_TYPE_REGULAR)
        pid = one_of(uid)
        ok("by one process of the user's", pid is not None, helpers())
        if pid is None:
            return
        s = status_of(pid)
        ok("with no other uid", s["Uid"] == [str(uid)] * 4, s)
        ok("and no new privileges", s["NoNewPrivs"] == ["1"], s)
        info = system_stubs.SystemServiceStub(channel).GetInfo(system_pb.GetInfoRequest(), timeout=DEADLINE)
        measures = {m.name: m for m in info.security.file_confinements}
        ok("files are a capability", "files" in info.capabilities, info.capabilities)
        if measures:
            ok("how it is locked in is told", {"seccomp", "landlock", "no-new-privileges"} <= set(measures), measures)
            seccomp = measures["seccomp"]
            ok("only its system calls are let through", s["Seccomp"] == ["2"] if seccomp.in_force
               else "sanitizer" in seccomp.note, (s["Seccomp"], seccomp))
        else:  # another worker has it
            skip("how it is locked in is told", "another worker was asked")
            skip("only its system calls are let through", "another worker was asked")
        if uid == 0:
            kept = sum(1 << cap for cap in (0, 1, 2, 3, 4, 27, 31))
            ok("root's has what files need, and no more", int(s["CapEff"][0], 16) & ~kept == 0 and
               int(s["CapBnd"][0], 16) & ~kept == 0, s)
        else:
            ok("it has no capabilities", int(s["CapEff"][0], 16) == 0, s)
        if uid == 0:
            sockets = [fd for fd in os.listdir(f"/proc/{pid}/fd")
                       if os.readlink(f"/proc/{pid}/fd/{fd}").startswith("socket:")]
            ok("it has its socket, and no other of the agent's", sockets == ["3"], sockets)
        else:
            skip("it has its socket, and no other of the agent's", "only root may look")
    ends_all("it ends with the connection")


def two_users():
    if os.getuid() != 0:
        for what in ("root sees root's", "nobody does not", "both at once", "nobody's is nobody's"):
            skip(what, "only root can be two users")
        return
    private = os.path.join(folder, "private")
    os.mkdir(private, 0o700)
    with open(os.path.join(private, "file"), "w", encoding="ascii") as f:
        f.write("x")
    with own() as first, own() as second:
        ok("root sees root's", getattr(stat(first, private + "/file", "root"), "size", None) == 1)
        ok("nobody does not", stat(second, private + "/file", NOBODY) == "FILE_DENIED")
        all_of = helpers()
        ok("both at once", sorted(s["Uid"][0] for s in all_of.values()) == ["0", "65534"], all_of)
        pid = one_of(65534)
        s = status_of(pid) if pid is not None else {}
        ok("nobody's is nobody's", s.get("Uid") == ["65534"] * 4 and int(s["CapEff"][0], 16) == 0 and
           int(s["CapPrm"][0], 16) == 0 and s["Groups"] in ([], ["65534"]), s)
    ends_all("both end with their connections")


def roots():
    box = os.path.join(folder, "box")
    os.mkdir(box)
    with open(os.path.join(box, "file"), "w", encoding="ascii") as f:
        f.write("inside")
    os.symlink("/etc/passwd", os.path.join(box, "out"))
    os.symlink("../private-or-not", os.path.join(box, "up"))
    os.symlink("file", os.path.join(box, "link"))
    with connect(os.environ["TELEX_BOX"] + ".pem", os.environ["TELEX_BOX"] + ".key") as channel:
        ok("what is in a role's root is told of", getattr(stat(channel, box + "/file"), "size", None) == 6)
        ok("what is not is denied", stat(channel, "/etc/passwd") == "NOT_ALLOWED")
        ok("a link that stays is followed", getattr(stat(channel, box + "/link", follow=True), "size", None) == 6)
        ok("one that leaves is not", stat(channel, box + "/out", follow=True) == "OUTSIDE_ROOT")
        ok("nor by ..", stat(channel, box + "/up", follow=True) == "OUTSIDE_ROOT")
        ok("but the link itself is", stat(channel, box + "/out").link_target == b"/etc/passwd")
        ok(".. in a path is refused", stat(channel, box + "/../x") == "BAD_REQUEST")
        ok("also where it would come back", stat(channel, box + "/x/../file") == "BAD_REQUEST")
    ends_all("another's ends with its connection, too")


def open_write(channel, path):
    """A call that goes on until the queue's end."""
    requests = queue.Queue()
    requests.put(pb.WriteRequest(begin=pb.WriteBegin(path=os.fsencode(path))))
    return requests, stubs.FileServiceStub(channel).Write.future(iter(requests.get, None), timeout=DEADLINE)


def kill_helpers():
    for pid in helpers():
        try:
            os.kill(pid, signal.SIGKILL)
        except ProcessLookupError:
            pass


def killed():
    with own() as channel:
        requests, call = open_write(channel, os.path.join(folder, "written"))
        if not until("a helper works", lambda: len(helpers()) == 1):
            return
        requests.put(pb.WriteRequest(chunk=pb.FileChunk(data=b"x" * 1000)))
        # One that dies before it has the call is replaced, and nobody is told.
        until("the call ends", lambda: kill_helpers() or call.done())
        try:
            got = f"an answer: {call.result()}"
        except grpc.RpcError as error:
            got = reason(error)
        ok("a helper's death ends its call", got == "HELPER_DIED", got)
        requests.put(None)
        ok("and the next call has another", stat(channel, "/etc/passwd").type == pb.FILE_TYPE_REGULAR)
        ok("nothing was written", not os.path.exists(os.path.join(folder, "written")))
    ends_all("which ends with the connection, too")


def cancelled():
    with own() as channel:
        requests, call = open_write(channel, os.path.join(folder, "written"))
        if not until("a helper works", lambda: len(helpers()) == 1):
            return
        call.cancel()
        requests.put(None)
        ends_all("a call that is cancelled ends its helper")
        ok("and another comes when it is needed", stat(channel, "/etc/passwd").type == pb.FILE_TYPE_REGULAR)


def many_at_once():
    with own() as channel:
        calls = [stubs.FileServiceStub(channel).Stat.future(pb.StatRequest(path=b"/etc/passwd"), timeout=DEADLINE)
                 for _ in range(64)]
        ok("many calls at once are all answered", all(c.result().file.size > 0 for c in calls))
        ok("by four at most", 1 <= len(helpers()) <= 4, helpers())
    ends_all("all of which end with it")


def worker_killed():
    with own() as channel:
        requests, call = open_write(channel, os.path.join(folder, "written"))
        if not until("a helper works", lambda: len(helpers()) == 1):
            return
        for pid in os.listdir("/proc"):
            try:
                if pid.isdigit() and (s := status_of(pid))["Name"] == ["telex-worker"]:
                    if s["PPid"] == [os.environ["TELEX_AGENT"]]:
                        os.kill(int(pid), signal.SIGKILL)
            except (OSError, KeyError):
                pass
        ends_all("a worker's death ends its helpers")
        requests.put(None)
        call.cancel()


def log(name, *events):
    """The records, or those of these events; one that is being written has no newline yet."""
    with open(os.path.join(os.environ["TELEX_STATE"], name), encoding="utf-8") as f:
        records_of = [json.loads(line) for line in f if line.endswith("\n")]
    return [r for r in records_of if not events or r["event"] in events]


def records():
    # A process that has ended is written down when the keeper has come to it.
    until("each end is written down", lambda: len(log("exec.log", "files-exec")) == len(log("exec.log", "files-ended")))
    audit = log("audit.log")
    mine = [r for r in audit if r["event"] == "file" and r["paths"] == ["/etc/passwd"]]
    ok("each call is written down", mine and mine[0]["method"] == "Stat", mine)
    ends = {r["request"] for r in audit if r["event"] == "file-end"}
    ok("and its end", all(r["request"] in ends for r in mine))
    began, ended = log("exec.log", "files-exec"), log("exec.log", "files-ended")
    ok("the keeper has each process, and its end", len(began) > 0 and len(began) == len(ended), (began, ended))


def main():
    for test in (whose_it_is, two_users, roots, killed, cancelled, many_at_once, worker_killed, records):
        test()
    print(f"1..{done}")
    return 1 if failed else 0


sys.exit(main())
