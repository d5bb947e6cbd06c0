#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""One token, used by a thousand at the same time, each with a request of its own: exactly one gets a certificate.

Usage: one_token.py ADDRESS CA-FILE TOKEN-FILE NAME [COUNT]     prints "N certificates, N refused, N others"
A token's secret is taken from its text: base64url of the kind, and length-prefixed domain, name and address, the
32 bytes of the pin, and then the 32 bytes of the secret.
"""
import base64
import collections
import importlib
import os
import subprocess
import sys
import tempfile
import threading

os.environ["GRPC_VERBOSITY"] = "NONE"
import grpc  # noqa: E402
from cryptography import x509  # noqa: E402
from cryptography.hazmat.primitives import hashes, serialization  # noqa: E402
from cryptography.hazmat.primitives.asymmetric import ec  # noqa: E402

THREADS = 16


def secret_of(text):
    raw = base64.urlsafe_b64decode(text.split(".", 1)[1] + "=" * (-len(text.split(".", 1)[1]) % 4))
    at = 1
    for _ in range(3):
        at += 1 + raw[at]
    return raw[at + 32:at + 64]


def request(name):
    key = ec.generate_private_key(ec.SECP256R1())
    uri = x509.UniformResourceIdentifier(f"spiffe://telex.internal/user/{name}")
    csr = (x509.CertificateSigningRequestBuilder().subject_name(x509.Name([]))
           .add_extension(x509.SubjectAlternativeName([uri]), False).sign(key, hashes.SHA256()))
    return csr.public_bytes(serialization.Encoding.DER)


def main():
    address, ca, token, name = sys.argv[1:5]
    count = int(sys.argv[5]) if len(sys.argv) > 5 else 1000
    proto = os.path.join(os.environ.get("top_srcdir", "."), "proto")
    with tempfile.TemporaryDirectory() as made:
        subprocess.run([sys.executable, "-m", "grpc_tools.protoc", "-I", proto, "--python_out", made,
                        "--grpc_python_out", made, "telex/v1/certificate.proto"], check=True)
        sys.path.insert(0, made)
        pb = importlib.import_module("telex.v1.certificate_pb2")
        stubs = importlib.import_module("telex.v1.certificate_pb2_grpc")
    with open(token, encoding="ascii") as f:
        secret = secret_of(f.read().strip())
    with open(ca, "rb") as f:
        credentials = grpc.ssl_channel_credentials(f.read())
    requests = [pb.EnrollRequest(secret=secret, csr=request(name)) for _ in range(count)]
    outcomes = collections.Counter()
    certificates = set()
    lock = threading.Lock()
    begin = threading.Barrier(THREADS)

    def use(mine):
        with grpc.secure_channel(address, credentials, options=[("grpc.use_local_subchannel_pool", 1)]) as channel:
            stub = stubs.CertificateServiceStub(channel)
            begin.wait()
            for q in mine:
                try:
                    answer = stub.Enroll(q, timeout=240)
                    outcome = "certificate"
                except grpc.RpcError as e:
                    outcome = e.code()
                with lock:
                    outcomes[outcome] += 1
                    if outcome == "certificate":
                        certificates.add(answer.certificate_chain)

    threads = [threading.Thread(target=use, args=(requests[i::THREADS],)) for i in range(THREADS)]
    for t in threads:
        t.start()
    for t in threads:
        t.join()
    refused = outcomes[grpc.StatusCode.PERMISSION_DENIED]
    print(f"{len(certificates)} certificates, {refused} refused, "
          f"{sum(outcomes.values()) - outcomes['certificate'] - refused} others")
    print({str(k): v for k, v in outcomes.items()}, file=sys.stderr)


main()
