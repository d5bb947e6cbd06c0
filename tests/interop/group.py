# SPDX-License-Identifier: Apache-2.0
"""Groups, waiting, removal, and exits that are acknowledged: tests of client.py's list.

Each takes what client.py has: `c`, its module's names (pb, Run, error_info, TIMEOUT), and the stub.
"""
import queue
import time
import uuid

import grpc
from google.protobuf.duration_pb2 import Duration


def until(condition):
    """Polls, with a deadline that is far away."""
    end = time.monotonic() + 240
    while not condition():
        assert time.monotonic() < end, "it did not come"
        time.sleep(0.02)


def running(c, stub, process):
    return c.running(stub, process.process_id)


def refused(c, call, code, reason):
    """The ErrorInfo of a call that must fail so."""
    try:
        call()
    except grpc.RpcError as e:
        assert e.code() == code, (e.code(), e.details())
        info = c.error_info(e)
        assert info.reason == reason, info
        return info
    raise AssertionError("it was answered")


def start(c, stub, script, process_id=None, **spec):
    return stub.Start(c.pb.StartRequest(
        process_id=process_id or uuid.uuid4().hex,
        spec=c.pb.ProcessSpec(argv=[b"sh", b"-c", script.encode()], **spec)), timeout=c.TIMEOUT).process


def wait_gives_the_exit_and_forgets(c, stub):
    p = start(c, stub, "exit 9")
    for _ in range(2):
        ended = stub.Wait(c.pb.WaitRequest(process_id=p.process_id), timeout=c.TIMEOUT).exit
        assert ended.code == 9 and ended.reason == c.pb.END_REASON_EXITED
    stub.Wait(c.pb.WaitRequest(process_id=p.process_id, forget=True), timeout=c.TIMEOUT)
    refused_until_gone(c, stub, p.process_id)


def refused_until_gone(c, stub, process_id):
    """What forgets comes after the answer."""
    def is_gone():
        try:
            stub.Get(c.pb.GetRequest(process_id=process_id), timeout=c.TIMEOUT)
        except grpc.RpcError as e:
            assert e.code() == grpc.StatusCode.NOT_FOUND
            return True
        return False
    until(is_gone)


def a_deadline_of_wait_leaves_the_process(c, stub):
    p = running(c, stub, start(c, stub, "exec sleep 1000"))
    try:
        stub.Wait(c.pb.WaitRequest(process_id=p.process_id), timeout=1)
        raise AssertionError("it ended")
    except grpc.RpcError as e:
        assert e.code() == grpc.StatusCode.DEADLINE_EXCEEDED, f"{e.code()}: {e.details()}"
    refused(c, lambda: stub.Remove(c.pb.RemoveRequest(process_id=p.process_id), timeout=c.TIMEOUT),
            grpc.StatusCode.FAILED_PRECONDITION, "PROCESS_RUNNING")
    stub.Signal(c.pb.SignalRequest(process_id=p.process_id, signal=9), timeout=c.TIMEOUT)
    assert stub.Wait(c.pb.WaitRequest(process_id=p.process_id), timeout=c.TIMEOUT).exit.signal.number == 9
    stub.Remove(c.pb.RemoveRequest(process_id=p.process_id), timeout=c.TIMEOUT)
    refused(c, lambda: stub.Remove(c.pb.RemoveRequest(process_id=p.process_id), timeout=c.TIMEOUT),
            grpc.StatusCode.NOT_FOUND, "NO_SUCH_PROCESS")


def a_list_ends_with_its_summary(c, stub):
    p = running(c, stub, start(c, stub, "exec sleep 1000", stop_signal=12))
    *processes, last = stub.List(c.pb.ListRequest(usage=True), timeout=c.TIMEOUT)
    assert last.WhichOneof("item") == "summary" and last.summary.held_maximum > 0
    assert all(r.WhichOneof("item") == "process" for r in processes)
    mine = [r.process for r in processes if r.process.process_id == p.process_id]
    assert len(mine) == 1 and mine[0].HasField("usage") and mine[0].HasField("stdout_range")
    ended = [c.pb.PROCESS_STATE_ENDED]
    states = {r.process.state for r in stub.List(c.pb.ListRequest(states=ended), timeout=c.TIMEOUT)
              if r.WhichOneof("item") == "process"}
    assert states <= {c.pb.PROCESS_STATE_ENDED}, states
    # Signal 0 is its own stop signal.
    stub.Signal(c.pb.SignalRequest(process_id=p.process_id), timeout=c.TIMEOUT)
    assert stub.Wait(c.pb.WaitRequest(process_id=p.process_id), timeout=c.TIMEOUT).exit.signal.number == 12


def a_full_group_queues_in_order(c, stub):
    name = "g" + uuid.uuid4().hex
    spec = {"group": name, "group_maximum": 1}
    first = running(c, stub, start(c, stub, "exec sleep 1000", **spec))
    second = start(c, stub, "exit 4", **spec)
    third = start(c, stub, "exec sleep 1000", **spec)
    assert first.state == c.pb.PROCESS_STATE_RUNNING
    assert second.state == third.state == c.pb.PROCESS_STATE_QUEUED
    assert second.pid == 0 and not second.HasField("start_time") and second.group == name
    group = stub.GetGroup(c.pb.GetGroupRequest(name=name), timeout=c.TIMEOUT).group
    assert (group.maximum, group.queued, group.running, group.ended) == (1, 2, 1, 0), group
    listed = [r.process.process_id for r in stub.List(c.pb.ListRequest(group=name), timeout=c.TIMEOUT)]
    assert listed[:3] == [first.process_id, second.process_id, third.process_id]
    waiting = stub.WaitGroup(c.pb.WaitGroupRequest(
        name=name, heartbeat_interval=Duration(seconds=1)), timeout=c.TIMEOUT)
    assert next(waiting).WhichOneof("response") == "heartbeat"
    stub.Signal(c.pb.SignalRequest(process_id=third.process_id, signal=15), timeout=c.TIMEOUT)
    stub.Signal(c.pb.SignalRequest(process_id=first.process_id, signal=9), timeout=c.TIMEOUT)
    exits = {r.ended.process_id: r.ended.exit for r in waiting if r.WhichOneof("response") == "ended"}
    assert exits[first.process_id].signal.number == 9
    assert exits[second.process_id].code == 4
    assert exits[third.process_id].WhichOneof("status") == "not_started"
    assert exits[third.process_id].reason == c.pb.END_REASON_SIGNALLED
    assert exits[third.process_id].ended_by.startswith("spiffe://")
    removed = stub.RemoveGroup(c.pb.RemoveGroupRequest(name=name), timeout=c.TIMEOUT).removed
    assert removed == 3, removed
    stub.UpdateGroup(c.pb.UpdateGroupRequest(name=name, maximum=0), timeout=c.TIMEOUT)
    for call in (lambda: stub.GetGroup(c.pb.GetGroupRequest(name=name), timeout=c.TIMEOUT),
                 lambda: list(stub.WaitGroup(c.pb.WaitGroupRequest(name=name), timeout=c.TIMEOUT))):
        refused(c, call, grpc.StatusCode.NOT_FOUND, "NO_SUCH_GROUP")
    info = refused(c, lambda: stub.GetGroup(c.pb.GetGroupRequest(name="a b"), timeout=c.TIMEOUT),
                   grpc.StatusCode.INVALID_ARGUMENT, "BAD_REQUEST")
    assert info.metadata["field"] == "name", info


def a_group_is_ended_at_once(c, stub):
    name = "g" + uuid.uuid4().hex
    for _ in range(6):
        start(c, stub, "trap '' TERM; while :; do sleep 1; done", group=name, group_maximum=4)
    until(lambda: stub.GetGroup(c.pb.GetGroupRequest(name=name), timeout=c.TIMEOUT).group.running == 4)
    answer = stub.SignalGroup(c.pb.SignalGroupRequest(
        name=name, kill_after=Duration(nanos=50_000_000)), timeout=c.TIMEOUT)
    assert (answer.signalled, answer.dequeued) == (4, 2), answer
    ended = [r.ended for r in stub.WaitGroup(c.pb.WaitGroupRequest(name=name), timeout=c.TIMEOUT)]
    assert len(ended) == 6
    assert all(p.exit.reason == c.pb.END_REASON_SIGNALLED for p in ended), ended
    assert sum(p.exit.WhichOneof("status") == "not_started" for p in ended) == 2


def a_queued_run_is_told_when_it_runs(c, stub):
    name = "g" + uuid.uuid4().hex
    first = start(c, stub, "exec sleep 1000", group=name, group_maximum=1)
    run = c.Run(stub, ["cat"], stdin=b"waited", group=name)
    kinds = []
    for response in run.call:
        kinds.append(response.WhichOneof("response"))
        run.take(response)
        if kinds[-1] == "started":
            assert response.started.process.state == c.pb.PROCESS_STATE_QUEUED
            stub.Signal(c.pb.SignalRequest(process_id=first.process_id, signal=9), timeout=c.TIMEOUT)
        if kinds[-1] == "running":
            assert response.running.pid > 0
    run.requests.put(None)
    assert kinds[:2] == ["started", "running"] and kinds[-1] == "exited", kinds
    assert run.stdout == b"waited"


def an_acknowledged_exit_is_forgotten_at_once(c, stub):
    process_id = uuid.uuid4().hex
    requests = queue.Queue()
    requests.put(c.pb.RunRequest(start=c.pb.RunStart(
        process_id=process_id, acknowledge_exit=True, spec=c.pb.ProcessSpec(argv=[b"true"]))))
    for response in stub.Run(iter(requests.get, None), timeout=c.TIMEOUT):
        if response.WhichOneof("response") == "exited":
            # It stays until it is acknowledged.
            assert stub.Get(c.pb.GetRequest(process_id=process_id),
                            timeout=c.TIMEOUT).process.state == c.pb.PROCESS_STATE_ENDED
            requests.put(c.pb.RunRequest(exit_ack=c.pb.ExitAck()))
    requests.put(None)
    refused_until_gone(c, stub, process_id)


TESTS = [wait_gives_the_exit_and_forgets, a_deadline_of_wait_leaves_the_process,
         a_list_ends_with_its_summary, a_full_group_queues_in_order, a_group_is_ended_at_once,
         a_queued_run_is_told_when_it_runs, an_acknowledged_exit_is_forgotten_at_once]
