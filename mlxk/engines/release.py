"""Giving back what a model took."""

from __future__ import annotations

import gc

import mlx.core as mx

from mlxk import heap


def release() -> None:
    """To be called on the thread that used the model, once nothing refers to it any more.

    A model is made with random weights, which are never computed because those of its files take their place; but the key of
    the next random number remembers how they would be, some 18 KB for the smallest model, until it is computed itself.
    """
    gc.collect()
    mx.eval(mx.random.state)
    mx.clear_cache()
    heap.trim()


def destroy_streams() -> None:
    """End MLX's use of this thread: streams that outlive their thread abort the process when it exits."""
    mx.clear_streams()
