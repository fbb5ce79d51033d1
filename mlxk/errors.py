"""Every way in which mlxk fails on purpose.

    MlxkError
    ├── UsageError                the command line or an option is wrong
    │   ├── InvalidName           nothing can have that name
    │   ├── InvalidTarget         nothing can be put there
    │   └── InvalidArgument       options that contradict each other
    ├── NotFound                  nothing, or more than one thing, has that name
    │   ├── CacheNotFound
    │   ├── ModelNotFound
    │   ├── RevisionNotFound
    │   ├── WorkspaceNotFound
    │   ├── RepositoryNotFound    the Hub has none of that name, and was not asked to make one
    │   ├── AmbiguousMatch
    │   └── AmbiguousWorkspace    a path that only begins as several workspaces do
    ├── Refused                   we could try, and will not
    │   ├── PermissionDenied      this user may not read or write there
    │   ├── AccessDenied          the Hub does not let this user have it
    │   ├── TokenMissing          the Hub wants to know who writes
    │   ├── NotConvertible        no such thing can be made of it
    │   ├── PublicRepository      everybody would see what nobody is to see
    │   ├── LocksPresent          a download is under way
    │   ├── ConfirmationRequired  nobody was there to be asked
    │   ├── WorkspaceModel        it is a folder of yours, and only the cache may be changed
    │   ├── MediaRefused          an image or a recording is too large, damaged, or not what it should be
    │   ├── ModelUnhealthy
    │   ├── ModelNotRunnable
    │   │   └── CapabilityMissing it is no model for that
    │   └── InsufficientMemory
    ├── OperationFailed           we tried, and it did not work
    │   ├── DeletionFailed
    │   ├── DownloadFailed
    │   │   └── HubUnavailable    it may answer later
    │   ├── CloneFailed
    │   ├── ConversionFailed
    │   ├── HealthCheckFailed     what was made is not whole
    │   ├── UploadFailed
    │   ├── DependencyMissing     a package that we need is not installed
    │   ├── BranchCreationFailed
    │   ├── LoadFailed
    │   ├── GenerationFailed
    │   │   └── PromptRefused     the model has no form for it
    │   ├── ContextLengthExceeded
    │   ├── AddressUnavailable
    │   ├── DeadlineExceeded      the server was told to give no request more time
    │   └── Unavailable           the server is busy, stopping, or its engine is dead
    ├── PullFault, PushFault      mlxk itself has failed there
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


class InvalidName(UsageError):
    type = "ValidationError"


class InvalidTarget(UsageError):
    type = "InvalidTargetError"


class InvalidArgument(UsageError):
    type = "InvalidArgumentError"


class NotFound(MlxkError):
    type = "not_found"


class CacheNotFound(NotFound):
    type = "cache_not_found"


class ModelNotFound(NotFound):
    """Details: ``matches``, where some name is near."""

    type = "model_not_found"


class RevisionNotFound(NotFound):
    """Details: ``available_hashes``."""

    type = "hash_not_found"


class AmbiguousMatch(NotFound):
    """Details: ``matches``."""

    type = "ambiguous_match"


class WorkspaceNotFound(NotFound):
    """Details: ``matches``, where some name is near."""

    type = "workspace_not_found"


class AmbiguousWorkspace(NotFound):
    """Details: ``matches``."""

    type = "ambiguous_workspace"


class RepositoryNotFound(NotFound):
    type = "repo_not_found"


class Refused(MlxkError):
    type = "refused"


class PermissionDenied(Refused):
    type = "permission_denied"


class AccessDenied(Refused):
    type = "access_denied"


class TokenMissing(Refused):
    type = "auth_error"


class NotConvertible(Refused):
    type = "not_convertible"


class PublicRepository(Refused):
    type = "public_repository"


class LocksPresent(Refused):
    """Details: ``lock_files``."""

    type = "locks_present"


class ConfirmationRequired(Refused):
    type = "requires_confirmation"


class WorkspaceModel(Refused):
    type = "workspace_model"


class MediaRefused(Refused):
    """``media`` is the name of the one to blame, if it is one; ``too_large`` says that it is beyond a limit."""

    type = "media_refused"

    def __init__(self, message: str, media: str | None = None, *, too_large: bool = False) -> None:
        super().__init__(message)
        self.media = media
        self.too_large = too_large


class ModelUnhealthy(Refused):
    type = "model_unhealthy"


class ModelNotRunnable(Refused):
    type = "model_not_runnable"


class CapabilityMissing(ModelNotRunnable):
    type = "capability_not_supported"


class InsufficientMemory(Refused):
    """Details: ``needed_bytes``, ``available_bytes``."""

    type = "insufficient_memory"


class OperationFailed(MlxkError):
    type = "execution_error"


class DeletionFailed(OperationFailed):
    type = "deletion_failed"


class DownloadFailed(OperationFailed):
    type = "download_failed"


class HubUnavailable(DownloadFailed):
    """``retry_after_s`` is when the Hub says that asking again may help."""

    def __init__(self, message: str, retry_after_s: float | None = None) -> None:
        super().__init__(message)
        self.retry_after_s = retry_after_s


class CloneFailed(OperationFailed):
    type = "CloneFailedError"


class ConversionFailed(OperationFailed):
    type = "conversion_failed"


class HealthCheckFailed(OperationFailed):
    type = "HealthCheckFailed"


class UploadFailed(OperationFailed):
    type = "upload_failed"


class DependencyMissing(OperationFailed):
    type = "dependency_missing"


class BranchCreationFailed(OperationFailed):
    type = "branch_create_failed"


class LoadFailed(OperationFailed):
    type = "load_failed"


class GenerationFailed(OperationFailed):
    type = "execution_error"


class PromptRefused(GenerationFailed):
    type = "prompt_refused"


class ContextLengthExceeded(OperationFailed):
    """Details: ``prompt_tokens``, ``context_length``."""

    type = "context_length_exceeded"


class AddressUnavailable(OperationFailed):
    type = "address_unavailable"


class DeadlineExceeded(OperationFailed):
    type = "deadline_exceeded"


class Unavailable(OperationFailed):
    """Details: ``retry_after_s``, where waiting may help."""

    type = "unavailable"


class PullFault(MlxkError):
    type = "pull_operation_failed"


class PushFault(MlxkError):
    type = "push_operation_failed"


class RequestError(MlxkError):
    """Details: ``param``, the field to blame, and ``status`` where it is not 400."""

    type = "validation_error"


class Interrupted(MlxkError):
    type = "interrupted"
