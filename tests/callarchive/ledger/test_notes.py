"""Signed notes and checkpoints: a published example of the format, and openssl as another implementation of the signature."""

import base64
import subprocess
from pathlib import Path

import pytest

from callarchive.domain.errors import ConfigurationError
from callarchive.ledger.notes import Checkpoint, NoteError, PublicKey, SigningKey, signers

# The key pair that the documentation of Go's package note publishes as an example.
EXAMPLE_SECRET = "PRIVATE+KEY+PeterNeumann+c74f20a3+AYEKFALVFGyNhPJEMzD1QIDr+Y7hfZx09iUvxdXHKDFz"
EXAMPLE_PUBLIC = "PeterNeumann+c74f20a3+ARpc2QcUPDhMQegwxbzhKqiBfsVkmqq/LDE4izWy10TW"
CHECKPOINT = Checkpoint("acme.example/recordings", 37, bytes(range(32)))


def test_the_published_key_pair_is_read_and_written() -> None:
    key = SigningKey.parse(EXAMPLE_SECRET)
    assert str(key.public) == EXAMPLE_PUBLIC
    assert key.private_text() == EXAMPLE_SECRET
    assert PublicKey.parse(EXAMPLE_PUBLIC) == key.public


@pytest.mark.needs("openssl")
def test_openssl_verifies_a_signed_checkpoint(tmp_path: Path) -> None:
    key = SigningKey.generate("acme.example/recordings")
    note = key.sign(CHECKPOINT.text())
    text, _, line = note.removesuffix("\n").rpartition("\n\n")
    signature = base64.b64decode(line.split(" ")[2])
    (tmp_path / "key.pem").write_text(key.public.pem())
    (tmp_path / "signature").write_bytes(signature[4:])
    for name, content, expected in (("signed", f"{text}\n", 0), ("edited", f"{text} \n", 1)):
        (tmp_path / name).write_text(content)
        command = f"openssl pkeyutl -verify -pubin -inkey key.pem -rawin -in {name} -sigfile signature"
        done = subprocess.run(command.split(), cwd=tmp_path, capture_output=True, text=True, check=False)
        assert done.returncode == expected, done.stdout + done.stderr


def test_a_checkpoint_survives_its_note() -> None:
    note = SigningKey.generate("acme.example/recordings").sign(CHECKPOINT.text())
    assert Checkpoint.parse(note) == Checkpoint.parse(CHECKPOINT.text()) == CHECKPOINT
    assert note.startswith("acme.example/recordings\n37\n")


def test_signatures_of_other_keys_are_skipped_and_wrong_ones_refused() -> None:
    own, other = (SigningKey.generate("acme.example/recordings") for _ in range(2))
    note = own.sign(CHECKPOINT.text())
    assert signers(note, [own.public, other.public]) == [own.public]
    assert signers(note, [other.public]) == []
    assert signers(CHECKPOINT.text(), [own.public]) == []
    with pytest.raises(NoteError, match=r"the signature of acme.example/recordings does not match"):
        signers(note.replace("\n37\n", "\n36\n"), [own.public])
    with pytest.raises(NoteError, match="malformed"):
        signers(f"{note}nonsense\n", [own.public])


@pytest.mark.parametrize(
    "text",
    [
        "",
        "a\n",
        "a\n1\n",
        "a\n01\nAAAA\n",
        "a\n-1\nAAAA\n",
        "\n1\nAAAA\n",
        "a\n1\nAAAA\n",
        "a\n1\n!\n",
        "a\n\u0661\nAAAA\n",
    ],
)
def test_what_is_no_checkpoint_is_refused(text: str) -> None:
    with pytest.raises(NoteError, match="not a checkpoint"):
        Checkpoint.parse(text)


@pytest.mark.parametrize("text", ["", "a", "a+b+c", EXAMPLE_PUBLIC[:-4], EXAMPLE_PUBLIC.replace("c74f", "c74e")])
def test_what_is_no_public_key_is_refused(text: str) -> None:
    with pytest.raises(ConfigurationError, match="not a public key"):
        PublicKey.parse(text)


@pytest.mark.parametrize(
    "text", ["", "hunter2", EXAMPLE_PUBLIC, EXAMPLE_SECRET[:-4], EXAMPLE_SECRET.replace("c74f", "c74e")]
)
def test_what_is_no_signing_key_is_refused_without_being_shown(text: str) -> None:
    with pytest.raises(ConfigurationError, match="not a signing key") as refused:
        SigningKey.parse(text)
    assert not text or text not in str(refused.value)
    assert EXAMPLE_SECRET not in repr(SigningKey.parse(EXAMPLE_SECRET))


@pytest.mark.parametrize("name", ["", "two words", "a+b", "a\nb"])
def test_a_key_has_a_plain_name(name: str) -> None:
    with pytest.raises(ConfigurationError, match="neither spaces nor plus signs"):
        SigningKey.generate(name)
