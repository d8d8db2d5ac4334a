"""What the README shows exists and runs; whole runs of the scripts are in test_scripts.py."""

import re
import runpy
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
README = (ROOT / 'README.md').read_text()
COMMANDS = re.findall(r'^python (tools/\S+)(.*)$', README, re.M)
LISTED = dict(re.findall(r'`(\w+\.py)` takes (.*?)[;.]\s', README, re.S))


@pytest.mark.parametrize('file', ['README.md', 'docs/user_guides/methods.md'])
def test_python_snippets_run(file):
    text = (ROOT / file).read_text()
    for snippet in re.findall(r'```python\n(.*?)```', text, re.S):
        exec(compile(snippet, file, 'exec'), {})


@pytest.mark.parametrize('script', sorted({script for script, _ in COMMANDS}))
def test_scripts_know_the_options_that_are_shown(script, monkeypatch, capsys):
    monkeypatch.setattr(sys, 'argv', [script, '--help'])
    with pytest.raises(SystemExit, match='0'):
        runpy.run_path(str(ROOT / script), run_name='__main__')
    help_text = capsys.readouterr().out
    shown = ''.join(arguments for name, arguments in COMMANDS if name == script)
    options = set(re.findall(r'--[a-z-]+', shown + LISTED.get(Path(script).name, '')))
    assert all(option in help_text for option in options), options


def test_files_and_targets_that_are_named_exist():
    makefile = (ROOT / 'Makefile').read_text()
    for target in re.findall(r'make ([a-z-]+)\b', README):
        assert re.search(rf'^{target}:', makefile, re.M), target
    for path in re.findall(r'\]\(([^)h][^)]*)\)|(configs/\S+\.py)|(tools/\S+\.(?:py|sh))', README):
        assert (ROOT / ''.join(path).partition('#')[0]).exists(), path
