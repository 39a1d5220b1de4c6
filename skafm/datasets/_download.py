"""A publisher's file: downloaded once, kept in a folder, and checked whenever it is read."""

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
"""Seconds in which nothing comes before a download is given up."""


class File(NamedTuple):
    """A file of the publisher."""

    path: str
    """Below the publisher's folder, and below ours."""
    blob_id: str
    """git's name for its content."""


class Download(NamedTuple):
    """How to get what is not there."""

    if_missing: bool
    n_retries: int
    delay: float


def load(file: File, folder: Path, download: Download) -> bytes:
    """Return the content of a file, from the folder if it is there and unchanged, else from its publisher.

    Raises
    ------
    OSError
        If it can be had from neither, or cannot be written into the folder.
    """
    path = folder / file.path
    fault = "is missing"
    if path.exists():
        content = path.read_bytes()
        fault = _find_fault(content, file.blob_id)
        if not fault:
            return content
        if download.if_missing:
            warnings.warn(f"{path} {fault}: downloading it again.", stacklevel=4)  # at the call of fetch_...
    if not download.if_missing:
        raise OSError(f"{path} {fault}: set download_if_missing=True, {_by_hand(BASE_URL + file.path, file)}")
    content = _download(file, path, download)
    _write(path, content)
    return content


def _find_fault(content: bytes, blob_id: str) -> str:
    """Return what is wrong with the content, or nothing."""
    found = hashlib.sha1(b"blob %d\0" % len(content) + content, usedforsecurity=False).hexdigest()
    return "" if found == blob_id else f"has {len(content):,} bytes of git blob id {found}, not {blob_id}"


def _by_hand(what: str, file: File) -> str:
    """Return the ways to do without a download."""
    return f"put {what} there by hand, or set data_home to a folder that has skafm/{file.path}."


def _download(file: File, path: Path, download: Download) -> bytes:
    """Return the content of a file from its publisher, which may take several trials."""
    url, retries = BASE_URL + file.path, download.n_retries
    while True:
        try:
            return _receive(url, file.blob_id)
        except (OSError, HTTPException) as error:
            if retries == 0 or _is_refusal(error):
                message = (
                    f"{path} could not be downloaded from {url} ({error}): try again, {_by_hand('the file', file)}"
                )
                raise OSError(message) from error
            warnings.warn(f"{url}: {error}. Trying again in {download.delay:g} s.", stacklevel=5)
        retries -= 1
        time.sleep(download.delay)


def _receive(url: str, blob_id: str) -> bytes:
    try:
        with urlopen(url, timeout=TIMEOUT) as response:
            content: bytes = response.read()
    except HTTPError as error:
        error.close()  # it holds the connection
        raise
    if fault := _find_fault(content, blob_id):
        raise OSError(f"it {fault}")
    return content


def _is_refusal(error: Exception) -> bool:
    """Tell whether the server will answer the same when asked again, as to 404, not found."""
    transient = {408, 429}
    return isinstance(error, HTTPError) and 400 <= error.code < 500 and error.code not in transient  # noqa: PLR2004


def _write(path: Path, content: bytes) -> None:
    """Write a file that is whole or not there, whatever ends the writing."""
    part = path.with_name(f"{path.name}.{uuid4().hex}.part")  # a name of its own: others may write at the same time
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        part.write_bytes(content)
        part.replace(path)
    except OSError as error:
        message = f"{path} could not be written ({error}): free the space, or set data_home to another folder."
        raise OSError(message) from error
    finally:
        part.unlink(missing_ok=True)
