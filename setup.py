"""Puts what OpenMIM reads into the wheel: configs and scripts, at soma/.mim."""

import shutil
from pathlib import Path

from setuptools import setup
from setuptools.command.build_py import build_py


class BuildWithConfigs(build_py):
    """Copies them beside the package's own files; an editable install needs no copy."""

    def run(self):
        super().run()
        if self.editable_mode:
            return
        target = Path(self.build_lib) / 'soma' / '.mim'
        for folder in ('configs', 'tools'):
            ignore = shutil.ignore_patterns('__pycache__')
            shutil.copytree(folder, target / folder, ignore=ignore, dirs_exist_ok=True)
        shutil.copy('model-index.yml', target)


setup(cmdclass={'build_py': BuildWithConfigs})
