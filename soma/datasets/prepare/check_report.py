"""Says what was found in the data of a config."""

from __future__ import annotations

import os
from collections import Counter
from pathlib import Path

from rich.table import Table

from ...io.files import write_json
from ..coco_files import write_part
from ..lists import write_names
from .check import Part
from .check_files import Fault
from .counts import save_counts_chart


def parts_table(parts: list[Part]) -> Table:
    """Make a table: a row a dataset, with the number of each kind of fault."""
    counted = [Counter(fault.kind for fault in part.faults) for part in parts]
    kinds = list(dict.fromkeys(kind for counter in counted for kind in counter))
    table = Table()
    table.add_column('data')
    for title in ('images', 'good', *kinds):
        table.add_column(title, justify='right')
    for part, counter in zip(parts, counted, strict=True):
        good = len(part.pairs) - len(part.bad)
        cells = [len(part.pairs), good, *(counter[kind] or '-' for kind in kinds)]
        table.add_row(part.name, *map(str, cells))
    return table


def fault_lines(parts: list[Part]) -> list[str]:
    """Name the first faults of each kind in each dataset, those that break training first.

    Of those that do not, one is named, with their number.
    """
    kinds: dict[tuple, list[Fault]] = {}
    for part in parts:
        for fault in part.faults:
            kinds.setdefault((not fault.breaks, part.name, fault.kind), []).append(fault)
    lines = [f'warning: {part.name}: {note}' for part in parts for note in part.notes]
    for (harmless, name, kind), faults in sorted(kinds.items()):
        if harmless:
            more = f' ({len(faults)} such in {name}, see report.json)' if len(faults) > 1 else ''
            lines.append(f'warning: {faults[0].file}: {faults[0].text}{more}')
            continue
        lines += [f'error: {fault.file}: {fault.text}' for fault in faults[:3]]
        if len(faults) > 3:
            lines.append(f'error: {name}: {kind}: {len(faults) - 3} more, see report.json')
    return lines


def write_report(parts: list[Part], folder: Path) -> None:
    """Write ``report.json`` and ``classes.png``, the share of each class in each dataset."""
    content = {
        part.name: {
            'images': len(part.pairs),
            'good': len(part.pairs) - len(part.bad),
            'faults': [fault._asdict() for fault in part.faults],
            'notes': part.notes,
            'labels': part.counts.to_dict(),
        }
        for part in parts
    }
    write_json(content, folder / 'report.json')
    save_counts_chart(folder / 'classes.png', {part.name: part.counts for part in parts})


def write_good_lists(parts: list[Part], folder: Path) -> list[str]:
    """Write a list of the good pairs of each dataset that has bad ones and good ones.

    A COCO file is written again, without the bad images and entries.

    Returns:
        The options (``--cfg-options``) with which a config uses the lists.
    """
    options, read = [], {os.path.realpath(part.ann_file) for part in parts if part.ann_file}
    for part in parts:
        good = [index for index in range(len(part.names)) if index not in part.bad]
        if good and (part.bad or (part.coco and part.coco.faults)):
            name, suffix = part.name.replace(' ', '_'), '.json' if part.coco else '.txt'
            while os.path.realpath(folder / f'{name}{suffix}') in read:
                name += '_good'
            path = (folder / f'{name}{suffix}').resolve()
            if part.coco:
                write_part(part.coco, [part.pairs[index].entry for index in good], path)
            else:
                write_names(path, [part.names[index] for index in good])
            options += [f'{place}.ann_file={path}' for place in part.places]
    return options
