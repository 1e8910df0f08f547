"""The scratch directory is kept between runs only while nothing in it was touched."""

from __future__ import annotations

import os

import pytest

from palaestra.sandbox import Job
from palaestra.sandbox.guest.scratch import Scratch

LOOK = """
import os
for top in ('.', 'tmp', 'shm'):
    print(top, sorted(os.listdir(top)), oct(os.stat(top).st_mode), os.listxattr(top))
"""
CLEAN = ". ['shm', 'tmp'] 0o40700 []\ntmp [] 0o40700 []\nshm [] 0o40700 []\n"
TRACES = {
    "nothing": "pass",
    "a file": "open('left', 'w').write('x')",
    "a file in tmp": "open('tmp/left', 'w').write('x')",
    "a deep tree": "import os; os.makedirs('shm/' + 'd/' * 100)",
    "a link": "import os; os.symlink('/etc', 'link')",
    "a file and its removal": "import os; open('f', 'w'); os.unlink('f')",
    "no directory": "import os; os.rmdir('tmp')",
    "another directory": "import os; os.rmdir('tmp'); os.mkdir('tmp'); open('tmp/x', 'w')",
    "a mode": "import os\ntry: os.chmod('tmp', 0o777)\nexcept OSError: pass",
    "an attribute": "import os\ntry: os.setxattr('shm', 'user.note', b'x')\nexcept OSError: pass",
}


@pytest.mark.parametrize("trace", list(TRACES))
def test_the_next_run_finds_nothing(sandbox, trace):
    for _ in range(2):
        left = sandbox.run_batch_sync([Job(code=TRACES[trace])] * sandbox.slots)
        assert [result.verdict for result in left] == ["ok"] * sandbox.slots
        looks = sandbox.run_batch_sync([Job(code=LOOK)] * sandbox.slots)
        assert [look.stdout_text for look in looks] == [CLEAN] * sandbox.slots


def make(tmp_path):
    scratch = Scratch(str(tmp_path), str(tmp_path / "w"), mounted=False, uid=os.getuid(), gid=os.getgid(), give=False)
    scratch.begin(8, {})
    return scratch, tmp_path / "w"


def test_untouched_directories_are_kept(tmp_path):
    scratch, work = make(tmp_path)
    number = work.stat().st_ino
    scratch.end()
    scratch.begin(8, {})
    assert work.stat().st_ino == number and sorted(os.listdir(work)) == ["shm", "tmp"]


@pytest.mark.parametrize("settled", [False, True])
@pytest.mark.parametrize("place", ["w/left", "w/tmp/left", "w/shm/left", "left"])
def test_touched_directories_go(tmp_path, place, settled):
    scratch, work = make(tmp_path)
    scratch._settled = settled
    (tmp_path / place).mkdir()
    scratch.end()
    assert os.listdir(tmp_path) == []
    scratch.begin(8, {"a/b": b"x"})
    assert (work / "a" / "b").read_bytes() == b"x"
    assert scratch.collect(["a/b", "../w/a/b", "none"], 10) == {"a/b": b"x"}
    scratch.end()
    assert os.listdir(tmp_path) == []


def test_a_young_directory_is_searched_not_trusted(tmp_path):
    scratch, work = make(tmp_path)
    (work / "tmp" / "left").write_text("x")
    scratch._clean = scratch._states()  # as if the clock had not moved on since
    scratch.end()
    assert os.listdir(tmp_path) == []
