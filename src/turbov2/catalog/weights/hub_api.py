"""The model hub's answers, by way of its own library, with its errors turned into ours.

The library reads HF_ENDPOINT, HF_TOKEN, HF_HOME and HF_HUB_OFFLINE itself, when it is first imported; that
is inside these functions, because it takes half a second that a start without pulls should not pay.
"""

from __future__ import annotations

import importlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from turbov2.catalog.weights.fetch import Answer, Interrupted, RemoteFile
from turbov2.catalog.weights.hub_cache import BLOB, COMMIT
from turbov2.errors import PullFailed

_TRY_LATER = frozenset((408, 429, 500, 502, 503, 504))


class HubApi:
    """A model hub. Without arguments it is the one that the environment names."""

    def __init__(self, endpoint: str | None = None, token: str | None = None) -> None:
        self._endpoint = endpoint
        self._token = token

    def is_offline(self) -> bool:
        """Returns whether the hub's library was told to stay off the network."""
        from huggingface_hub import constants

        return constants.HF_HUB_OFFLINE

    def list_files(self, repo: str, revision: str) -> tuple[str, list[RemoteFile]]:
        """Returns the commit behind `revision` ("main" if empty) and its files.

        A file without size or hash is left out here: it could not be checked, so it is never fetched.
        """
        from huggingface_hub import HfApi, constants

        api = HfApi(endpoint=self._endpoint, token=self._token)
        timeout = constants.HF_HUB_DOWNLOAD_TIMEOUT
        try:
            with hub_errors(repo):
                found = api.model_info(repo, revision=revision or None, files_metadata=True, timeout=timeout)
        except (
            ValueError,
            KeyError,
            TypeError,
            AttributeError,
        ) as error:  # what the library makes of nonsense
            raise PullFailed(f"the model hub gave an answer about {repo} that makes no sense") from error
        commit = found.sha or ""
        if not COMMIT.fullmatch(commit):
            raise PullFailed(f"the model hub did not say which commit of {repo} it holds")
        listed = (_remote_file(sibling) for sibling in found.siblings or ())
        return commit, [file for file in listed if file is not None]

    @contextmanager
    def open_file(self, repo: str, commit: str, name: str, start: int) -> Iterator[Answer]:
        """Yields the file's bytes from `start` on."""
        from huggingface_hub import constants, hf_hub_url

        # Public by the library's documentation, though not by any `__all__`.
        from huggingface_hub.utils import (  # type: ignore[attr-defined]
            build_hf_headers,
            get_session,
            hf_raise_for_status,
        )

        # Compressed answers have no ranges, and sizes that are not the file's.
        headers = build_hf_headers(token=self._token) | {"Accept-Encoding": "identity"}
        if start:
            headers["Range"] = f"bytes={start}-"
        url = hf_hub_url(repo, name, revision=commit, endpoint=self._endpoint)
        timeout = constants.HF_HUB_DOWNLOAD_TIMEOUT
        with (
            hub_errors(repo, name),
            get_session().stream("GET", url, headers=headers, timeout=timeout) as answer,
        ):
            if answer.status_code != 416:
                hf_raise_for_status(answer)
            yield answer

    def link(self, repo: str, commit: str, name: str, cache: Path) -> Path:
        """Returns the file's place in the hub's own cache, where every tool that uses the hub looks.

        Its content must already be among the cache's blobs; the library adds what points to it.
        """
        from huggingface_hub import hf_hub_download

        with hub_errors(repo, name):
            return Path(
                hf_hub_download(
                    repo,
                    name,
                    revision=commit,
                    cache_dir=cache,
                    endpoint=self._endpoint,
                    token=self._token,
                )
            )


def offline_error(repo: str) -> PullFailed:
    """Returns what to say when weights are absent and the network is not to be used."""
    return PullFailed(f"{repo} is not on this machine and HF_HUB_OFFLINE keeps it offline; unset it to pull")


def _remote_file(sibling: Any) -> RemoteFile | None:
    size = sibling.lfs.size if sibling.lfs else sibling.size
    blob = sibling.lfs.sha256 if sibling.lfs else sibling.blob_id
    if not isinstance(size, int) or not isinstance(blob, str) or not BLOB.fullmatch(blob):
        return None
    return RemoteFile(sibling.rfilename, size, blob)


@contextmanager
def hub_errors(repo: str, name: str = "") -> Iterator[None]:
    """Inside, an error of the hub's library becomes ours; Interrupted where another try may help."""
    # By name: the library changed its HTTP client between its major versions and re-exports the errors
    # of the one it uses.
    errors: Any = importlib.import_module("huggingface_hub.errors")
    try:
        yield
    except PullFailed:
        raise
    except errors.LocalEntryNotFoundError as error:
        # What the library raises for any first request that failed; the reason is its cause.
        raise _translated(errors, error.__cause__ or error, repo, name) from error
    except (
        errors.HTTPError,
        errors.OfflineModeIsEnabled,
        errors.FileMetadataError,
        errors.HFValidationError,
    ) as error:
        raise _translated(errors, error, repo, name) from error


def _translated(errors: Any, error: BaseException, repo: str, name: str) -> PullFailed:
    if isinstance(error, errors.OfflineModeIsEnabled):
        return offline_error(repo)
    if isinstance(error, errors.HFValidationError):
        return PullFailed(f"{repo!r} is not the name of a repository, such as owner/name")
    if isinstance(error, errors.FileMetadataError):
        return PullFailed("the model hub's answer lacks what a hub tells; check HF_ENDPOINT and the proxy")
    if isinstance(error, errors.HfHubHTTPError):
        return _refused(errors, error, repo, name)
    return Interrupted("could not reach the model hub; check the network and pull again to go on")


def _refused(errors: Any, error: Any, repo: str, name: str) -> PullFailed:
    """Returns what a status code means to whoever asked for the pull."""
    status = error.response.status_code
    if isinstance(error, errors.GatedRepoError):
        return PullFailed(f"{repo} is gated: accept its terms at the hub, then set HF_TOKEN and pull again")
    if isinstance(error, errors.RevisionNotFoundError):
        return PullFailed(f"{repo} has no such revision")
    if isinstance(error, errors.EntryNotFoundError):
        return PullFailed(f"{repo} has no file named {name}")
    if isinstance(error, errors.RepositoryNotFoundError):
        return PullFailed(
            f"{repo} does not exist at the model hub, or is private: check the name, or set HF_TOKEN."
        )
    if status in (401, 403):
        return PullFailed(f"the model hub does not let this user read {repo}: set HF_TOKEN and pull again")
    if status in _TRY_LATER:
        return Interrupted(f"the model hub failed (status {status}); pull again later to go on")
    return PullFailed(f"the model hub refused the request for {repo} (status {status})")
