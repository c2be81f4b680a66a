"""A hub on loopback that speaks the real one's protocol, with faults on demand.

Information about a revision with sizes and hashes (`?blobs=true`), `resolve` at a commit, large files (LFS) by a
redirect to another address with a signed query, ETags, `X-Linked-Etag`, `X-Repo-Commit`, `X-Error-Code`, ranges.
"""

import contextlib
import hashlib
import json
import re
import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit


def commit_of(files: dict[str, bytes]) -> str:
    state = hashlib.sha1()
    for name in sorted(files):
        state.update(name.encode() + hashlib.sha256(files[name]).digest())
    return state.hexdigest()


def blob_id(content: bytes) -> str:
    return hashlib.sha1(b"blob %d\0" % len(content) + content).hexdigest()


def is_lfs(name: str) -> bool:
    return name.endswith((".safetensors", ".bin", ".zst", ".gz", ".parquet"))


@dataclass
class Fault:
    """What happens to the next `times` requests whose path matches: a status, or the name of a mishap.

    Mishaps: `break` and `stall` after `after` bytes of the body, `flip` one byte, `no range` (a 200 with the whole
    file), `long` (`after` more bytes), `short` (fewer bytes than promised by closing early), `tag` (another hash in the headers).
    """

    match: str
    kind: int | str
    times: int = 1
    after: int = 0
    headers: dict[str, str] = field(default_factory=dict)


class Hub:
    """`with Hub() as hub`: add repositories, set faults, look at `hub.requests`."""

    def __init__(self) -> None:
        self.revisions: dict[tuple[str, str], dict[str, str]] = {}
        self.commits: dict[str, dict[str, bytes]] = {}
        self.hashes: dict[tuple[str, str], str] = {}
        self.tokens: dict[str, str] = {}
        self.faults: list[Fault] = []
        self.requests: list[dict[str, Any]] = []
        self.seen: Callable[[str], None] = lambda path: None
        self.guard = threading.Lock()

    def add(self, repository: str, revision: str, files: dict[str, bytes] | Path, kind: str = "model") -> str:
        """Add a revision from names and contents, or from a folder; its commit."""
        if isinstance(files, Path):
            files = {p.name: p.read_bytes() for p in files.iterdir() if p.is_file()}
        commit = commit_of(files)
        self.commits[commit] = files
        self.hashes |= {(commit, name): hashlib.sha256(content).hexdigest() for name, content in files.items()}
        self.revisions.setdefault((kind, repository), {})[revision] = commit
        return commit

    def asked(self, match: str) -> list[dict[str, Any]]:
        return [request for request in self.requests if re.search(match, request["path"])]

    def __enter__(self) -> "Hub":
        hub = self

        class Handler(_Handler):
            pass

        Handler.hub = hub
        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.server.daemon_threads = True
        self.address = f"http://127.0.0.1:{self.server.server_address[1]}"
        threading.Thread(target=self.server.serve_forever, args=(0.02,), daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self.server.shutdown()
        self.server.server_close()


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    hub: Hub

    def log_message(self, *_: object) -> None:
        pass

    def answer(self, status: int, body: bytes = b"", headers: dict[str, str] | None = None, fault: Any = None) -> None:
        self.send_response(status)
        for name, value in ({"content-length": str(len(body))} | (headers or {})).items():
            self.send_header(name, value)
        self.end_headers()
        if self.command == "HEAD":
            return
        if fault is not None and fault.kind in ("break", "stall"):
            self.wfile.write(body[: fault.after])
            self.wfile.flush()
            if fault.kind == "stall":
                self.connection.recv(1)  # until the client has lost patience
            self.close_connection = True
            self.connection.close()
            return
        with contextlib.suppress(ConnectionError):  # a client that gave up is part of some tests
            self.wfile.write(body)

    def do_HEAD(self) -> None:
        self.do_GET()

    def do_GET(self) -> None:
        hub, path = self.hub, unquote(self.path)
        with hub.guard:
            hub.requests.append(
                {"path": path, "range": self.headers.get("range"), "token": self.headers.get("authorization")}
            )
            fault = next((f for f in hub.faults if f.times and re.search(f.match, path)), None)
            if fault:
                fault.times -= 1
        hub.seen(path)
        if fault and isinstance(fault.kind, int):
            return self.answer(fault.kind, b"{}", fault.headers)
        if path.startswith("/cdn/"):
            return self.serve_content(path, fault)
        return self.serve_api(path, fault) if path.startswith("/api/") else self.serve_resolve(path, fault)

    def refuse(self, status: int, code: str) -> None:
        self.answer(status, json.dumps({"error": code}).encode(), {"x-error-code": code})

    def repository(self, kind: str, name: str) -> bool:
        """Whether the repository is there and open to this request; answers if not, as the real hub does."""
        if (kind, name) not in self.hub.revisions:
            self.refuse(401, "RepoNotFound")
            return False
        wanted = self.hub.tokens.get(name)
        if wanted and self.headers.get("authorization") != f"Bearer {wanted}":
            self.refuse(401, "GatedRepo")
            return False
        return True

    def serve_api(self, path: str, fault: Any) -> None:
        match = re.fullmatch(r"/api/(model|dataset)s/(.+?)/revision/(.+)", path.split("?")[0])
        if not match:
            return self.refuse(404, "EntryNotFound")
        kind, name, revision = match.groups()
        if not self.repository(kind, name):
            return None
        commit = self.hub.revisions[kind, name].get(revision)
        if commit is None:
            return self.refuse(404, "RevisionNotFound")
        assert parse_qs(urlsplit(self.path).query)["blobs"] == ["true"]
        siblings = []
        for file, content in self.hub.commits[commit].items():
            entry: dict[str, Any] = {"rfilename": file, "size": len(content)}
            if is_lfs(file):
                sha = self.hub.hashes[commit, file]
                entry["blobId"] = blob_id(sha.encode())  # of the pointer, not of the content
                entry["lfs"] = {"sha256": sha, "size": len(content), "pointerSize": 134}
            else:
                entry["blobId"] = blob_id(content)
            siblings.append(entry)
        body = {"id": name, "sha": commit, "gated": False, "private": False, "siblings": siblings}
        return self.answer(200, json.dumps(body).encode(), {"content-type": "application/json"}, fault)

    def serve_resolve(self, path: str, fault: Any) -> None:
        match = re.fullmatch(r"/(datasets/)?(.+?)/resolve/([^/]+)/(.+)", path.split("?")[0])
        if not match:
            return self.refuse(404, "EntryNotFound")
        data, name, commit, file = match.groups()
        if not self.repository("dataset" if data else "model", name):
            return None
        content = self.hub.commits.get(commit, {}).get(file)
        if content is None:
            return self.refuse(404, "EntryNotFound")
        headers = {"x-repo-commit": commit, "accept-ranges": "bytes"}
        if is_lfs(file):
            sha = self.hub.hashes[commit, file]
            tag = "0" * 64 if fault and fault.kind == "tag" else sha
            headers |= {
                "x-linked-etag": f'"{tag}"',
                "x-linked-size": str(len(content)),
                "etag": '"of-the-redirect"',
                "location": f"http://localhost:{self.server.server_address[1]}/cdn/{commit}/{file}?Signature=secret",
            }
            return self.answer(302, b"", headers)
        headers["etag"] = f'"{blob_id(content)}"'
        return self.content(content, headers, fault)

    def serve_content(self, path: str, fault: Any) -> None:
        commit, file = path.split("?")[0].removeprefix("/cdn/").split("/", 1)
        content = self.hub.commits[commit][file]
        return self.content(content, {"etag": '"of-the-cdn"', "accept-ranges": "bytes"}, fault)

    def content(self, content: bytes, headers: dict[str, str], fault: Any) -> None:
        if fault and fault.kind == "flip":
            content = bytes([content[0] ^ 1]) + content[1:]
        if fault and fault.kind == "long":
            content += bytes(fault.after)
        asked = re.fullmatch(r"bytes=(\d+)-", self.headers.get("range") or "")
        if not asked or (fault and fault.kind == "no range"):
            return self.answer(200, content, headers, fault)
        begin = int(asked[1])
        if begin >= len(content):
            return self.answer(416, b"", {"content-range": f"bytes */{len(content)}"})
        headers = headers | {"content-range": f"bytes {begin}-{len(content) - 1}/{len(content)}"}
        return self.answer(206, content[begin:], headers, fault)


def published_config(width: int, layers: int, heads: int, vocabulary: int, context: int) -> dict[str, Any]:
    """config.json as Pythia's repositories have it, in the words of transformers 4.24."""
    return {
        "architectures": ["GPTNeoXForCausalLM"],
        "bos_token_id": 0,
        "eos_token_id": 0,
        "hidden_act": "gelu",
        "hidden_size": width,
        "initializer_range": 0.02,
        "intermediate_size": 4 * width,
        "layer_norm_eps": 1e-05,
        "max_position_embeddings": context,
        "model_type": "gpt_neox",
        "num_attention_heads": heads,
        "num_hidden_layers": layers,
        "rotary_emb_base": 10000,
        "rotary_pct": 0.25,
        "tie_word_embeddings": False,
        "torch_dtype": "float16",
        "transformers_version": "4.24.0",
        "use_cache": True,
        "use_parallel_residual": True,
        "vocab_size": vocabulary,
    }


def published(model: Any) -> dict[str, bytes]:
    """A GPT-NeoX model as the files of a Pythia repository.

    float16, the unembedding under its old name `embed_out`, and the buffers that old versions of transformers saved.
    """
    import torch
    from safetensors.torch import save

    config = model.config
    tensors = {}
    for name, tensor in model.state_dict().items():
        tensors[name.replace("lm_head.", "embed_out.")] = tensor.half().contiguous()
    length = config.max_position_embeddings
    for layer in range(config.num_hidden_layers):
        prefix = f"gpt_neox.layers.{layer}.attention"
        tensors[f"{prefix}.bias"] = torch.tril(torch.ones(1, 1, length, length, dtype=torch.uint8))
        tensors[f"{prefix}.masked_bias"] = torch.tensor(-1e9).half()
        rotated = config.hidden_size // config.num_attention_heads // 4
        tensors[f"{prefix}.rotary_emb.inv_freq"] = 10000.0 ** -(torch.arange(0, rotated, 2) / rotated)
    written = published_config(
        config.hidden_size, config.num_hidden_layers, config.num_attention_heads, config.vocab_size, length
    )
    return {"config.json": json.dumps(written).encode(), "model.safetensors": save(tensors, metadata={"format": "pt"})}
