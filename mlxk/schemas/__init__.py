"""The JSON Schema of what mlxk prints, a file of the package, and the version of it that the code keeps to."""

from __future__ import annotations

import json
from pkgutil import get_data
from typing import Any

JSON_API_SPEC_VERSION = "0.3.0"


def output() -> dict[str, Any]:
    """The schema of every envelope. ``get_data`` reads it from a zipped wheel too."""
    schema: dict[str, Any] = json.loads(get_data(__name__, "output.json") or b"")
    return schema


def openapi() -> bytes:
    """The description of the server's API, as it is served."""
    return get_data(__name__, "openapi.json") or b""


def definition(name: str) -> dict[str, Any] | None:
    """The schema of one part of it by the name of its definition, complete in itself; None if there is no such part."""
    whole = output()
    if name not in whole["$defs"]:
        return None
    return {"$schema": whole["$schema"], "version": whole["version"], "$ref": f"#/$defs/{name}", "$defs": whole["$defs"]}
