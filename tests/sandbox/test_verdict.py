"""The order in which facts decide a verdict, and the filter's shape."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

import palaestra.sandbox
from palaestra.sandbox.guest import seccomp
from palaestra.sandbox.guest.verdict import Facts, judge

BASE = Facts(True, None, 0, 0.1, 10, 0, 0, None, False)


@pytest.mark.parametrize(
    ("changes", "verdict"),
    [
        ({}, "ok"),
        ({"started": False}, "sandbox_error"),
        ({"ended_by": "timeout_wall", "oom_kills": 1}, "timeout_wall"),
        ({"oom_kills": 2}, "memory"),
        ({"status": 9}, "signal"),
        ({"status": 9, "cpu_s": 10.5}, "timeout_cpu"),
        ({"status": 24}, "timeout_cpu"),
        ({"status": 25}, "file_limit"),
        ({"status": 3 << 8}, "exit"),
        ({"status": 1 << 8, "refused_forks": 3}, "process_limit"),
        ({"report_broken": True}, "protocol_error"),
        ({"status": 125 << 8}, "exit"),
        ({"status": 256, "report": {"type": "MemoryError", "message": "", "errno": None}}, "memory"),
        ({"status": 256, "report": {"type": "OSError", "message": "", "errno": 28}}, "file_limit"),
        ({"status": 256, "report": {"type": "BlockingIOError", "message": "", "errno": 11}}, "process_limit"),
        (
            {"status": 256, "report": {"type": "RuntimeError", "message": "can't start new thread", "errno": None}},
            "process_limit",
        ),
        ({"status": 256, "report": {"type": "KeyError", "message": "1", "errno": None}}, "exception"),
    ],
)
def test_verdicts(changes, verdict):
    assert judge(BASE._replace(**changes))[0] == verdict


def run_filter(ops, number, arch, args=()):
    """Interpret a BPF program, as the kernel would."""
    memory = {0: number, 4: arch, **{16 + 8 * i: arg for i, arg in enumerate(args)}}
    accumulator, pc = 0, 0
    while True:
        op = ops[pc]
        pc += 1
        if op.code == seccomp._LD:
            accumulator = memory.get(op.k, 0)
        elif op.code == seccomp._AND:
            accumulator &= op.k
        elif op.code == seccomp._RET:
            return op.k
        elif op.code == 0x05:
            pc += op.k
        else:
            holds = {
                seccomp._JEQ: accumulator == op.k,
                seccomp._JGE: accumulator >= op.k,
                seccomp._JGT: accumulator > op.k,
                seccomp._JSET: bool(accumulator & op.k),
            }[op.code]
            pc += op.yes if holds else op.no


@pytest.mark.parametrize("machine", ["x86_64", "aarch64"])
@pytest.mark.parametrize("metadata", [True, False])
def test_filter_denies_exactly_what_is_listed(machine, metadata):
    ops = seccomp.instructions(machine, metadata)
    arch, column = seccomp._AUDIT_ARCH[machine], 0 if machine == "x86_64" else 1
    denied = {numbers[column] for numbers in seccomp.DENIED.values()}
    denied |= {numbers[column] for numbers in seccomp.METADATA.values()} if metadata else set()
    special = {pair[column] for pair in (seccomp._CLONE, seccomp._SOCKETPAIR, seccomp._IOCTL)}
    special |= {numbers[column] for numbers in seccomp.SELF_ONLY.values()}
    for number in range(600):
        got = run_filter(ops, number, arch)
        if number == seccomp._CLONE3:
            assert got == seccomp.ENOSYS
        elif number not in special:
            assert (got == seccomp.EPERM) == (number in denied), number
    assert run_filter(ops, 0, 0x40000003) == seccomp.EPERM  # another machine's table
    clone, pair, ioctl = seccomp._CLONE[column], seccomp._SOCKETPAIR[column], seccomp._IOCTL[column]
    assert run_filter(ops, clone, arch, [0x11]) == seccomp.ALLOW
    assert run_filter(ops, clone, arch, [0x10000011]) == seccomp.EPERM
    assert run_filter(ops, pair, arch, [1, 1 | 0x80000]) == seccomp.ALLOW
    assert run_filter(ops, pair, arch, [1, 2]) == seccomp.EPERM
    assert run_filter(ops, pair, arch, [2, 1]) == seccomp.EPERM
    assert run_filter(ops, ioctl, arch, [0, 0x5412]) == seccomp.EPERM
    assert run_filter(ops, ioctl, arch, [0, 0x5401]) == seccomp.ALLOW
    for numbers in seccomp.SELF_ONLY.values():
        args = [0, 0]
        assert run_filter(ops, numbers[column], arch, args) == seccomp.ALLOW
        args[numbers[2]] = 7
        assert run_filter(ops, numbers[column], arch, args) == seccomp.EPERM


def test_nothing_in_the_package_unpickles_or_evaluates():
    root = Path(palaestra.sandbox.__file__).parent
    guest_only = {"cells.py", "driver.py"}  # they run guest code, inside the guest
    for path in root.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, (ast.Import, ast.ImportFrom)):
                names = {alias.name for alias in node.names} | {getattr(node, "module", None)}
                assert not names & {"pickle", "marshal", "shelve", "dill", "cloudpickle"}, path
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and path.name not in guest_only:
                assert node.func.id not in ("eval", "exec"), path
