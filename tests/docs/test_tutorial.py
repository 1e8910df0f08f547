"""The tutorial is run as it is written: files are saved under their titles, commands are given to a shell."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

import palaestra

PAGE = Path(palaestra.__file__).parent / "docs" / "tutorial.md"
BLOCK = re.compile(r'^```(\w+)(?: title="([^"]+)")?\n(.*?)^```$', re.MULTILINE | re.DOTALL)


@pytest.mark.slow
def test_the_tutorial_works(tmp_path):
    environment = {**os.environ, "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}", "OMP_NUM_THREADS": "1"}
    ran = []
    for language, title, body in BLOCK.findall(PAGE.read_text(encoding="utf-8")):
        if title:
            (tmp_path / title).write_text(body)
        if language == "bash":
            ran += [["bash", "-c", line] for line in body.splitlines()]
        elif title == "use.py":
            ran.append([sys.executable, title])
    assert len(ran) == 4
    for command in ran:
        done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=420)
        assert done.returncode == 0, f"{command[-1]}\n{done.stdout[-3000:]}\n{done.stderr[-3000:]}"
    assert re.search(r"pass@1 0\.\d\d on 128 held-out tasks, 0 unscored", done.stdout) or "pass@1 1.00" in done.stdout
