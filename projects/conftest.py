"""The projects' tests share what those of the package do."""

from tests.conftest import (  # noqa: F401
    _configs_are_not_laid_out,
    _processes_start_as_for_users,
    _repeatable,
    build_runner,
    make_tiny,
    no_charts,
    public_file,
    run_here,
    street_data,
    tiny_config,
)
