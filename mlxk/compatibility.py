"""Whether the installed mlx-lm can run a model, read from that package's files: it takes a second to import."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache, cached_property
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from mlxk.contents import Contents
from mlxk.model import Description

_LOADABLE = re.compile(r"model[^/]*\.safetensors")


@dataclass(frozen=True)
class MlxLm:
    """The installed mlx-lm. ``root`` is its folder, or None where it is not installed."""

    root: Path | None

    @classmethod
    def installed(cls) -> MlxLm:
        spec = find_spec("mlx_lm")  # finds the folder of a top-level package without importing it
        places = spec.submodule_search_locations if spec is not None else None
        return cls(Path(next(iter(places))) if places else None)

    def supports(self, config: dict[str, Any]) -> bool:
        """Whether mlx-lm has a module for this configuration, after the renaming that mlx-lm does itself."""
        module = self._module(config)
        return self.root is not None and "/" not in module and _defines_model(self.root, module)

    def _module(self, config: dict[str, Any]) -> str:
        model_type = str(config.get("model_type"))
        architectures = config.get("architectures")
        for architecture in architectures if isinstance(architectures, list) else [architectures]:
            if renamed := self._renamed_architectures.get((model_type, architecture)):
                return str(renamed)
        return str(self._renamed_types.get(model_type, model_type))

    @cached_property
    def _renamed_types(self) -> dict[str, str]:
        return _literal(self._utils, "MODEL_REMAPPING")

    @cached_property
    def _renamed_architectures(self) -> dict[tuple[str, Any], str]:
        return _literal(self._utils, "MODEL_ARCHITECTURE_REMAPPING")

    @cached_property
    def _utils(self) -> str:
        return (self.root / "utils.py").read_text(encoding="utf-8") if self.root is not None else ""


def obstacle(description: Description, contents: Contents, mlx_lm: MlxLm) -> str | None:
    """The first reason why the model cannot be run as text here, if there is one. Its files are taken to be whole."""
    return next(_obstacles(description, contents, mlx_lm), None)


def _obstacles(description: Description, contents: Contents, mlx_lm: MlxLm) -> Iterator[str]:
    config = contents.document("config.json")
    if description.framework != "MLX":
        yield f"It is a {description.framework} model; only MLX models run."
    if code := config.get("model_file") or config.get("auto_map"):
        named = ", ".join(sorted(map(str, code.values()))) if isinstance(code, dict) else code
        yield f"It brings Python code of its own ({named}), which is never run."
    if not description.reads_text:
        yield f"It is not a text model ({', '.join(description.capabilities) or 'no known capability'})."
    if mlx_lm.root is None:
        yield "mlx-lm is not installed."
    elif not mlx_lm.supports(config):
        yield f"The installed mlx-lm does not know the model type {description.architecture!r}."
    if not any(_LOADABLE.fullmatch(name) for name in contents.files):
        yield "Its weights have names that mlx-lm does not load (it loads model*.safetensors)."


@cache
def _defines_model(root: Path, module: str) -> bool:
    """Beside the models, ``mlx_lm/models`` holds the parts that they are made of, which have no ModelArgs."""
    try:
        source = (root / "models" / f"{module}.py").read_text(encoding="utf-8")
        return re.search(r"\bModelArgs\b", source) is not None
    except OSError:
        return False


def _literal(source: str, name: str) -> dict[Any, str]:
    """The dictionary that ``source`` assigns to ``name`` at its top level, which must be made of constants."""
    found = re.search(rf"^{name} = (\{{.*?^\}})", source, re.MULTILINE | re.DOTALL)
    return ast.literal_eval(found[1]) if found else {}
