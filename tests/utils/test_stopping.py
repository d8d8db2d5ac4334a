from argparse import ArgumentTypeError, Namespace

import pytest

from soma.utils.stopping import resume_command, seconds


@pytest.mark.parametrize(
    ('text', 'value'), [('3h', 10800), ('90m', 5400), ('45s', 45), ('2', 120), ('1.5h', 5400)]
)
def test_seconds(text, value):
    assert seconds(text) == value


@pytest.mark.parametrize('text', ['', 'h', '3d', '-1', '0', '1h30m', 'nan'])
def test_no_duration(text):
    with pytest.raises(ArgumentTypeError, match=f"'{text}' is no duration such as 3h"):
        seconds(text)


@pytest.mark.parametrize(
    ('line', 'resume', 'expected'),
    [
        ('train.py a.py', None, 'python train.py a.py --resume'),
        ('train.py a.py --resume', 'auto', 'python train.py a.py --resume'),
        ('train.py a.py --resume x.pth --amp', 'x.pth', 'python train.py a.py --amp --resume'),
        ('train.py --resume=x.pth a.py', 'x.pth', 'python train.py a.py --resume'),
        ('train.py --resume auto a.py', 'auto', 'python train.py a.py --resume'),
        ('train.py --cfg-options a=[1]', None, "python train.py --cfg-options 'a=[1]' --resume"),
    ],
)
def test_the_command_that_goes_on(line, resume, expected):
    assert resume_command(line.split(), Namespace(resume=resume, launcher='none')) == expected


def test_the_command_of_several_processes_is_the_users():
    args = Namespace(resume=None, launcher='pytorch')
    assert resume_command(['train.py'], args) == 'the same command and --resume'
    del args.resume  # tools/train_average.py always goes on
    assert resume_command(['train_average.py'], args) == 'the same command'
    args.launcher = 'none'
    assert resume_command(['x.py', 'a b'], args) == "python x.py 'a b'"
