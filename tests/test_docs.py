"""What the README, the docs and the READMEs of folders show exists, parses and runs."""

import argparse
import re
import runpy
import shlex
import sys
from pathlib import Path

import pytest
import yaml

import soma.utils.cli  # noqa: F401, whose parsers are patched
from soma.utils.config import REPOSITORY

DOCS = sorted(
    {
        path.relative_to(REPOSITORY).as_posix()
        for pattern in ('*.md', '*/README.md', 'configs/*/*.md', 'projects/*/*.md', 'docs/**/*.md')
        for path in REPOSITORY.glob(pattern)
    }
)
CURRENT = [name for name in DOCS if not name.startswith(('docs/notes/', 'CHANGELOG'))]
# Their Python blocks stand alone; those of add_*.md run in test_guides.py.
RUN = ['README.md', 'docs/user_guides/methods.md']


def read(name):
    return (REPOSITORY / name).read_text()


def blocks(name, language):
    text = re.sub(r'^ +(?=```)', '', read(name), flags=re.MULTILINE)
    return re.findall(rf'^```{language}\n(.*?)^```', text, re.DOTALL | re.MULTILINE)


def commands(name):
    """The command lines of Python scripts, in blocks and in running text."""
    text = '\n'.join(blocks(name, 'bash')).replace('\\\n', ' ')
    lines = re.findall(r'^(?:\w+=\S* )*python (\S+\.py\b.*)$', text, re.MULTILINE)
    lines += re.findall(r'`python (\S+\.py\b[^`]*)`', read(name))
    return [shlex.split(line, comments=True) for line in lines]


COMMANDS = sorted({(*command, name) for name in CURRENT for command in commands(name)})


class Parsed(Exception):
    """A script has read its command line."""


@pytest.fixture
def parse(monkeypatch):
    """Run a script until it has read its command line."""

    def stop_after(method):
        def parse_args(*args, **kwargs):
            method(*args, **kwargs)
            raise Parsed

        return parse_args

    monkeypatch.setattr('soma.utils.cli.check_config_file', Path)  # they need not be there

    def run(script, *arguments):
        for parser in (argparse.ArgumentParser, *argparse.ArgumentParser.__subclasses__()):
            if 'parse_args' in vars(parser):
                monkeypatch.setattr(parser, 'parse_args', stop_after(parser.parse_args))
        # One that only hands over would replace this process.
        alias = re.match(r'"""The same as ``(.+)``', read(script))
        script = alias[1] if alias else script
        monkeypatch.setattr(sys, 'argv', [script, *arguments])
        monkeypatch.syspath_prepend(str((REPOSITORY / script).parent))
        with pytest.raises(Parsed):
            runpy.run_path(str(REPOSITORY / script), run_name='__main__')

    return run


@pytest.mark.parametrize('command', COMMANDS, ids=' '.join)
def test_commands_parse(command, parse):
    *command, _ = command
    parse(*command)


def test_commands_are_found():
    scripts = {command[0] for command in COMMANDS}
    assert len(scripts) > 15 and {'tools/train.py', 'tools/test.py'} <= scripts


def test_wrong_command_does_not_parse(parse):
    with pytest.raises(SystemExit):
        parse('tools/train.py', 'config.py', '--no-such-option')


@pytest.mark.parametrize('name', RUN)
def test_python_blocks_run(name):
    assert blocks(name, 'python')
    for block in blocks(name, 'python'):
        exec(compile(block, name, 'exec'), {})


@pytest.mark.parametrize('name', [name for name in DOCS if blocks(name, 'python')])
def test_python_blocks_are_python(name):
    for block in blocks(name, 'python'):
        compile('if True:\n' * block.startswith(' ') + block, name, 'exec')


def anchors(path):
    """The anchors of a Markdown file's headings, as GitHub makes them."""
    headings = re.findall(r'^#+ (.*)$', path.read_text(), re.MULTILINE)
    return {re.sub(r'[^\w\- ]', '', heading.lower()).replace(' ', '-') for heading in headings}


@pytest.mark.parametrize('name', DOCS)
def test_links_lead_somewhere(name):
    for link in re.findall(r'\]\((?!\w+:)([^)\s]+)\)', read(name)):
        path, _, anchor = link.partition('#')
        target = (REPOSITORY / name).parent / path if path else REPOSITORY / name
        assert target.exists(), link
        assert not anchor or anchor in anchors(target), link


@pytest.mark.parametrize('name', CURRENT)
def test_files_and_targets_that_are_named_exist(name):
    text = re.sub(r'^\| before \|.*\n(?:\|.*\n)*', '', read(name), flags=re.MULTILINE)
    targets = re.findall(r'^([a-z-]+):', read('Makefile'), re.MULTILINE)
    named = re.findall(r'(?:`|^)make ([a-z]+(?:-[a-z]+)*)\b', text, re.MULTILINE)
    assert {*named} <= {*targets}
    folders = 'soma|tools|configs|docs|benchmarks|projects|tests'
    for path in re.findall(rf'(?<![\w./(-])((?:{folders})/[\w./-]*\w\.(?:py|md|sh|yml))\b', text):
        beside = (REPOSITORY / name).parent / path
        assert (REPOSITORY / path).exists() or beside.exists(), path


@pytest.mark.parametrize('script', ['train', 'test'])
def test_options_that_are_listed_are_known(script, monkeypatch, capsys):
    sections = re.split(r'^## ', read('docs/user_guides/train_and_test.md'), flags=re.MULTILINE)
    (section,) = (text for text in sections if text.lower().startswith(f'{script}\n'))
    options = re.findall(r'^\| `(--[a-z-]+)', section, re.MULTILINE)
    monkeypatch.setattr(sys, 'argv', [script, '--help'])
    with pytest.raises(SystemExit, match='0'):
        runpy.run_path(str(REPOSITORY / f'tools/{script}.py'), run_name='__main__')
    known = re.findall(r'--[a-z-]+', capsys.readouterr().out)
    assert len(options) > 4 and {*options} <= {*known}


def test_readme_is_short_and_shows_before_it_explains():
    lines = read('README.md').splitlines()
    assert len(lines) <= 110
    image = next(i for i, line in enumerate(lines) if line.startswith('!['))
    command = lines.index('```bash')
    assert image < command < lines.index('## What is different here')


def test_site_shows_every_page_and_room():
    settings = yaml.safe_load(read('mkdocs.yml'))

    def pages(nav):
        for entry in nav:
            for page in entry.values():
                yield from [page] if isinstance(page, str) else pages(page)

    shown = set(pages(settings['nav']))
    own = {name.removeprefix('docs/') for name in DOCS if name.startswith('docs/')}
    assert own <= shown and all((REPOSITORY / name).is_file() for name in shown - own)
    rooms = {path.parent.name for path in (REPOSITORY / 'soma').glob('*/__init__.py')}
    assert {f'reference/{room}.md' for room in rooms} <= shown
