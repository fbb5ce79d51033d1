"""The figures that this project promises, one module for each family of them.

A module offers ``measure(session) -> Iterator[Row]`` and is found by lying here; its first line says what it measures.
"""
