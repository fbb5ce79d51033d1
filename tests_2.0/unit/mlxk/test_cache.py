"""Which snapshot a name means."""

from __future__ import annotations

import os

import pytest

from mlxk import cache
from mlxk.errors import AmbiguousMatch, ModelNotFound, RevisionNotFound

OTHER = "fedcba9876543210fedcba9876543210fedcba98"


def test_a_cache_that_does_not_exist_holds_no_models(tmp_path):
    assert cache.names(tmp_path / "nowhere") == []


def test_names_are_read_from_the_folders_and_sorted(hub):
    for name in ("org/b", "org/a", "plain"):
        hub.add(name)
    (hub.root / "datasets--org--d").mkdir()

    assert cache.names(hub.root) == ["org/a", "org/b", "plain"]


def test_the_current_snapshot_is_what_main_names_though_another_is_newer(hub):
    hub.add("org/m")
    newer = hub.add("org/m", commit=OTHER, main=False)
    os.utime(newer, (4e9, 4e9))

    assert cache.current(hub.root, "org/m").commit == hub.commit


@pytest.mark.parametrize("main", ["", "0" * 40])
def test_without_a_usable_main_the_newest_snapshot_is_current(hub, main):
    old = hub.add("org/m")
    hub.add("org/m", commit=OTHER, main=False)
    os.utime(old, (1e9, 1e9))
    (hub.root / "models--org--m" / "refs" / "main").write_text(main, encoding="utf-8")

    assert cache.current(hub.root, "org/m").commit == OTHER


def test_a_branch_has_another_version_once_its_file_has(hub, monkeypatch):
    def version():
        return cache.ref_version(hub.root, "org/m", "main")

    hub.add("org/m")
    main = hub.root / "models--org--m" / "refs" / "main"
    changed_ns = main.stat().st_ctime_ns
    monkeypatch.setattr("mlxk.cache.time.time_ns", lambda: changed_ns + 10**9)
    just_now = version()
    monkeypatch.setattr("mlxk.cache.time.time_ns", lambda: changed_ns + 10**12)
    first, same = version(), version()
    main.rename(main.with_name("old"))
    main.write_text(OTHER)
    replaced = version()
    later_ns = main.stat().st_ctime_ns
    while main.stat().st_ctime_ns == later_ns:
        main.write_text("e" * 40)
    written = version()
    main.unlink()

    assert just_now is version() is None
    assert first == same
    assert len({None, first, replaced, written}) == 4


def test_a_full_name_is_exact_though_it_is_part_of_another(hub):
    hub.add("org/llama")
    hub.add("org/llama-big")

    assert cache.find(hub.root, "org/llama").name == "org/llama"


def test_a_full_name_never_matches_by_part_or_in_another_case(hub):
    hub.add("org/llama-big")

    for wanted in ("org/llama", "org/LLAMA-BIG"):
        with pytest.raises(ModelNotFound):
            cache.find(hub.root, wanted)


def test_a_short_name_matches_by_part_in_any_case(hub):
    hub.add("org/Llama-3")

    assert cache.find(hub.root, "lLAMA").name == "org/Llama-3"


def test_a_short_name_of_two_models_lists_both_though_one_is_exact(hub):
    hub.add("org/llama")
    hub.add("org/llama-big")

    with pytest.raises(AmbiguousMatch) as caught:
        cache.find(hub.root, "llama")

    assert caught.value.details["matches"] == ["org/llama", "org/llama-big"]


def test_an_empty_name_matches_nothing(hub):
    hub.add("org/only")

    with pytest.raises(ModelNotFound):
        cache.find(hub.root, "")


@pytest.mark.parametrize("revision", ["v1.0", "refs-like/name", "fedc", OTHER, OTHER[:7].upper()])
def test_a_revision_is_a_branch_a_tag_or_the_beginning_of_a_commit(hub, revision):
    hub.add("org/m")
    hub.add("org/m", commit=OTHER, main=False)
    for ref in ("v1.0", "refs-like/name"):
        path = hub.root / "models--org--m" / "refs" / ref
        path.parent.mkdir(exist_ok=True)
        path.write_text(OTHER, encoding="utf-8")

    assert cache.find(hub.root, f"m@{revision}").commit == OTHER


@pytest.mark.parametrize("revision", ["fed", "nothing", "../../../../etc/passwd", "/etc/passwd", "abcd"])
def test_a_revision_that_is_not_there_lists_what_is(hub, revision):
    hub.add("org/m", commit=OTHER)

    with pytest.raises(RevisionNotFound) as caught:
        cache.find(hub.root, f"org/m@{revision}")

    assert caught.value.details["available_hashes"] == [OTHER]


def test_a_revision_never_leads_out_of_the_refs(hub):
    hub.add("org/m")
    (hub.root / "outside").write_text(hub.commit, encoding="utf-8")

    with pytest.raises(RevisionNotFound):
        cache.find(hub.root, "org/m@../../outside")


def test_a_hash_prefix_of_two_snapshots_is_ambiguous(hub):
    hub.add("org/m")
    hub.add("org/m", commit=hub.commit[:6] + OTHER[6:], main=False)

    with pytest.raises(AmbiguousMatch):
        cache.find(hub.root, f"org/m@{hub.commit[:4]}")
