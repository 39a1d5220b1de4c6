"""Download of a data file: cached in a folder, and verified whenever it is read."""

import hashlib
import time
import warnings
from http.client import HTTPException
from pathlib import Path
from typing import NamedTuple
from urllib.error import HTTPError
from urllib.request import urlopen
from uuid import uuid4

COMMIT = "09c6756788a4fb78a4283271876fd81344c67bf3"
BASE_URL = f"https://raw.githubusercontent.com/hexiangnan/attentional_factorization_machine/{COMMIT}/data/"
TIMEOUT = 60.0
"""Seconds without a response after which a download fails."""


class File(NamedTuple):
    """A published file."""

    path: str
    """Relative to the publisher's folder, and to the cache folder."""
    blob_id: str
    """Git blob id, the SHA-1 checksum of the content."""


class Download(NamedTuple):
    """Options for files that are not in the cache."""

    if_missing: bool
    n_retries: int
    delay: float


def load(file: File, folder: Path, download: Download) -> bytes:
    """Return the content of a file, from the folder if it is there and unchanged, otherwise from its publisher.

    Raises
    ------
    OSError
        If the file can be neither read nor downloaded, or cannot be written to the folder.
    """
    path = folder / file.path
    problem = "is missing"
    if path.exists():
        content = path.read_bytes()
        problem = _verify(content, file.blob_id)
        if not problem:
            return content
        if download.if_missing:
            warnings.warn(f"{path} {problem}: downloading it again.", stacklevel=4)  # at the call of fetch_...
    if not download.if_missing:
        raise OSError(f"{path} {problem}: set download_if_missing=True, {_alternatives(BASE_URL + file.path, file)}")
    content = _download(file, path, download)
    _write(path, content)
    return content


def _verify(content: bytes, blob_id: str) -> str:
    """Return how the content differs from the published one, or an empty string."""
    actual = hashlib.sha1(b"blob %d\0" % len(content) + content, usedforsecurity=False).hexdigest()
    return "" if actual == blob_id else f"has {len(content):,} bytes and git blob id {actual}, expected {blob_id}"


def _alternatives(source: str, file: File) -> str:
    """Return the alternatives to a download, for a message."""
    return f"copy {source} to this path manually, or set data_home to a folder that contains skafm/{file.path}."


def _download(file: File, path: Path, download: Download) -> bytes:
    """Return the content of a file from its publisher, with retries."""
    url, retries = BASE_URL + file.path, download.n_retries
    while True:
        try:
            return _request(url, file.blob_id)
        except (OSError, HTTPException) as error:
            if retries == 0 or _is_permanent(error):
                message = (
                    f"{path} could not be downloaded from {url} ({error}): try again, {_alternatives('the file', file)}"
                )
                raise OSError(message) from error
            warnings.warn(f"{url}: {error}. Trying again in {download.delay:g} s.", stacklevel=5)
        retries -= 1
        time.sleep(download.delay)


def _request(url: str, blob_id: str) -> bytes:
    try:
        with urlopen(url, timeout=TIMEOUT) as response:
            content: bytes = response.read()
    except HTTPError as error:
        error.close()  # an HTTPError keeps the connection open
        raise
    if problem := _verify(content, blob_id):
        raise OSError(f"the response {problem}")
    return content


def _is_permanent(error: Exception) -> bool:
    """Return whether a retry is pointless, as after 404 (not found)."""
    transient = {408, 429}
    return isinstance(error, HTTPError) and 400 <= error.code < 500 and error.code not in transient  # noqa: PLR2004


def _write(path: Path, content: bytes) -> None:
    """Write a file atomically: if interrupted, there is no file."""
    part = path.with_name(f"{path.name}.{uuid4().hex}.part")  # unique, as other processes may write at the same time
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        part.write_bytes(content)
        part.replace(path)
    except OSError as error:
        message = f"{path} could not be written ({error}): free disk space, or set data_home to another folder."
        raise OSError(message) from error
    finally:
        part.unlink(missing_ok=True)
