import os
import signal
import subprocess
import sys

import pytest

from soma.io.files import InputError
from soma.utils.parallel import run_parallel


def test_workers_start_where_opencv_has_threads():
    program = """
import cv2, numpy
from soma.utils.parallel import run_parallel
cv2.setNumThreads(4)
for _ in range(20):
    cv2.GaussianBlur(numpy.zeros((2000, 2000), numpy.uint8), (31, 31), 0)
print(run_parallel(abs, [-1, -2, -3], 2), cv2.getNumThreads())
"""
    done = subprocess.run(
        [sys.executable, '-c', program], capture_output=True, text=True, timeout=120
    )
    assert done.stdout.splitlines()[-1] == '[1, 2, 3] 4', done.stderr


def test_a_killed_process_is_said_in_one_line():
    with pytest.raises(InputError, match=r'one of the 2 processes was killed.*: try --nproc 1$'):
        run_parallel(_killed, range(2), 2)


def _killed(job):
    os.kill(os.getpid(), signal.SIGKILL)
