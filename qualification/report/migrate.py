"""Brings a test record of an earlier schema to the current one without loss, and back."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from datetime import timezone
from typing import Any

from qualification import schemas

_Record = dict[str, Any]
_NOTHING = object()


def forward(record: Mapping[str, Any]) -> _Record:
    """The record under the current schema; ``migrated`` holds what ``back`` needs. A current record comes back as it is.

    The record must be valid under the schema that it names. Whatever the current one has no place for is kept in ``migrated``.
    """
    old = dict(record)
    version = old.pop("schema_version")
    if version == schemas.report_version():
        return dict(record)
    new = _fitting(schemas.load("report"), _in_current_words(old))
    was: _Record = {}
    added: list[str] = []
    _compare(old, new, "", was, added)
    return {"schema_version": schemas.report_version(), **new, "migrated": {"from": version, "was": was, "added": sorted(added)}}


def back(record: Mapping[str, Any]) -> _Record:
    """The record that ``forward`` was given; one that was never migrated comes back as it is."""
    if "migrated" not in record:
        return dict(record)
    new: _Record = json.loads(json.dumps(record))
    migrated = new.pop("migrated")
    new["schema_version"] = migrated["from"]
    for pointer in migrated["added"]:
        home, key = _resolve(new, pointer)
        del home[key]
    for pointer, value in migrated["was"].items():
        home, key = _resolve(new, pointer)
        home[key] = value
    return new


def _in_current_words(old: _Record) -> _Record:
    """What earlier schemas and the hooks of their time called by several names, under the one of now."""
    new: _Record = json.loads(json.dumps(old))
    new["timestamp"] = _utc(new["timestamp"])
    health = new.get("system_health", {})
    _rename(health, "zombies_detected", "zombie_processes")
    swap_gb = health.get("swap_gb", math.inf)
    if "swap_used_mb" not in health and math.isfinite(swap_gb * 1000.0):
        health["swap_used_mb"] = health.pop("swap_gb") * 1000.0
    _rename(new.get("system", {}).get("hardware_profile", {}), "model_identifier", "model")
    return new


def _rename(section: _Record, old: str, new: str) -> None:
    if old in section and new not in section:
        section[new] = section.pop(old)


def _utc(timestamp: str) -> str:
    if timestamp.endswith("Z") and timestamp[10] == "T":
        return timestamp
    return schemas.instant(timestamp).astimezone(timezone.utc).isoformat()[:-6] + "Z"


def _fitting(schema: Mapping[str, Any], value: Any) -> Any:
    """What of ``value`` the schema accepts, key by key; ``_NOTHING`` where that leaves something it refuses as a whole."""
    properties = schema.get("properties", {})
    if isinstance(value, dict) and properties:
        closed = schema.get("additionalProperties") is False
        parts = {
            key: _fitting(properties[key], part) if key in properties else _NOTHING if closed else part
            for key, part in value.items()
        }
        value = {key: part for key, part in parts.items() if part is not _NOTHING}
        schema = {key: rule for key, rule in schema.items() if key not in ("if", "else")}
    if "schema_version" in properties:
        return value
    return value if schemas.validator("report").evolve(schema=schema).is_valid(value) else _NOTHING


def _compare(old: Mapping[str, Any], new: Mapping[str, Any], at: str, was: _Record, added: list[str]) -> None:
    for key in old.keys() | new.keys():
        pointer = f"{at}/{key.replace('~', '~0').replace('/', '~1')}"
        if key not in old:
            added.append(pointer)
        elif key not in new:
            was[pointer] = old[key]
        elif isinstance(old[key], dict) and isinstance(new[key], dict):
            _compare(old[key], new[key], pointer, was, added)
        elif json.dumps(old[key], sort_keys=True) != json.dumps(new[key], sort_keys=True):
            was[pointer] = old[key]


def _resolve(record: _Record, pointer: str) -> tuple[_Record, str]:
    """The object that holds what an RFC 6901 pointer names, and its key there."""
    *path, last = (part.replace("~1", "/").replace("~0", "~") for part in pointer.split("/")[1:])
    home = record
    for key in path:
        home = home[key]
    return home, last
