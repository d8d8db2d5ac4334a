"""Hooks of the site (`make docs`).

Links that leave docs/ lead to pages and files of the site. A reference page, which names a room of
the package (`::: soma.io`), shows each file of it.
"""

import posixpath
import re
from pathlib import Path

from mkdocs.structure.files import File

ROOT = Path(__file__).resolve().parents[1]
# What the docs link to outside of docs/. Folders of the package become pages of the reference.
LINKED = (
    *('CHANGELOG.md', 'CONTRIBUTING.md', 'CITATION.cff', 'LICENSE', 'configs/**/*.py'),
    *('configs/**/*.md', 'projects/*/*.md', 'checkpoints/README.md', 'data/README.md'),
)


def on_files(files, config):
    """Add what the docs link to, under the paths of the repository."""
    for path in sorted({path for pattern in LINKED for path in ROOT.glob(pattern)}):
        name = path.relative_to(ROOT).as_posix()
        files.append(File.generated(config, name, abs_src_path=str(path)))
    return files


def on_page_markdown(markdown, page, config, files):
    """Turn links between files of the repository into links between files of the site."""
    folder = Path(page.file.abs_src_path).parent.relative_to(ROOT).as_posix()

    def translate(match):
        path, hash_sign, anchor = match[1].partition('#')
        target = posixpath.normpath(posixpath.join(folder, path))
        target = re.sub(r'^soma/(\w+).*', r'reference/\1.md', target).removeprefix('docs/')
        link = posixpath.relpath(target, posixpath.dirname(page.file.src_uri) or '.')
        return f']({link}{hash_sign}{anchor})'

    markdown = re.sub(r'\]\((?!\w+:|#)([^)\s]+)\)', translate, markdown)
    return re.sub(r'^::: soma\.(\w+)$', _files_of_room, markdown, flags=re.M)


def on_page_content(html, page, config, files):
    """Show names in docstrings (:func:`~soma.io.read`) as code alone, and no double colons."""
    html = re.sub(
        r':(?:func|class|meth|attr):<code>~?(?:[\w.]*\.)?(\w+)</code>', r'<code>\1</code>', html
    )
    return html.replace('::</p>', ':</p>')


def _files_of_room(match):
    paths = sorted((ROOT / 'soma' / match[1]).rglob('[!_]*.py'))
    names = ['.'.join(path.relative_to(ROOT).with_suffix('').parts) for path in paths]
    options = 'members: false, show_root_heading: false, show_root_toc_entry: false'
    introduction = f'::: soma.{match[1]}\n    options: {{{options}}}'
    return '\n\n'.join([introduction, *(f'::: {name}' for name in names)])
