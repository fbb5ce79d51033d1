"""Whether what is installed can run a model, for each of text, vision and audio, read from the packages' files.

Importing mlx-lm to ask it takes a second; looking into its folder takes a millisecond.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cache, cached_property
from importlib.util import find_spec
from typing import Any, Literal

from mlxk.contents import Contents
from mlxk.files import read_part
from mlxk.model import Description

Modality = Literal["text", "vision", "audio"]

ENGINES: frozenset[Modality] = frozenset({"text", "vision", "audio"})
"""The modalities that this version of mlxk has an engine for."""

_LOADABLE = re.compile(r"model[^/]*\.safetensors")
_ENTRY = re.compile(r'^\s*(?:\("([^"]+)", *"([^"]+)"\)|"([^"]+)"): *"([^"]+)"', re.MULTILINE)
_SOURCE_MAX_BYTES = 4 << 20
_MAY_NAME_CODE = ("config.json", "tokenizer_config.json", "preprocessor_config.json", "processor_config.json")
"""Where transformers looks for the modules of a repository that it would import."""


@dataclass(frozen=True, eq=False)
class Package:
    """An installed package. ``root`` is its folder, or None where it is not installed.

    ``models`` is the folder below it with a module for each model type, ``table`` the file that renames some of them.
    """

    name: str
    root: str | None
    models: str
    table: str

    @classmethod
    def find(cls, name: str, models: str, table: str) -> Package:
        spec = find_spec(name.replace("-", "_"))  # finds the folder of a top-level package without importing it
        places = spec.submodule_search_locations if spec is not None else None
        return cls(name, next(iter(places)) if places else None, models, table)

    def supports(self, config: Mapping[str, Any]) -> bool:
        """Whether the package has a module for this configuration, after the renaming that it does itself."""
        module = self._module(config)
        return self.root is not None and "/" not in module and _defines_model(self.root, self.models, module)

    def _module(self, config: Mapping[str, Any]) -> str:
        model_type = str(config.get("model_type"))
        architectures = config.get("architectures")
        for architecture in architectures if isinstance(architectures, list) else [architectures]:
            if renamed := self._renamed.get((model_type, str(architecture))):
                return renamed
        return self._renamed.get((model_type, ""), model_type)

    @cached_property
    def _renamed(self) -> dict[tuple[str, str], str]:
        """By model type and architecture; the architecture is empty where any will do."""
        source = read_part(f"{self.root}/{self.table}", _SOURCE_MAX_BYTES).decode("utf-8", "replace") if self.root else ""
        tables = re.findall(r"^MODEL_(?:ARCHITECTURE_)?REMAPPING = \{(.*?)^\}", source, re.MULTILINE | re.DOTALL)
        entries = [entry for text in tables for entry in _ENTRY.findall(text)]
        return {(plain or kind, architecture): module for kind, architecture, plain, module in entries}


@dataclass(frozen=True, eq=False)
class Packages:
    """What runs the models: mlx-lm text, mlx-vlm vision, mlx-audio speech."""

    text: Package
    vision: Package
    audio: Package

    @classmethod
    def installed(cls) -> Packages:
        return cls(
            Package.find("mlx-lm", "models", "utils.py"),
            Package.find("mlx-vlm", "models", "utils.py"),
            Package.find("mlx-audio", "stt/models", "stt/utils.py"),
        )

    @classmethod
    def none(cls) -> Packages:
        """As where nothing is installed."""
        return cls(*(Package(name, None, "models", "utils.py") for name in ("mlx-lm", "mlx-vlm", "mlx-audio")))


MlxLm = Packages


def declared(description: Description) -> tuple[Modality, ...]:
    """The modalities that the model says it has."""
    if description.kind == "audio":
        return ("audio",)
    wanted: tuple[tuple[str, Modality], ...] = (("text-generation", "text"), ("vision", "vision"), ("audio", "audio"))
    return tuple(modality for capability, modality in wanted if capability in description.capabilities)


def obstacles(
    description: Description, contents: Contents, packages: Packages, engines: frozenset[Modality] = ENGINES
) -> dict[Modality, str | None]:
    """For each modality that the model declares, the first thing in its way, or None. Its files are taken to be whole."""
    general = next(_general(description, contents), None)
    return {
        modality: general or next(_special(modality, description, contents, packages, engines), None)
        for modality in declared(description)
    }


def general_obstacle(description: Description, contents: Contents) -> str | None:
    """What is in the way of any use, or why there is no use: the reason of a model without a modality."""
    return next(_general(description, contents), None)


def _general(description: Description, contents: Contents) -> Iterator[str]:
    if description.framework != "MLX":
        yield f"It is a {description.framework} model; only MLX models run."
    for file in _MAY_NAME_CODE:
        document = contents.document(file)
        if code := document.get("model_file") or document.get("auto_map"):
            named = ", ".join(sorted(map(str, code.values()))) if isinstance(code, dict) else code
            yield f"It brings Python code of its own ({named}, by its {file}), which is never run."
    if not declared(description):
        said = ", ".join(description.capabilities)
        yield f"It neither writes text nor reads images or speech ({said or 'its config.json names no model_type'})."


def _special(
    modality: Modality, description: Description, contents: Contents, packages: Packages, engines: frozenset[Modality]
) -> Iterator[str]:
    for package in _needed(modality, description, packages):
        if package.root is None:
            yield f"{package.name} is not installed{_EXTRA.get(package.name, '.')}"
        elif not package.supports(contents.document("config.json")):
            yield f"The installed {package.name} does not know the model type {description.architecture!r}."
    if modality == "text" and not any(map(_LOADABLE.fullmatch, contents.weights)):
        yield "Its weights have names that mlx-lm does not load (it loads model*.safetensors)."
    if modality == "audio" and "tekken.json" in contents.files and "tokenizer.json" not in contents.files:
        yield "It has tekken.json and no tokenizer.json, which mlx-audio needs."
    if modality == "audio" and description.kind != "audio":
        yield "It hears through mlx-vlm, and this version of mlxk hears through mlx-audio only."
    if modality not in engines:
        yield f"This version of mlxk has no engine for {modality}."


_EXTRA = {"mlx-vlm": "; `pip install mlxk[vision]` adds it.", "mlx-audio": "; `pip install mlxk[audio]` adds it."}


def _needed(modality: Modality, description: Description, packages: Packages) -> tuple[Package, ...]:
    """Speech beside images is mlx-vlm's; speech alone is mlx-audio's."""
    if modality == "text":
        return (packages.text,)
    if modality == "vision" or description.kind != "audio":
        return (packages.vision,)
    return (packages.audio,)


@cache
def _defines_model(root: str, models: str, module: str) -> bool:
    """Whether there is a module or a package of that name that has a model in it.

    Beside the models, ``mlx_lm/models`` holds the parts that they are made of, which have no ModelArgs.
    """
    source = read_part(f"{root}/{models}/{module}.py", _SOURCE_MAX_BYTES)
    return re.search(rb"\bModelArgs\b", source) is not None or read_part(f"{root}/{models}/{module}/__init__.py", 1) != b""
