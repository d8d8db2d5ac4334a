"""A folder out of a git archive, checked by git's hash of it."""

import io
import tarfile

import pytest

from soma.io.files import InputError
from soma.io.git_archive import extract_tree

# As `git rev-parse HEAD:Data` had it for these files, run.sh executable. By git's order "a.b"
# comes before the folder "a", which counts as "a/".
FILES = {'a.b': b'one\n', 'a/x.png': bytes(range(256)), 'a/b/y': b'', 'run.sh': b'echo\n'}
TREE = '6a906aff662e4ba9d831905dca74e675dabcc13e'


def write_archive(path, entries, top='Repo-1'):
    with tarfile.open(path, 'w:gz') as tar:
        tar.addfile(tarfile.TarInfo('pax_global_header'))
        for name, content in entries:
            info = tarfile.TarInfo(f'{top}/{name}')
            info.mode = 0o775 if name.endswith('.sh') else 0o664
            if isinstance(content, str):
                info.type, info.linkname = tarfile.SYMTYPE, content
                tar.addfile(info)
            else:
                info.size = len(content)
                tar.addfile(info, io.BytesIO(content))
    return path


@pytest.fixture
def archive(tmp_path):
    entries = [('README.md', b'no'), *((f'Data/{n}', c) for n, c in FILES.items())]
    return write_archive(tmp_path / 'a.tar.gz', [*entries, ('Database/z', b'no')])


def test_the_folder_alone(archive, tmp_path, monkeypatch):
    monkeypatch.setenv('PATH', '')  # without git
    extract_tree(archive, 'Data', tmp_path / 'out', TREE)
    files = {p: p.read_bytes() for p in (tmp_path / 'out').rglob('*') if p.is_file()}
    assert files == {tmp_path / 'out' / name: content for name, content in FILES.items()}
    assert sorted(p.name for p in tmp_path.iterdir()) == ['a.tar.gz', 'out']


def test_another_hash(archive, tmp_path):
    with pytest.raises(InputError, match=f'not what it should be: git tree {TREE}, not 58c604d6'):
        extract_tree(archive, 'Data', tmp_path / 'out', '58c604d6')
    assert [p.name for p in tmp_path.iterdir()] == ['a.tar.gz']


@pytest.mark.parametrize('entry', [('Data/../../x', b'1'), ('Data/link', '/etc/passwd')])
def test_nothing_leads_out_of_the_folder(tmp_path, entry):
    write_archive(tmp_path / 'a.tar.gz', [('Data/a.b', b'1'), entry])
    with pytest.raises(InputError, match=r'is no plain file in Data'):
        extract_tree(tmp_path / 'a.tar.gz', 'Data', tmp_path / 'out', TREE)
    assert [p.name for p in tmp_path.iterdir()] == ['a.tar.gz']


def test_a_damaged_archive(archive, tmp_path):
    content = archive.read_bytes()
    for damage in (content[: len(content) // 2], b'no archive'):
        archive.write_bytes(damage)
        with pytest.raises(InputError, match=r'a\.tar\.gz is damaged'):
            extract_tree(archive, 'Data', tmp_path / 'out', TREE)
    assert [p.name for p in tmp_path.iterdir()] == ['a.tar.gz']
