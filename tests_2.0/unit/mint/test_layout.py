"""The cache layout, judged by huggingface_hub, git and the hash libraries."""

import hashlib
import subprocess
from pathlib import Path

from huggingface_hub import scan_cache_dir, snapshot_download

from qualification.mint import layout

FILES = (
    ("config.json", b'{"model_type": "llama"}\n'),
    ("README.md", "Grüße\n".encode()),
    ("model.safetensors", bytes(range(256)) * 40),
    ("tokenizer.json", b"{}\n"),
    ("empty.txt", b""),
)


def test_the_cache_scanner_sees_one_revision_with_all_files_and_nothing_to_warn_about(tmp_path):
    revision, _ = layout.write(tmp_path / layout.folder_name("mint/x"), FILES)

    scanned = scan_cache_dir(tmp_path)

    (repo,) = scanned.repos
    (found,) = repo.revisions
    assert scanned.warnings == []
    assert (repo.repo_id, found.commit_hash, repo.refs.keys()) == ("mint/x", revision, {"main"})
    assert {(file.file_name, file.size_on_disk) for file in found.files} == {(name, len(data)) for name, data in FILES}


def test_the_client_finds_the_snapshot_offline(tmp_path):
    folder = tmp_path / layout.folder_name("mint/x")
    revision, _ = layout.write(folder, FILES)

    assert Path(snapshot_download("mint/x", cache_dir=tmp_path, local_files_only=True)) == folder / "snapshots" / revision


def test_large_files_are_named_by_sha256_and_the_others_as_git_names_them(tmp_path):
    _, blobs = layout.write(tmp_path / "models--mint--x", FILES)
    content = dict(FILES)
    for blob in blobs:
        if blob.name in {"model.safetensors", "tokenizer.json"}:
            expected = hashlib.sha256(content[blob.name]).hexdigest()
        else:
            expected = subprocess.run(
                ["git", "hash-object", "--stdin"], input=content[blob.name], capture_output=True, timeout=30, check=True
            ).stdout.decode().strip()  # fmt: skip

        assert blob.blob == expected


def test_links_are_relative_so_that_a_cache_can_be_moved(tmp_path):
    revision, _ = layout.write(tmp_path / "before" / "models--mint--x", FILES)
    (tmp_path / "before").rename(tmp_path / "after")
    snapshot = tmp_path / "after" / "models--mint--x" / "snapshots" / revision

    assert {path.name: path.read_bytes() for path in snapshot.iterdir()} == dict(FILES)


def test_the_revision_follows_content_and_names_but_not_their_order(tmp_path):
    revisions = [
        layout.write(tmp_path / name, files)[0]
        for name, files in {
            "same": FILES,
            "reordered": FILES[::-1],
            "renamed": (("other.json", FILES[0][1]), *FILES[1:]),
            "changed": (("config.json", b"{}\n"), *FILES[1:]),
        }.items()
    ]

    assert all(len(revision) == 40 and int(revision, 16) for revision in revisions)
    assert revisions[0] == revisions[1]
    assert len(set(revisions)) == 3


def test_a_missing_or_truncated_file_makes_a_folder_not_whole(tmp_path):
    folder = tmp_path / "models--mint--x"
    revision, blobs = layout.write(folder, FILES)
    whole = layout.is_whole(folder, revision, blobs)
    weights = folder / "snapshots" / revision / "model.safetensors"
    weights.resolve().write_bytes(b"short")

    truncated = layout.is_whole(folder, revision, blobs)
    weights.resolve().unlink()

    assert (whole, truncated, layout.is_whole(folder, revision, blobs)) == (True, False, False)
