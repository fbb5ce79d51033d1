"""Makes a Hugging Face home with any number of models: copies of one minted model, each a complete repository of its own.

``python benchmarks/make_cache.py 1000 /tmp/home`` then ``HF_HOME=/tmp/home mlxk list``.
"""

from __future__ import annotations

import argparse
from pathlib import Path

from qualification.mint import store
from qualification.plugin.copying import copy_tree

MODEL = "mint/llama-tiny"


def make(count: int, home: Path) -> Path:
    """A home with ``count`` models, the minted one first. The folder must be new or empty."""
    store.ensure([MODEL])
    store.install(MODEL, home)
    original = home / "hub" / "models--mint--llama-tiny"
    for number in range(1, count):
        copy_tree(original, original.with_name(f"models--mint--copy-{number:04d}"))
    return home


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("count", type=int, help="how many models, from 1")
    parser.add_argument("home", type=Path, help="a folder that is new or empty")
    arguments = parser.parse_args()
    if arguments.count < 1:
        parser.error("a cache has at least one model")
    if arguments.home.exists() and any(arguments.home.iterdir()):
        parser.error(f"{arguments.home} is not empty")
    print(make(arguments.count, arguments.home))


if __name__ == "__main__":
    main()
