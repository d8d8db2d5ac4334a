"""The plan of the house: which room imports which, how long a file is, what names a method."""

import ast
from pathlib import Path

import pytest

from soma.adapters import ADAPTERS

PACKAGE = Path(__file__).parents[1] / 'soma'
ROOMS = (
    'io',
    'utils',
    'ops',
    'adapters',
    'models',
    'datasets',
    'checkpoints',
    'engine',
    'evaluation',
    'inference',
)
FILES = sorted(PACKAGE.rglob('*.py'))
TREES = {file: ast.parse(file.read_text()) for file in FILES}


def module_of(file):
    parts = file.relative_to(PACKAGE.parent).with_suffix('').parts
    return '.'.join(parts[:-1] if parts[-1] == '__init__' else parts)


MODULES = {module_of(file): file for file in FILES}


def imports(file, at_import=False):
    """Modules of the package that a file imports, those inside functions too by default."""
    package = module_of(file).split('.')
    package = package if file.name == '__init__.py' else package[:-1]
    nodes = ast.walk(TREES[file])
    if at_import:
        inside = {id(n) for f in functions(TREES[file]) for n in ast.walk(f)}
        nodes = (node for node in nodes if id(node) not in inside)
    for node in nodes:
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            base = package[: len(package) + 1 - node.level] if node.level else []
            base = '.'.join([*base, *filter(None, [node.module])])
            names = [f'{base}.{alias.name}' for alias in node.names]
            names = [name if name in MODULES else base for name in names]
        else:
            continue
        yield from (name for name in names if name in MODULES)


def functions(tree):
    return [n for n in ast.walk(tree) if isinstance(n, ast.FunctionDef | ast.AsyncFunctionDef)]


@pytest.mark.parametrize('room', ROOMS)
def test_a_room_imports_only_from_rooms_before_it(room):
    later = {name for name in ROOMS if ROOMS.index(name) > ROOMS.index(room)}
    wrong = {
        f'{file.relative_to(PACKAGE)} imports {module}'
        for file in (PACKAGE / room).rglob('*.py')
        for module in imports(file)
        if module.split('.')[1:2] and module.split('.')[1] in later
    }
    assert not wrong


def test_every_folder_is_a_room():
    folders = {path.name for path in PACKAGE.iterdir() if path.is_dir()} - {'__pycache__'}
    assert folders == set(ROOMS)


def test_no_circle_of_imports():
    """Packages are left out, whose ``__init__`` gathers names: files import from files."""
    graph = {
        module: {name for name in imports(file, at_import=True) if name != module}
        for module, file in MODULES.items()
        if file.name != '__init__.py'
    }
    graph = {module: names & graph.keys() for module, names in graph.items()}
    while free := {module for module, names in graph.items() if not names & graph.keys()}:
        graph = {module: names for module, names in graph.items() if module not in free}
    assert not graph


def test_files_import_from_the_file_that_defines_a_name():
    """A room's ``__init__`` is for users; within the package it would close circles."""
    wrong = {
        f'{file.relative_to(PACKAGE)} imports {module}'
        for file in FILES
        if file.name != '__init__.py'
        for module in imports(file, at_import=True)
        if MODULES[module].name == '__init__.py' and module != 'soma'
    }
    assert not wrong


def test_files_are_short_and_so_is_the_package():
    lines = {file: len(file.read_text().splitlines()) for file in FILES}
    assert not {str(file): count for file, count in lines.items() if count > 300}
    assert sum(lines.values()) <= 33_300


def strings(tree):
    """Texts in code: docstrings and parts of f-strings are left out."""
    scopes = (ast.Module, ast.ClassDef, ast.FunctionDef)
    skip = {id(n.body[0].value) for n in ast.walk(tree) if isinstance(n, scopes) and documented(n)}
    skip |= {id(v) for n in ast.walk(tree) if isinstance(n, ast.JoinedStr) for v in n.values}
    for node in ast.walk(tree):
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and id(node) not in skip:
            yield node.value


def documented(node):
    return bool(node.body) and ast.get_docstring(node) is not None


def test_no_file_but_its_own_names_a_method():
    """Neither as a text nor by what its file defines."""
    methods = PACKAGE / 'adapters/methods'
    wrong = set()
    for file in FILES:
        if methods in file.parents or file == PACKAGE / 'adapters/__init__.py':
            continue
        result = [name for text in strings(TREES[file]) for name in ADAPTERS if text == name]
        result += [m for m in imports(file) if m.startswith('soma.adapters.methods.')]
        if result:
            wrong.add(f'{file.relative_to(PACKAGE)}: {result}')
    assert not wrong


def test_the_package_names_no_toy():
    assert not [file for file in FILES if 'toy' in file.read_text().lower()]
