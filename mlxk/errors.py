"""Every way in which mlxk fails on purpose.

    MlxkError
    ├── UsageError                the command line or an option is wrong
    ├── NotFound                  nothing, or more than one thing, has that name
    │   ├── ModelNotFound
    │   ├── RevisionNotFound
    │   └── AmbiguousMatch
    ├── Refused                   we could try, and will not
    │   ├── ModelUnhealthy
    │   ├── ModelNotRunnable
    │   └── InsufficientMemory
    ├── OperationFailed           we tried, and it did not work
    │   ├── LoadFailed
    │   ├── GenerationFailed
    │   ├── ContextLengthExceeded
    │   ├── AddressUnavailable
    │   └── Unavailable           the server is busy, stopping, or its engine is dead
    ├── RequestError              an HTTP request that is wrong, with the field that is to blame
    └── Interrupted

The message of each is one or two sentences for the person who reads it: what, where, what to do next.
They are translated twice: to an exit code and JSON by ``mlxk.output``, to an HTTP status and body by
``mlxk.server.replies``.
"""

from __future__ import annotations


class MlxkError(Exception):
    """``type`` is the stable name of the error in JSON; ``details`` are further fields beside its message."""

    type = "InternalError"

    def __init__(self, message: str, **details: object) -> None:
        super().__init__(message)
        self.message = message
        self.details = details


class UsageError(MlxkError):
    type = "CommandError"


class NotFound(MlxkError):
    type = "not_found"


class ModelNotFound(NotFound):
    type = "model_not_found"


class RevisionNotFound(NotFound):
    """Details: ``available_hashes``."""

    type = "hash_not_found"


class AmbiguousMatch(NotFound):
    """Details: ``matches``."""

    type = "ambiguous_match"


class Refused(MlxkError):
    type = "refused"


class ModelUnhealthy(Refused):
    type = "model_unhealthy"


class ModelNotRunnable(Refused):
    type = "model_not_runnable"


class InsufficientMemory(Refused):
    """Details: ``needed_bytes``, ``available_bytes``."""

    type = "insufficient_memory"


class OperationFailed(MlxkError):
    type = "execution_error"


class LoadFailed(OperationFailed):
    type = "load_failed"


class GenerationFailed(OperationFailed):
    type = "execution_error"


class ContextLengthExceeded(OperationFailed):
    """Details: ``prompt_tokens``, ``context_length``."""

    type = "context_length_exceeded"


class AddressUnavailable(OperationFailed):
    type = "address_unavailable"


class Unavailable(OperationFailed):
    """Details: ``retry_after_s``, where waiting may help."""

    type = "unavailable"


class RequestError(MlxkError):
    """Details: ``param``, the field to blame, and ``status`` where it is not 400."""

    type = "validation_error"


class Interrupted(MlxkError):
    type = "interrupted"
