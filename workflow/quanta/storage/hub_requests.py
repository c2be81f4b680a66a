"""Requests to a hub: tried again with patience where that helps, refused with a mend where it does not.

The token of a gated repository is read from the environment (HF_TOKEN) and goes nowhere but into the request.
"""

import contextlib
import json
import os
import re
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from email.utils import parsedate_to_datetime
from typing import Any

from quanta.errors import QuantaError
from quanta.progress import log

LONGEST_ANSWER = 2**26  # bytes: lists of the largest repositories have some MB


TRANSIENT = (408, 425, 429, 500, 502, 503, 504)


@dataclass(frozen=True)
class Patience:
    """How often a request is tried, and how long is waited: seconds doubling from `first`, at most `longest`.

    An attempt that brought new bytes starts the count again. `stall` is the silence in seconds after which a connection
    is given up. The hub's own Retry-After is obeyed up to `longest`; a longer one ends the job.
    """

    attempts: int = 6
    first: float = 1.0
    longest: float = 300.0
    stall: float = 30.0


# ------------------------------------------------------------------------------------------------- requests


def endpoint() -> str:
    """The hub's address: HF_ENDPOINT, or the public one."""
    return os.environ.get("HF_ENDPOINT", "https://huggingface.co").rstrip("/")


def own_headers() -> dict[str, str]:
    """Headers of every request, the token of the environment among them.

    Raises:
        QuantaError: the token is no token.
    """
    name = "HF_TOKEN" if os.environ.get("HF_TOKEN") else "HUGGING_FACE_HUB_TOKEN"
    token = os.environ.get(name, "").strip()
    if not re.fullmatch(r"[!-~]*", token):  # the token itself is not shown
        raise QuantaError(
            f"environment, {name}",
            "a blank, a line break or a letter beyond ASCII within the token",
            "a token as the hub shows it",
            "copy it again, without blanks or quotes around it",
        )
    headers = {"user-agent": "quanta", "accept-encoding": "identity"}
    return headers | ({"authorization": f"Bearer {token}"} if token else {})


class AgainError(Exception):
    """A failure that may pass; `wait` is what the hub asks for, in seconds."""

    def __init__(self, found: str, wait: float | None = None) -> None:
        self.found, self.wait = found, wait
        super().__init__(found)


def _refuse(where: str, status: int, code: str, what: str) -> QuantaError:
    """The error for an answer that will not get better by waiting."""
    has_token = "authorization" in own_headers()
    login = (
        "the token in HF_TOKEN has no access: accept the repository's terms on its page, or give another token"
        if has_token
        else "check the name; if the repository is gated or private, put your token into the environment (HF_TOKEN)"
    )
    if status in (401, 403):
        found = "gated: access has to be granted" if code == "GatedRepo" else "no such repository, or no access to it"
        return QuantaError(where, f"{status}, {found}", what, login)
    if status == 404:
        found = {"RevisionNotFound": "no such revision", "EntryNotFound": "no such file"}.get(
            code, "no such repository"
        )
        return QuantaError(where, f"404, {found}", what, "check models.hub (or corpus.hub): repository and revision")
    return QuantaError(where, f"the hub answers {status}", what, "look whether HF_ENDPOINT is a hub, and try again")


def retry_after(value: str | None) -> float | None:
    """Seconds from a Retry-After header: a number or a date."""
    if not value:
        return None
    try:
        return max(float(value), 0.0)
    except ValueError:
        pass
    try:
        return max(parsedate_to_datetime(value).timestamp() - time.time(), 0.0)
    except (TypeError, ValueError):
        return None


@contextlib.contextmanager
def get(url: str, where: str, patience: Patience, headers: Mapping[str, str] | None = None) -> Iterator[Any]:
    """One streamed GET, redirects followed (the token is not sent to another host); the response if it is 200 or 206.

    Raises:
        _AgainError: what may pass: a broken or silent connection, 408, 429, 5xx.
        QuantaError: what will not.
    """
    import httpx2
    from huggingface_hub import get_session
    from huggingface_hub.errors import OfflineModeIsEnabled

    client = get_session()
    limits = httpx2.Timeout(patience.stall)
    try:
        with client.stream("GET", url, headers=own_headers() | dict(headers or {}), timeout=limits) as response:
            status = response.status_code
            if status in TRANSIENT:
                raise AgainError(f"the hub answers {status}", retry_after(response.headers.get("retry-after")))
            if status not in (200, 206, 416):
                code = response.headers.get("x-error-code", "")
                raise _refuse(where, status, code, "a repository, revision and file that the hub has")
            yield response
    except OfflineModeIsEnabled as error:
        raise QuantaError(
            where, "HF_HUB_OFFLINE is set", "a network for the steps that download", "unset it, or copy the files"
        ) from error
    except httpx2.TimeoutException as error:
        raise AgainError(f"silent for {patience.stall:g} s ({type(error).__name__})") from error
    except (httpx2.TransportError, httpx2.StreamError) as error:
        raise AgainError(f"connection broken ({type(error).__name__})") from error


class Tries:
    """Counts attempts and waits between them."""

    def __init__(self, where: str, patience: Patience) -> None:
        self.where, self.patience, self.count = where, patience, 0

    def again(self, reason: AgainError, *, progressed: bool = False) -> None:
        """Wait for the next attempt.

        Raises:
            QuantaError: all attempts are used up, or the hub asks for more time than is granted.
        """
        self.count = 1 if progressed else self.count + 1
        network = "look at the network and HF_ENDPOINT; start again later: what has arrived is kept"
        if self.count >= self.patience.attempts:
            raise QuantaError(
                self.where, f"{reason.found}, {self.count} times in a row", "an answer from the hub", network
            ) from reason
        if reason.wait is not None and reason.wait > self.patience.longest:
            raise QuantaError(
                self.where,
                f"{reason.found} and asks to wait for {reason.wait:.0f} s",
                f"at most {self.patience.longest:.0f} s",
                f"start again after that time; a token (HF_TOKEN) has higher limits. {network}",
            ) from reason
        backoff = min(self.patience.first * 2 ** (self.count - 1), self.patience.longest)
        wait = backoff if reason.wait is None else max(reason.wait, self.patience.first)
        log.warning("%s: %s; attempt %d in %.1f s", self.where, reason.found, self.count + 1, wait)
        time.sleep(wait)


def get_json(url: str, where: str, patience: Patience) -> Any:
    """The JSON at an address, tried again with patience.

    Raises:
        QuantaError: there is none to be had.
    """
    tries = Tries(where, patience)
    while True:
        try:
            with get(url, where, patience) as response:
                answer = bytearray()
                for chunk in response.iter_bytes():
                    answer += chunk
                    if len(answer) > LONGEST_ANSWER:
                        raise QuantaError(
                            where,
                            f"an answer longer than {LONGEST_ANSWER / 1e6:.0f} MB",
                            "a list of files",
                            "look at HF_ENDPOINT",
                        )
                return json.loads(answer)
        except AgainError as reason:
            tries.again(reason)
        except ValueError as error:
            raise QuantaError(where, f"no JSON ({error})", "a hub's answer", "look at HF_ENDPOINT") from error
