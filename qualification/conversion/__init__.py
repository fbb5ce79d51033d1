"""Turns legacy ``test_hf_*.py`` scripts into tests of this harness, by reading their syntax trees; nothing of them is run.

``tasks``      what a task is: its category, and whether MLX has a backend for it
``evidence``   what a script says of its model: id, name, task, category, each with the line it stands in
``template``   the test that is written for a model
``bulk``       a folder of scripts, one result for each
``command``    the command line, the table, and the JSON report
"""
