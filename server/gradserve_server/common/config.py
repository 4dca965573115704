"""The server's settings: one frozen value whose fields are the flags, the GRADSERVE_* variables and the help."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Literal

from pydantic import Field, field_validator
from pydantic_settings import BaseSettings, SettingsConfigDict


def _available_memory() -> int:
    """Bytes that this process may use: the machine's, or its cgroup's where that is less."""
    machine = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    try:
        text = Path("/sys/fs/cgroup/memory.max").read_text().strip()
    except OSError:
        return machine
    return min(machine, int(text)) if text.isdigit() else machine


class Settings(BaseSettings):
    """Settings of `gradserve serve`."""

    model_config = SettingsConfigDict(
        env_prefix="GRADSERVE_", frozen=True, extra="forbid", cli_kebab_case=True, cli_prog_name="gradserve serve"
    )

    address: str = Field("127.0.0.1:50051", description="Where to serve gRPC: host:port, or unix:/path.")
    metrics_address: str = Field("127.0.0.1:9464", description="Where to serve Prometheus metrics; none if empty.")
    isolation: Literal["process", "none"] = Field(
        "process", description="Compute in a supervised process of its own, or in this one (trusted callers only)."
    )
    memory_budget: int = Field(
        default_factory=lambda: _available_memory() // 2,
        ge=64 << 20,
        description="Bytes that requests, programs and answers may take together; half of what there is by default.",
    )
    max_message_bytes: int = Field(
        (1 << 31) - 1, ge=1 << 16, le=(1 << 31) - 1, description="Largest request message, in bytes."
    )
    max_definition_bytes: int = Field(
        16 << 20, ge=1 << 10, description="Largest network or loss definition, in bytes (weights do not count)."
    )
    max_nodes: int = Field(20_000, ge=1, description="Most nodes of a network, those of nested blocks included.")
    max_programs: int = Field(256, ge=1, description="Most compiled programs to keep.")
    pad_batches: bool = Field(
        True,
        description="Pad batches to a few sizes where that changes no answer, so that those of many sizes share a few"
        " programs. A request may ask for exactly its own size.",
    )
    max_call_seconds: float = Field(
        600.0,
        gt=0,
        description="Longest that compiling or one run may take; the worker process is then replaced, and what else"
        " was in it runs again. Not with isolation none.",
    )
    store_bytes: int | None = Field(
        None,
        ge=0,
        description="Most bytes of networks and weights that are held by digest; a quarter of the budget by default.",
    )
    concurrency: int = Field(
        default_factory=lambda: max(4, (os.cpu_count() or 1) + 2),
        ge=1,
        description="Calls that a worker has under way at once; further ones wait their turn.",
    )
    threads: int = Field(64, ge=1, description="Threads that answer calls, waiting ones included.")
    batching: bool = Field(
        True,
        description="Compute requests of one small program that wait for the device in one run, each with the bits that"
        " it gets alone.",
    )
    drain_seconds: float = Field(20.0, ge=0, description="How long calls under way may take to end at a stop.")
    log_format: Literal["json", "text"] = Field("json", description="Form of the log on standard error.")
    log_level: Literal["debug", "info", "warning", "error"] = Field("info", description="Least level that is logged.")
    stop_with_stdin: bool = Field(
        False, description="Stop at the end of standard input: a server that must not outlive whoever started it."
    )

    @field_validator("metrics_address")
    @classmethod
    def _is_host_and_port(cls, address: str) -> str:
        _, separator, port = address.rpartition(":")
        if address and not (separator and port.isascii() and port.isdigit() and int(port) < 1 << 16):
            raise ValueError("should be host:port, with a port from 0 to 65535, or empty")
        return address
