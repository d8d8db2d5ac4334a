"""Modules that train whole beside an adapter, such as a new head, and are saved with it."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from torch import nn

from .patterns import as_list, full_matches


def find_saved(model: nn.Module, patterns: str | Sequence[str]) -> list[str]:
    """List the modules that ``modules_to_save`` means.

    Args:
        model: Where to look.
        patterns: Names, or regular expressions that fully match them.

    Returns:
        Their names, without those inside of another one.

    Raises:
        ValueError: If a pattern matches none, or one has no parameters.
    """
    modules, names = {name: m for name, m in model.named_modules() if name}, []
    for pattern in as_list('modules_to_save', patterns):
        matched = full_matches('modules_to_save', pattern, modules)
        if not matched:
            raise ValueError(
                f'modules_to_save {pattern!r} matches no module of {type(model).__name__}; the '
                f'last ones are named {[*modules][-3:]}'
            )
        names += matched
    for name in names:
        if not any(True for _ in modules[name].parameters()):
            raise ValueError(f'modules_to_save {name!r} has no parameters to save')
    return [n for n in dict.fromkeys(names) if not is_inside(n.rpartition('.')[0], names)]


def is_inside(name: str, modules: Iterable[str]) -> bool:
    """Whether a name is that of one of the modules, or of something in one."""
    return any(f'{name}.'.startswith(f'{module}.') for module in modules)


def save_whole(model: nn.Module, names: Iterable[str]) -> None:
    """Let modules of a model train whole, and be saved with its adapter."""
    for name in names:
        module = model.get_submodule(name).requires_grad_(True)
        module.saved_with_adapter = True


def saved_modules(model: nn.Module) -> dict[str, nn.Module]:
    """The modules that train whole, by name."""
    return {n: m for n, m in model.named_modules() if getattr(m, 'saved_with_adapter', False)}
