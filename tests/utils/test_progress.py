"""The bar of long work."""

from types import SimpleNamespace

import pytest

from soma.utils.progress import TimeLeft, track


@pytest.mark.parametrize(
    ('mean', 'total', 'expected'),
    [
        (0.0, 4, 'left -:--:--'),
        (60.0, 4, 'left 0:02:50 0.0167 images/s'),  # 10 seconds into the second of four
        (60.0, None, 'left -:--:-- 0.0167 images/s'),
        (10.0, 4, 'left 0:00:00 0.1 images/s'),
    ],
)
def test_the_time_left_is_told_from_the_first_step_on(mean, total, expected):
    task = SimpleNamespace(fields=dict(mean=mean), total=total, elapsed=70.0)
    assert TimeLeft('images').render(task).plain == expected


def test_steps_pass_through(capsys):
    assert [*track(iter('abc'), 3, 'reading', 'letters')] == [*'abc']
    assert '3/3' in (text := capsys.readouterr().out) and ' letters/s' in text
