"""health --verify tells, without a network, whether what is there is what was published."""

from __future__ import annotations

import pytest

NAME = "acme/tiny"
SHARD = "model-00002-of-00002.safetensors"


@pytest.fixture(params=["cache", "workspace"])
def held(request, local_hub, person, model, tmp_path, monkeypatch):
    """What was fetched, by the name to verify it by, and the folder that shows its files; from then on the Hub is away."""
    local_hub.store.import_folder(NAME, model)
    if request.param == "cache":
        person.run("pull", NAME)
        found = NAME, next((person.repository(NAME) / "snapshots").iterdir())
    else:
        person.run("clone", NAME, str(tmp_path / "mine"))
        found = str(tmp_path / "mine"), tmp_path / "mine"
    monkeypatch.setenv("HF_ENDPOINT", "http://127.0.0.1:9")
    return found


def test_what_was_published_verifies(held, person):
    entry = person.run("health", held[0], "--verify", "--json").data["healthy"][0]
    for_people = person.run("health", held[0], "--verify").out

    assert entry["verified"] == {"files": 8, "unknown": 0}
    assert for_people.endswith("complete; 8 have the hash that the Hub published\n")


@pytest.mark.parametrize("name", [SHARD, "config.json"])
def test_one_bit_is_found_where_the_rules_of_health_see_nothing(held, person, name):
    file = (held[1] / name).resolve()
    raw = bytearray(file.read_bytes())
    raw[-1] ^= 1 if name == SHARD else 0
    raw += b"" if name == SHARD else b" "
    file.write_bytes(raw)
    without = person.run("health", held[0], "--json").data["summary"]["unhealthy_count"]
    problems = person.run("health", held[0], "--verify", "--json").data["unhealthy"][0]["problems"]

    assert without == 0
    assert [(problem["code"], problem["path"]) for problem in problems] == [("content_mismatch", name)]


def test_a_file_whose_hash_nobody_knows_is_counted(held, person):
    (held[1] / "mine.txt").write_text("mine", encoding="utf-8")
    entry = person.run("health", held[0], "--verify", "--json").data["healthy"][0]

    assert entry["verified"] == {"files": 8, "unknown": 1}
