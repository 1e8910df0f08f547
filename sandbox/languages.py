"""Other languages: how code becomes a command. A compiler runs in the same box as everything else."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, replace
from typing import Any

from .types import Job, Limits, RunResult


@dataclass(frozen=True)
class Language:
    """How a language is run.

    Attributes:
        source: file the code is put in.
        run: the command.
        compile: the command that makes ``binary`` first, if any.
        binary: the file it makes.
        package: Debian package that has it.
        procs: processes and threads the runtime needs at least.
        env: variables it needs.
    """

    source: str
    run: tuple[str, ...]
    compile: tuple[str, ...] = ()
    binary: str = ""
    package: str = ""
    procs: int = 1
    env: tuple[tuple[str, str], ...] = ()


LANGUAGES = {
    "bash": Language("main.sh", ("/bin/bash", "--noprofile", "--norc", "main.sh"), package="bash"),
    "c": Language(
        "main.c", ("./main",), ("/usr/bin/gcc", "-O2", "-std=c17", "-o", "main", "main.c", "-lm"), "main", package="gcc"
    ),
    "javascript": Language(
        "main.js",
        ("/usr/bin/node", "main.js"),
        package="nodejs",
        procs=32,
        env=(("OPENSSL_CONF", "/dev/null"),),  # it refuses to start when a configuration exists that it may not read
    ),
}
RESERVING = frozenset({"javascript"})
"""Languages whose runtime reserves address space by the gigabyte, so that only memory in use can be bounded."""
COMPILE_LIMITS = Limits(wall_s=60, cpu_s=30, mem_mb=1024, procs=16, file_mb=32, disk_mb=128)


def missing(lang: str, reason: str) -> str:
    """Why a language cannot be run, and what would help."""
    package = LANGUAGES[lang].package if lang in LANGUAGES else ""
    if not package:
        return reason
    return f"{reason}; apt-get install {package}, or for the docker backend `palaestra sandbox image --debian bookworm`"


async def prepare(sandbox: Any, job: Job) -> Job | RunResult:
    """Turn a job in another language into a command; compiles where needed.

    Args:
        sandbox: where the compiler runs.
        job: the job.

    Returns:
        The job to run, or the result of a compilation that failed (verdict ``exit``, reason ``compile: ...``).

    Raises:
        ValueError: the language is unknown.
    """
    code = job.code
    if code is None or job.lang == "python":
        return job
    language = LANGUAGES.get(job.lang)
    if language is None:
        raise ValueError(f"Job.lang is {job.lang!r}; choose from python, {', '.join(LANGUAGES)}")
    if job.limits.procs < language.procs:
        job = replace(job, limits=replace(job.limits, procs=language.procs))
    job = replace(job, env={**dict(language.env), **job.env})
    if not language.compile:
        return replace(job, code=None, argv=language.run, files={**job.files, language.source: code})
    built = await compile_once(sandbox, job.lang, code)
    if language.binary not in built.files:
        return replace(built, verdict="exit" if built.ok else built.verdict, reason=f"compile: {built.reason}")
    return replace(
        job, code=None, argv=language.run, files={**job.files, language.binary: built.files[language.binary]}
    )


async def compile_once(sandbox: Any, lang: str, code: str) -> RunResult:
    """Compile a program; the last few binaries are kept, so that many tests share one compilation."""
    language = LANGUAGES[lang]
    key = (lang, hashlib.sha256(code.encode("utf-8", "surrogatepass")).digest())
    cache: dict[Any, RunResult] = sandbox._compiled
    if key not in cache:
        job = Job(
            argv=language.compile,
            lang=lang,
            files={language.source: code},
            fetch=[language.binary],
            limits=COMPILE_LIMITS,
        )
        result = await sandbox.run(job)
        with sandbox._lock:
            cache[key] = result
            while len(cache) > 16:
                cache.pop(next(iter(cache)))
        return result
    return cache[key]
