"""No secret in the tree."""

from __future__ import annotations

import math
import re
import subprocess
from collections import Counter
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
TEXT = {".py", ".md", ".yml", ".yaml", ".toml", ".ipynb", ".json", ".txt", ".cfg", ".ini", ".env", ".sh", ".js",
        ".html", ".example", ".j2", ".css", ".xml", ""}  # fmt: skip
KNOWN = re.compile(
    r"BEGIN [A-Z ]*PRIVATE KEY|AKIA[0-9A-Z]{16}|gh[pousr]_[A-Za-z0-9]{30}|xox[abprs]-[A-Za-z0-9-]{10}"
    r"|sk-[A-Za-z0-9]{20}|eyJ[A-Za-z0-9_-]{15,}\.eyJ[A-Za-z0-9_-]{15,}\."
    r"|://[^\s/:@{}<>\"']+:(?!PASSWORD@|geheim@|secret@)[^\s/@{}<>\"']+@"
)
ASSIGNED = re.compile(
    r"(?i)\b\w*(?:passphrase|password|secret|token|master_key|api_?key)\w*[\"']?\s*[:=]\s*"
    r"[\"'](?!CRIMEFACE_|canary)([A-Za-z0-9+/=_\-]{20,})[\"']"
)
TOKEN = re.compile(r"(?<![A-Za-z0-9+/_-])[A-Za-z0-9+/_-]{32,}={0,2}(?![A-Za-z0-9+/=_-])")
HASH = re.compile(r"[0-9a-f]{32,}|[0-9A-F]{32,}")


def entropy(text: str) -> float:
    """Bits per character."""
    return -sum(n / len(text) * math.log2(n / len(text)) for n in Counter(text).values())


def suspicious(text: str) -> list[str]:
    """What in ``text`` looks like a key: the well-known forms, assignments, and long words that look random.

    Hashes are hexadecimal and published on purpose; names have few digits, and words with capitals between.
    """
    found = KNOWN.findall(text) + ASSIGNED.findall(text)
    for word in TOKEN.findall(text):
        kinds = sum(bool(re.search(kind, word)) for kind in ("[a-z]", "[A-Z]", "[0-9]"))
        if kinds == 3 and not HASH.fullmatch(word) and entropy(word) > 4.4 and len(re.findall("[0-9]", word)) > 2:
            found.append(word)
    return found


def tracked() -> list[Path]:
    done = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, text=True, check=False)
    if done.returncode:
        pytest.skip("not a git checkout: what is committed can't be listed")
    return [ROOT / name for name in done.stdout.split("\0") if name]


def test_no_secret_in_the_tree() -> None:
    found = {}
    for path in tracked():
        assert path.suffix not in {".pem", ".key", ".p12", ".pfx", ".keystore"}, path
        assert path.name not in {".env", "keys.json", "id_rsa", "id_ed25519", ".netrc", ".pgpass"}, path
        if not path.is_file() or path == Path(__file__) or path.suffix not in TEXT:
            continue
        if words := suspicious(path.read_text(encoding="utf-8", errors="ignore")):
            found[str(path.relative_to(ROOT))] = words[:3]
    assert not found


@pytest.mark.parametrize(
    "text",
    [
        "-----BEGIN " + "OPENSSH PRIVATE KEY-----",
        "CRIMEFACE_MASTER_KEY=" + "q83vEjRWeJCrze8SNFZ4kKvN7xI0VniQq83vEjRWeJA=",
        'password = "' + 'correcthorsebatterystaple"',
        "postgresql+psycopg://crimeface:" + "hunter2@db/crimeface",
        "gh" + "p_0123456789abcdefghijABCDEFGHIJ012345",
    ],
)
def test_the_search_finds_what_it_is_for(text: str) -> None:
    assert suspicious(text)


def test_what_holds_secrets_is_ignored_by_git() -> None:
    done = subprocess.run(
        ["git", "check-ignore", ".env", ".crimeface/store/keys.json"], cwd=ROOT, capture_output=True, text=True
    )
    if done.returncode == 128:
        pytest.skip("not a git checkout")
    assert done.stdout.split() == [".env", ".crimeface/store/keys.json"]
