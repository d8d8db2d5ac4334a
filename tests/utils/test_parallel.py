import subprocess
import sys


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
