"""The one error tree. Each class says when it is raised and which HTTP status it becomes.

TurboError
├── RequestError                the caller can mend it
│   ├── InvalidRequest          400  a field is missing, of the wrong type or out of range
│   ├── EmptyInput              400  there is nothing to embed or to rank
│   ├── InputTooLong            400  a text is longer than the model reads and truncation is off
│   ├── BadMedia                400  an image, a document or a sound is empty, broken, cut short or locked
│   ├── NotCapable              400  the model exists but does not do what was asked
│   ├── BodyTooLarge            413  the body passes the configured limit
│   ├── MediaTooLarge           413  a file passes a limit of bytes, pixels, frames, pages, seconds or memory
│   ├── UnsupportedMedia        415  a file's format is not read here
│   ├── Unauthorized            401  no valid key
│   ├── Forbidden               403  a host name that is not allowed here
│   ├── LicenseNotAccepted      403  a pull of weights whose licence restricts their use, and nobody said yes
│   ├── ModelNotFound           404  no such name in the catalogue
│   ├── JobNotFound             404  no such job, or another key's
│   ├── RouteNotFound           404  no such path
│   ├── MethodNotAllowed        405  known path, other method; `param` holds the allowed ones
│   ├── UpgradeRequired         426  the path is a WebSocket, and was asked as if it were none
│   └── NotSupported            501  the API has it, this server does not
├── CapacityError               try again later
│   ├── QueueFull               429  too many inputs or bytes already wait; Ollama's API says 503
│   ├── OutOfMemory             503  no room for the model beside what is in use
│   ├── LoadTimeout             503  the model did not become ready within the wait
│   ├── RemoteBusy              503  the other server that runs the model takes no more now
│   ├── NoStorage               507  the server's disk is full, or cannot be written
│   ├── DeadlineExceeded        504  the request's own time limit passed before it was answered
│   └── Stopping                503  the server stops before this request could end
└── BackendError                ours, or the installation's
    ├── ModelUnavailable        501  catalogued, but not runnable here: says why and the command that mends it
    ├── PullFailed              502  weights could not be fetched or did not match their hashes
    ├── RemoteFailed            502  the other server cannot be reached, refuses us, or makes no sense
    ├── RemoteTimedOut          504  the other server was silent, or wrote, for too long
    ├── LoadFailed              500  weights are there and do not load
    ├── RunnerCrashed           500  the process that ran the model ended
    ├── DecoderCrashed          500  the process that read an image, a document or a sound ended
    ├── JobsFailed              500  the file that keeps jobs cannot be read or written
    ├── InferenceFailed         500  the model ran and failed
    └── NotFinite               500  the model gave NaN or infinity, which never leaves; Ollama's API says 400

Errors carry plain fields only, so they cross a process boundary and keep their meaning. Messages name the
value, the limit and the fix, and never hold paths, addresses or the text of a foreign exception.
"""

from __future__ import annotations

from typing import Any, ClassVar


class TurboError(Exception):
    """Root of every error a client may see."""

    status: ClassVar[int] = 500
    code: ClassVar[str] = "internal_error"

    def __init__(self, message: str, *, param: str | None = None, retry_after_s: float | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.param = param
        self.retry_after_s = retry_after_s

    def to_fields(self) -> dict[str, Any]:
        """Returns the plain fields from which `from_fields` rebuilds this error elsewhere."""
        return {
            "code": self.code,
            "message": self.message,
            "param": self.param,
            "retry_after_s": self.retry_after_s,
        }


class RequestError(TurboError):
    status = 400
    code = "request_error"


class InvalidRequest(RequestError):
    code = "invalid_request"


class EmptyInput(RequestError):
    code = "empty_input"


class InputTooLong(RequestError):
    code = "input_too_long"


class BadMedia(RequestError):
    code = "bad_media"


class NotCapable(RequestError):
    code = "not_capable"


class BodyTooLarge(RequestError):
    status = 413
    code = "body_too_large"


class MediaTooLarge(RequestError):
    status = 413
    code = "media_too_large"


class UnsupportedMedia(RequestError):
    status = 415
    code = "unsupported_media"


class Unauthorized(RequestError):
    status = 401
    code = "unauthorized"


class Forbidden(RequestError):
    status = 403
    code = "forbidden"


class LicenseNotAccepted(RequestError):
    status = 403
    code = "license_not_accepted"


class ModelNotFound(RequestError):
    status = 404
    code = "model_not_found"


class JobNotFound(RequestError):
    status = 404
    code = "job_not_found"


class RouteNotFound(RequestError):
    status = 404
    code = "route_not_found"


class MethodNotAllowed(RequestError):
    status = 405
    code = "method_not_allowed"


class UpgradeRequired(RequestError):
    status = 426
    code = "upgrade_required"


class NotSupported(RequestError):
    status = 501
    code = "not_supported"


class CapacityError(TurboError):
    status = 503
    code = "capacity"


class QueueFull(CapacityError):
    status = 429
    code = "queue_full"


class OutOfMemory(CapacityError):
    code = "out_of_memory"


class LoadTimeout(CapacityError):
    code = "load_timeout"


class RemoteBusy(CapacityError):
    code = "remote_busy"


class NoStorage(CapacityError):
    status = 507
    code = "no_storage"


class DeadlineExceeded(CapacityError):
    status = 504
    code = "deadline_exceeded"


class Stopping(CapacityError):
    code = "stopping"


class BackendError(TurboError):
    code = "backend_error"


class ModelUnavailable(BackendError):
    status = 501
    code = "model_unavailable"


class PullFailed(BackendError):
    status = 502
    code = "pull_failed"


class RemoteFailed(BackendError):
    status = 502
    code = "remote_failed"


class RemoteTimedOut(BackendError):
    status = 504
    code = "remote_timed_out"


class LoadFailed(BackendError):
    code = "load_failed"


class RunnerCrashed(BackendError):
    code = "runner_crashed"


class DecoderCrashed(BackendError):
    code = "decoder_crashed"


class JobsFailed(BackendError):
    code = "jobs_failed"


class InferenceFailed(BackendError):
    code = "inference_failed"


class NotFinite(BackendError):
    code = "not_finite"


def is_want_of_room(error: TurboError) -> bool:
    """True where the server had no room: what comes next would meet it too.

    A time limit passed is no such thing: decoding has one for each page, and a request's own is a cancel.
    """
    return isinstance(error, CapacityError) and not isinstance(error, DeadlineExceeded)


def _subclasses(root: type[TurboError]) -> dict[str, type[TurboError]]:
    found = {root.code: root}
    for child in root.__subclasses__():
        for code, cls in _subclasses(child).items():
            found.setdefault(code, cls)
    return found


_BY_CODE: dict[str, type[TurboError]] = _subclasses(TurboError)


def from_fields(fields: dict[str, Any]) -> TurboError:
    """Returns the error that `TurboError.to_fields` described, as the same class."""
    cls = _BY_CODE.get(fields["code"], TurboError)
    return cls(fields["message"], param=fields["param"], retry_after_s=fields["retry_after_s"])
