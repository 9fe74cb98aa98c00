"""Time stamps against an authority of our own, made with the system's openssl."""

from __future__ import annotations

import shutil
import subprocess
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from crimeface_lib.core.errors import InputError, IntegrityError
from crimeface_lib.evidence import timestamp_request, verify_timestamp

pytest.importorskip("rfc3161_client", reason="rfc3161-client is not installed: pip install 'crimeface-lib[exchange]'")
pytestmark = pytest.mark.skipif(not shutil.which("openssl"), reason="no openssl on this machine to play the authority")

CONFIG = """
[tsa]
default_tsa = t
[t]
serial = serial
default_policy = 1.2.3.4.1
digests = sha256, sha384, sha512
signer_digest = sha256
ess_cert_id_alg = sha256
accuracy = secs:1
"""
EXTENSIONS = "[v3]\nextendedKeyUsage = critical,timeStamping\nkeyUsage = critical,digitalSignature\n"


def openssl(folder: Path, *words: str) -> None:
    subprocess.run(["openssl", *words], cwd=folder, check=True, capture_output=True)


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("tsa")
    (folder / "ts.cnf").write_text(CONFIG)
    (folder / "ext.cnf").write_text(EXTENSIONS)
    (folder / "serial").write_text("01\n")
    new = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes"]
    for name in ("root", "stranger"):
        openssl(
            folder,
            "req",
            "-x509",
            *new,
            "-keyout",
            f"{name}.key",
            "-out",
            f"{name}.pem",
            "-days",
            "9",
            "-subj",
            f"/CN={name}",
        )
    openssl(folder, "req", *new, "-keyout", "tsa.key", "-out", "tsa.csr", "-subj", "/CN=Test Authority")
    openssl(folder, "x509", "-req", "-in", "tsa.csr", "-CA", "root.pem", "-CAkey", "root.key", "-CAcreateserial",
            "-days", "9", "-extfile", "ext.cnf", "-extensions", "v3", "-out", "tsa.pem")  # fmt: skip
    return folder


def answer(authority: Path, request: bytes) -> bytes:
    (authority / "q.tsq").write_bytes(request)
    openssl(
        authority,
        "ts",
        "-reply",
        "-config",
        "ts.cnf",
        "-queryfile",
        "q.tsq",
        "-signer",
        "tsa.pem",
        "-inkey",
        "tsa.key",
        "-out",
        "r.tsr",
    )
    return (authority / "r.tsr").read_bytes()


def test_a_stamp_says_when(authority: Path) -> None:
    data = b'{"size": 3}'
    response = answer(authority, timestamp_request(data))
    roots = (authority / "root.pem").read_bytes()
    told = verify_timestamp(data, response, certificates=roots)
    assert abs(told.at - datetime.now(UTC)) < timedelta(minutes=5)
    assert (told.policy, told.authority) == ("1.2.3.4.1", "CN=Test Authority")
    assert verify_timestamp(data, response, certificates=roots + (authority / "tsa.pem").read_bytes()) == told


def test_what_does_not_hold_is_refused(authority: Path) -> None:
    data = b'{"size": 3}'
    response, roots = answer(authority, timestamp_request(data)), (authority / "root.pem").read_bytes()
    with pytest.raises(IntegrityError, match="does not hold"):
        verify_timestamp(b'{"size": 4}', response, certificates=roots)
    with pytest.raises(IntegrityError, match="does not hold"):
        verify_timestamp(data, response, certificates=(authority / "stranger.pem").read_bytes())
    for place in range(40, len(response), 61):
        changed = response[:place] + bytes([response[place] ^ 1]) + response[place + 1 :]
        try:
            told = verify_timestamp(data, changed, certificates=roots)
        except IntegrityError:
            continue
        assert told == verify_timestamp(data, response, certificates=roots)  # a byte that says nothing
    for junk in (b"", b"junk", response[:50]):
        with pytest.raises(IntegrityError):
            verify_timestamp(data, junk, certificates=roots)
    for certificates in (b"", (authority / "tsa.pem").read_bytes()):
        with pytest.raises(InputError, match="got no"):
            verify_timestamp(data, response, certificates=certificates)
    with pytest.raises(InputError, match="nothing to stamp"):
        timestamp_request(b"")
