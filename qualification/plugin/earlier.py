"""Names that tests have in documents of earlier releases: where these tests are now, so that the commands work as written."""

from __future__ import annotations

import pytest

_SHARDS, _SEEING = (
    f"tests_2.0/live/test_shard_health_live.py::{name}"
    for name in ("test_what_happens_to_a_shard_is_found", "test_what_happens_to_a_model_with_eyes_is_found")
)
_EXPLORATION = "tests_2.0/test_issue_27.py::TestIssue27Exploration::test_vision_model"

NOW = {
    "tests_2.0/test_issue_27.py": "tests_2.0/live/test_shard_health_live.py",
    f"{_EXPLORATION}_complete_is_healthy": f"{_SEEING}[untouched]",
    f"{_EXPLORATION}_missing_preprocessor_is_unhealthy": f"{_SEEING}[no-preprocessor]",
    f"{_EXPLORATION}_invalid_preprocessor_is_unhealthy": f"{_SEEING}[invalid-preprocessor]",
    f"{_EXPLORATION}_missing_tokenizer_json_is_unhealthy": f"{_SEEING}[no-tokenizer]",
    "tests_2.0/test_health_multifile.py": _SHARDS,
    "tests_2.0/test_resumable_pull.py": "tests_2.0/live/test_pull_live.py",
    "tests_2.0/test_issue_30_preflight.py": "tests_2.0/unit/hub/test_pull.py::test_a_refusal_comes_before_anything_is_written",
    "tests_2.0/test_stop_tokens_live.py": "tests_2.0/live/test_stop_tokens_live.py",
    "tests_2.0/test_stop_tokens_live.py::TestStopTokensEmpiricalMapping": "tests_2.0/live/test_stop_tokens_live.py",
    "tests_2.0/test_cli_push_args.py": "tests_2.0/unit/hub/test_push.py",
    "tests_2.0/test_push_extended.py": "tests_2.0/unit/hub/test_push.py",
    "tests_2.0/test_push_extended.py::test_push_retry_creates_branch_on_upload_revision_error": (
        "tests_2.0/unit/hub/test_push.py::test_a_branch_that_the_hub_does_not_know_yet_is_tried_once_more"
    ),
    "tests_2.0/spec/test_push_output_matches_schema.py": (
        "tests_2.0/unit/hub/test_push.py::test_a_first_push_makes_a_private_repository_with_every_file"
    ),
    "tests_2.0/live/test_server_e2e.py::TestChatCompletionsBatch": (
        "tests_2.0/live/test_server_e2e.py::test_every_known_answer_is_exact_in_batch_and_in_stream"
    ),
    "tests_2.0/live/test_cli_e2e.py::test_run_command": (
        "tests_2.0/live/test_cli_e2e.py::test_run_reads_stdin_and_tells_text_reason_usage_and_timings_in_json"
    ),
}
"""Paths below the project's root, some with what stands in the file, and where that is now."""


@pytest.hookimpl(tryfirst=True)
def pytest_configure(config: pytest.Config) -> None:
    """Before the arguments are looked up; one of several that lead to the same tests is enough."""
    config.args[:] = dict.fromkeys(NOW.get(argument, argument) for argument in config.args)


def pytest_report_header(config: pytest.Config) -> list[str]:
    """What was asked for by an earlier name is told by its own."""
    asked = config.invocation_params.args
    return [f"{argument} is now {NOW[argument]}" for argument in map(str, asked) if argument in NOW]
