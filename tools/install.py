"""Install soma and all that it needs into `.venv`.

`make install` runs this with the system's Python, so it uses the standard library only. Whatever
can be checked is checked before anything is downloaded. A stamp, written after success alone, lets
the next run return at once; a failed run is simply repeated.
"""

import argparse
import hashlib
import json
import os
import re
import shlex
import shutil
import subprocess
import sys
import time
from importlib.util import find_spec
from pathlib import Path

# The annotations are plain because Pythons that are too old must get as far as that message.
PYTHONS = ((3, 10), (3, 11), (3, 12))
GIB = 2**30
# Of the CUDA build of torch from PyPI: what it and all else take in .venv, its download beside it,
# and the copy of the download that pip caches. Without torch, or with its CPU build: much less.
FULL_SIZE, CACHE_SIZE, SMALL_SIZE = 9 * GIB, 3 * GIB, 2 * GIB
TORCH = ('torch', 'torchvision')
CHECK = """
import cv2, mmcv, mmdet, mmengine, mmseg, torch, torchvision
torchvision.ops.nms(torch.tensor([[0.0, 0.0, 1.0, 1.0]]), torch.ones(1), 0.5)
names = (torch, torchvision, mmengine, mmcv, mmseg, mmdet)
print('Ready: ' + ', '.join(f'{module.__name__} {module.__version__}' for module in names))
"""


class SetupError(Exception):
    """A problem that the user can solve; its text is one line that says how."""


def check_python(version: tuple) -> None:
    """Raise unless `version`, such as (3, 11), is a Python that the dependencies support."""
    if tuple(version[:2]) in PYTHONS:
        return
    pythons = [name for name in ('python3.11', 'python3.12', 'python3.10') if shutil.which(name)]
    fix = 'run' if pythons else 'install one (for example: uv python install 3.11) and run'
    raise SetupError(
        f'soma needs Python 3.10, 3.11 or 3.12, this is {version[0]}.{version[1]}; '
        f'{fix}: make install PYTHON={pythons[0] if pythons else "python3.11"}'
    )


def check_venv_module() -> None:
    """Raise when this Python cannot create virtual environments (Debian packs that separately)."""
    if find_spec('venv') is None or find_spec('ensurepip') is None:
        package = 'python{}.{}-venv'.format(*sys.version_info)
        raise SetupError(
            f'{sys.executable} cannot create virtual environments; '
            f'run: sudo apt-get install {package}'
        )


def check_disk(folder: Path, needed: int) -> None:
    """Raise when the file system of `folder` has fewer than `needed` bytes free."""
    free = shutil.disk_usage(folder).free
    if free < needed:
        raise SetupError(
            f'{folder} has {free / GIB:.1f} GB free and the installation needs about '
            f'{needed / GIB:.0f} GB; make room there, for example with: pip cache purge'
        )


def fingerprint(root: Path, version: tuple) -> str:
    """Hash everything that an installation depends on, save for TORCH_SPEC.

    The folder is part of it because the editable install of soma holds its path. Of pyproject.toml
    only the tables that matter count: a new lint rule is no reason to call pip.
    """
    names = ('pyproject.toml', 'requirements.txt', 'constraints.txt', 'tools/install.py')
    project, *others = ((root / name).read_text(encoding='utf-8') for name in names)
    tables = re.split(r'\n(?=\[)', project)
    tables = [table for table in tables if table.startswith(('[project', '[build-system'))]
    parts = [str(root), '{}.{}'.format(*version), *tables, *others]
    return hashlib.sha256('\0'.join(parts).encode()).hexdigest()


def read_stamp(venv: Path) -> dict:
    """What the last installation that succeeded was made from; nothing without one."""
    try:
        stamp = json.loads((venv / '.soma-install').read_text(encoding='utf-8'))
    except (OSError, ValueError):
        stamp = {}
    return {'inputs': '', 'torch_spec': '', 'extras': [], **stamp}


def is_current(venv: Path, inputs: str, torch_spec: str, extras: set) -> bool:
    """Whether `venv` was installed from `inputs`; an empty `torch_spec` accepts any torch.

    Extras may be there that are not asked for, but not the other way round.
    """
    stamp = read_stamp(venv)
    same_torch = torch_spec in ('', stamp['torch_spec'])
    same = stamp['inputs'] == inputs and same_torch and extras <= set(stamp['extras'])
    return same and (venv / 'bin/python').exists()


def installed_version(venv: Path, package: str) -> str:
    """The version of `package` in `venv` by the name of its metadata folder, '' without one."""
    folders = venv.glob(f'lib/python*/site-packages/{package}-*.dist-info')
    return next((folder.name[len(package) + 1 : -len('.dist-info')] for folder in folders), '')


def constraints(root: Path, torch_pins: list) -> str:
    """The tested versions, with those of torch and torchvision replaced by `torch_pins`."""
    lines = (root / 'constraints.txt').read_text(encoding='utf-8').splitlines()
    others = [line for line in lines if line.split('==')[0] not in TORCH]
    return '\n'.join([*others, *torch_pins, ''])


def is_usable(python: Path) -> bool:
    """Whether `python` runs, has pip and is of the version that runs this script."""
    probe = [str(python), '-c', 'import sys, pip; print(sys.version_info[:2])']
    try:
        output = subprocess.run(probe, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL).stdout
    except OSError:
        return False
    return output.decode().strip() == str(sys.version_info[:2])


def run(title: str, command: list, **environment: str) -> None:
    """Print `title`, run `command` and raise when it fails; its own errors stay visible."""
    print(f'-- {title}', flush=True)
    start = time.monotonic()
    if subprocess.call(command, env={**os.environ, **environment}):
        raise SetupError(
            f'"{title}" failed, its message is above; when its cause is gone, run the same command '
            'again: it goes on from here'
        )
    print(f'   took {time.monotonic() - start:.0f} s', flush=True)


def install(root: Path, venv: Path, torch_spec: str, extras: set) -> None:
    """Bring `venv` up to date, from nothing or from whatever an earlier run has left.

    What the tests need comes with the extra `dev` alone: mmengine imports transformers where it is,
    2 seconds at every start.
    """
    python = venv / 'bin/python'
    usable = is_usable(python)
    keep_torch = usable and not torch_spec and all(installed_version(venv, t) for t in TORCH)
    if not usable:
        check_venv_module()
    check_disk(root, SMALL_SIZE if keep_torch or 'cpu' in torch_spec else FULL_SIZE)

    if not usable:
        # Not with the Python of the environment that is about to be replaced.
        base = getattr(sys, '_base_executable', sys.executable)
        run(f'Creating {venv} (5 s)', [base, '-m', 'venv', '--clear', str(venv)])

    limits = venv / 'constraints.txt'
    temporary = venv / 'tmp'
    temporary.mkdir(exist_ok=True)

    def pip(title: str, *arguments: str) -> None:
        # On a terminal pip shows its progress. It downloads into .venv, for /tmp is often small.
        quiet = [] if sys.stdout.isatty() else ['-qq']
        command = [str(python), '-m', 'pip', 'install', *quiet, '-c', str(limits), *arguments]
        settings = {'PIP_DISABLE_PIP_VERSION_CHECK': '1', 'PIP_USER': '0'}
        run(title, command, TMPDIR=str(temporary), **settings)

    if not keep_torch:
        tested = (root / 'constraints.txt').read_text(encoding='utf-8')
        limits.write_text(constraints(root, []) if torch_spec else tested)
        roomy = shutil.disk_usage(root).free > FULL_SIZE + CACHE_SIZE
        cache = [] if roomy else ['--no-cache-dir']
        title = 'Installing torch and torchvision (1 to 3 minutes, 3 GB to download)'
        pip(title, *cache, *(shlex.split(torch_spec) or TORCH))
    limits.write_text(constraints(root, [f'{t}=={installed_version(venv, t)}' for t in TORCH]))

    # In pip's isolated build mmcv finds no torch, skips its operators and needs no compiler. pip's
    # cache knows wheels by version alone and may hold one that was compiled for another torch.
    pip('Installing mmcv as pure Python (10 s)', '--no-cache-dir', '--no-deps', 'onedl-mmcv')
    project = f'{root}[{",".join(sorted(extras))}]' if extras else str(root)
    everything = ['-r', str(root / 'requirements.txt'), '-e', project]
    pip('Installing everything else and soma itself (1 minute)', *everything)

    # opencv-python and its headless build share the folder cv2; the plain one wants libGL.so.1.
    version_file = next(venv.glob('lib/python*/site-packages/cv2/version.py'))
    if 'headless = True' not in version_file.read_text():
        headless = 'opencv-python-headless==' + installed_version(venv, 'opencv_python_headless')
        title = 'Choosing the OpenCV build that needs no libGL (5 s)'
        pip(title, '--force-reinstall', '--no-deps', headless)
    shutil.rmtree(str(temporary))

    print('-- Checking that the packages fit together (10 s)', flush=True)
    if subprocess.call([str(python), '-W', 'ignore', '-c', CHECK]):
        pair = ' '.join(f'{t}=={installed_version(venv, t)}' for t in TORCH)
        raise SetupError(
            f'the packages do not work together ({pair}), the message is above; torch and '
            'torchvision must come from one index. Run: rm -rf .venv && make install'
        )


def main() -> int:
    """Parse the arguments, install if there is anything to do, report a problem in one line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument('--torch-spec', default='', help='such as "torch==X torchvision==Y"')
    parser.add_argument(
        '--extra',
        action='append',
        default=[],
        help='also an extra of pyproject.toml: dev (tests and checks), dev-slow, docs (the site)',
    )
    short = dict(action='append_const', const='dev', dest='extra')
    parser.add_argument('--dev', **short, help='the same as --extra dev')
    args = parser.parse_args()
    torch_spec = ' '.join(args.torch_spec.split())
    root = Path(__file__).resolve().parent.parent
    venv = root / '.venv'
    try:
        check_python(sys.version_info)
        inputs = fingerprint(root, sys.version_info)
        if is_current(venv, inputs, torch_spec, set(args.extra)):
            return 0
        extras = {*args.extra, *read_stamp(venv)['extras']}  # what is there stays up to date
        stamp = venv / '.soma-install'
        if stamp.exists():
            stamp.unlink()
        install(root, venv, torch_spec, extras)
        content = {'inputs': inputs, 'torch_spec': torch_spec, 'extras': sorted(extras)}
        stamp.write_text(json.dumps(content))
    except SetupError as error:
        print(f'soma: {error}', file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print('soma: interrupted; the same command goes on from here', file=sys.stderr)
        return 130
    return 0


if __name__ == '__main__':
    sys.exit(main())
