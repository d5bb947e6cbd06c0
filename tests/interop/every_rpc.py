#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Every RPC of every service, as the .proto files say, with every certificate that must not do. Prints TAP.

A new RPC is covered without a word here: the table is made from the descriptors. Each attempt must be refused, and
each must be in the audit log.

Environment: TELEX_ADDRESS, TELEX_CA, TELEX_CA_KEY (PEM files), TELEX_REVOKED (the stem of a revoked PEM pair),
TELEX_AUDIT (the workers' audit log), top_srcdir.
"""
import collections
import datetime
import glob
import json
import os
import subprocess
import sys
import tempfile
import time

os.environ["GRPC_VERBOSITY"] = "NONE"
import grpc  # noqa: E402
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID
from google.protobuf import descriptor_pb2

top = os.environ.get("top_srcdir", ".")
DEADLINE = 240
DAY = datetime.timedelta(days=1)
NOW = datetime.datetime.utcnow()
USER = "spiffe://telex.internal/user/"


def read(path):
    with open(path, "rb") as f:
        return f.read()


def all_rpcs():
    """(service, method) of all public .proto files, and of those that the standard tools use."""
    proto = os.path.join(top, "proto")
    files = [os.path.relpath(p, proto) for where in ("telex/v1", "grpc/health/v1", "grpc/reflection/v1",
                                                     "grpc/reflection/v1alpha")
             for p in sorted(glob.glob(os.path.join(proto, where, "*.proto")))]
    with tempfile.TemporaryDirectory() as made:
        out = os.path.join(made, "set")
        subprocess.run([sys.executable, "-m", "grpc_tools.protoc", "-I", proto, "--descriptor_set_out", out] + files,
                       check=True)
        described = descriptor_pb2.FileDescriptorSet.FromString(read(out))
    return [(f"{file.package}.{service.name}", method.name)
            for file in described.file for service in file.service for method in service.method]


# ---- certificates ----

def new_key():
    key = ec.generate_private_key(ec.SECP256R1())
    return key, key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8,
                                  serialization.NoEncryption())


def issue(ca, ca_key, uris, eku=ExtendedKeyUsageOID.CLIENT_AUTH, begin=NOW - DAY, end=NOW + DAY):
    key, pem = new_key()
    builder = (x509.CertificateBuilder()
               .subject_name(x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "dev")]))
               .issuer_name(ca.subject).public_key(key.public_key())
               .serial_number(x509.random_serial_number()).not_valid_before(begin).not_valid_after(end)
               .add_extension(x509.BasicConstraints(False, None), True)
               .add_extension(x509.ExtendedKeyUsage([eku]), False))
    if uris:
        names = [x509.UniformResourceIdentifier(uri) for uri in uris]
        builder = builder.add_extension(x509.SubjectAlternativeName(names), False)
    made = builder.sign(ca_key, hashes.SHA256())
    return made.public_bytes(serialization.Encoding.PEM), pem


def other_ca():
    key, _ = new_key()
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "Other CA")])
    made = (x509.CertificateBuilder().subject_name(name).issuer_name(name).public_key(key.public_key())
            .serial_number(x509.random_serial_number()).not_valid_before(NOW - DAY).not_valid_after(NOW + DAY)
            .add_extension(x509.BasicConstraints(True, 0), True).sign(key, hashes.SHA256()))
    return made, key


def table():
    ca = x509.load_pem_x509_certificate(read(os.environ["TELEX_CA"]))
    key = serialization.load_pem_private_key(read(os.environ["TELEX_CA_KEY"]), None)
    dev = [USER + "dev"]
    revoked = os.environ["TELEX_REVOKED"]
    return {
        "no certificate": (None, None),
        "another CA's": issue(*other_ca(), dev),
        "an expired one": issue(ca, key, dev, begin=NOW - 3 * DAY, end=NOW - DAY),
        "one not yet valid": issue(ca, key, dev, begin=NOW + DAY, end=NOW + 2 * DAY),
        "a revoked one": (read(revoked + ".pem"), read(revoked + ".key")),
        "a server's": issue(ca, key, dev, eku=ExtendedKeyUsageOID.SERVER_AUTH),
        "one without a name": issue(ca, key, []),
        "one with two names": issue(ca, key, [USER + "dev", USER + "eve"]),
        "one without a grant": issue(ca, key, [USER + "nobody"]),
    }


# ---- attempts ----

def attempt(pair, service, method):
    """The status of one call, on a connection of its own."""
    certificate, key = pair
    credentials = grpc.ssl_channel_credentials(read(os.environ["TELEX_CA"]), key, certificate)
    options = [("grpc.use_local_subchannel_pool", 1), ("grpc.initial_reconnect_backoff_ms", DEADLINE * 1000),
               ("grpc.enable_retries", 0)]
    with grpc.secure_channel(os.environ["TELEX_ADDRESS"], credentials, options=options) as channel:
        call = channel.stream_stream(f"/{service}/{method}", lambda m: m, lambda m: m)
        try:
            list(call(iter([b""]), timeout=DEADLINE))
        except grpc.RpcError as e:
            return e.code()
    return grpc.StatusCode.OK


def audited():
    """How many handshakes were refused, and which calls were denied, by now."""
    refused, denied = 0, collections.Counter()
    with open(os.environ["TELEX_AUDIT"], encoding="utf-8") as f:
        for line in f:
            if not line.endswith("\n"):
                break  # it is being written
            record = json.loads(line)
            if record["event"] == "handshake" and record.get("outcome") != "accepted":
                refused += 1
            if record["event"] == "call" and record["decision"] == "denied":
                path = record.get("path", "").strip("/").split("/")
                service, method = (path + [""])[:2]
                denied[record.get("service", service), record.get("method", method)] += 1
    return refused, denied


def until(reached):
    end = time.monotonic() + DEADLINE
    while not reached() and time.monotonic() < end:
        time.sleep(0.02)
    return reached()


def check(number, what, wrong):
    print(f"{'not ok' if wrong else 'ok'} {number} - {what}", flush=True)
    for line in wrong[:10]:
        print(f"# {line}")
    return not wrong


def main():
    rpcs = all_rpcs()
    certificates = table()
    print(f"1..{len(certificates) + 2}")
    good = check(1, "the table has RPCs of every service", [] if len({s for s, _ in rpcs}) >= 6 and len(rpcs) >= 20
                 else [f"{len(rpcs)} RPCs only"])
    for number, (what, pair) in enumerate(certificates.items(), 2):
        refused, denied = audited()
        granted = what == "one without a grant"
        # What is served on another listener alone is unknown here.
        wanted = ([grpc.StatusCode.PERMISSION_DENIED, grpc.StatusCode.UNIMPLEMENTED] if granted
                  else [grpc.StatusCode.UNAVAILABLE])
        wrong = []
        for service, method in rpcs:
            code = attempt(pair, service, method)
            if code not in wanted:
                wrong.append(f"{service}/{method}: {code}")
        if not granted and not until(lambda n=refused: audited()[0] >= n + len(rpcs)):
            wrong.append(f"of {len(rpcs)} attempts {audited()[0] - refused} are in the audit log")
        if granted:
            wrong += [f"{s}/{m} is not in the audit log" for s, m in rpcs if audited()[1][s, m] <= denied[s, m]]
        good &= check(number, f"{what}: {len(rpcs)} RPCs are refused, and the audit log tells of each", wrong)
    pair = issue(x509.load_pem_x509_certificate(read(os.environ["TELEX_CA"])),
                 serialization.load_pem_private_key(read(os.environ["TELEX_CA_KEY"]), None), [USER + "dev"])
    code = attempt(pair, "telex.v1.SystemService", "GetInfo")
    good &= check(len(certificates) + 2, "a good one is served", [] if code == grpc.StatusCode.OK else [str(code)])
    return 0 if good else 1


sys.exit(main())
