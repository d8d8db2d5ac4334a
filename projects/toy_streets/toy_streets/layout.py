"""Draws a street at random: its cross-section, its houses, gardens and street furniture."""

import numpy as np

from .scene import LENGTH, Item, Scene, in_drawing_order
from .traffic import add_people, add_traffic


def sample_scene(rng: np.random.Generator) -> Scene:
    """Draws the geometry of a street; how it looks is left to a `Style`."""
    scene = _street(rng)
    items: list[Item] = []
    for side in (-1, 1):
        _frontage(items, scene, side, rng)
        _furniture(items, scene, side, rng)
    _signals(items, scene, rng)
    add_traffic(items, scene, rng)
    add_people(items, scene, rng)
    return Scene(**{**vars(scene), 'items': in_drawing_order(items, scene)})


def make_item(rng: np.random.Generator, kind: str, s: float, d: float, **kwargs) -> Item:
    """Returns an item whose variant, colours and details are drawn at random."""
    kwargs.setdefault('variant', int(rng.integers(1000)))
    tint = tuple(float(t) for t in rng.random(3))
    seed = int(rng.integers(2**31))
    return Item(kind, float(s), float(d), tint=tint, seed=seed, **kwargs)


def _street(rng: np.random.Generator) -> Scene:
    """Draws the cross-section and the sequence of slabs."""
    tracks = rng.random() < 0.5
    median = float(rng.uniform(6.2, 7.0)) if tracks else float(rng.choice([0, 0, 0, 2.5]))
    lanes = (1, 1) if tracks else tuple(int(n) for n in rng.choice([1, 1, 2], 2))
    lane_width = float(rng.uniform(3.1, 3.7))
    pavement = rng.uniform(2.2, 5.2, 2)
    verge = np.where(rng.random(2) < 0.6, np.maximum(pavement - 2.2, 0) * 0.7, 0)
    edges, junctions = [-2.0], []
    while edges[-1] < LENGTH:
        slab = len(edges) - 1
        due = edges[-1] > 14 and (not junctions or slab - junctions[-1] > 3)
        if due and rng.random() < 0.35:
            junctions.append(slab)
            edges.append(edges[-1] + float(rng.uniform(10, 14)))
        else:
            edges.append(edges[-1] + float(rng.uniform(9, 17)))
    return Scene(
        curvature=float(rng.choice([0, 1])) * float(rng.uniform(-1, 1)) / 220,
        lane_width=lane_width,
        lanes=lanes,
        median=median,
        tracks=tracks,
        parking=tuple(float(w) for w in 2.2 * (rng.random(2) < 0.6)),
        pavement=tuple(float(w) for w in pavement),
        verge=tuple(float(w) for w in verge),
        edges=tuple(edges),
        junctions=tuple(junctions),
        items=(),
        camera_d=median / 2 + lane_width * 0.5,
        seed=int(rng.integers(2**31)),
    )


def _frontage(items: list[Item], scene: Scene, side: int, rng: np.random.Generator) -> None:
    """Fills one side of the street with what stands behind the pavement."""
    urban = rng.uniform(0.3, 0.9)
    slabs = [k for k in range(len(scene.edges) - 1) if k not in scene.junctions]
    # Where walls and fences are wanted for sure, close enough to be seen.
    sure = dict(zip(rng.permutation(slabs[1:5])[:2], ('wall', 'fence'), strict=True))
    front = scene.front(side)
    common = rng.uniform(9, 22)
    for k in slabs:
        start, stop = scene.edges[k], scene.edges[k + 1]
        length = stop - start
        barrier = sure.get(k) if rng.random() < 0.55 else None
        if barrier is None and rng.random() < urban:
            height = common * rng.uniform(0.75, 1.3)
            extent = (length, height, rng.uniform(9, 14))
            items.append(make_item(rng, 'building', start, side * front, extent=extent))
            continue
        barrier = barrier or str(rng.choice(['wall', 'fence', 'hedge', 'none']))
        _garden(items, start, length, side, front, rng)
        if barrier != 'none':
            height = rng.uniform(1.3, 2.3) if barrier == 'wall' else rng.uniform(1.1, 2.0)
            barrier_at = side * (front + 0.1)
            extent = (length, height)
            items.append(make_item(rng, barrier, start, barrier_at, extent=extent))


def _garden(
    items: list[Item],
    start: float,
    length: float,
    side: int,
    front: float,
    rng: np.random.Generator,
) -> None:
    """Grass with trees and bushes, often a house set back."""
    setback = rng.uniform(5, 9)
    if rng.random() < 0.65:
        extent = (length * 0.75, rng.uniform(5, 8), 9.0)
        s = start + length * 0.12
        items.append(make_item(rng, 'building', s, side * (front + setback), extent=extent))
    for _ in range(int(rng.integers(1, 4))):
        kind = 'tree' if rng.random() < 0.7 else 'bush'
        size = rng.uniform(4, 9) if kind == 'tree' else rng.uniform(1, 2.2)
        d = side * (front + rng.uniform(1.5, setback - 1))
        items.append(make_item(rng, kind, start + rng.uniform(0, length), d, extent=(size,)))


def _furniture(items: list[Item], scene: Scene, side: int, rng: np.random.Generator) -> None:
    """Lamps, trees, signs, bins and parked bicycles on one pavement."""
    kerb, front = scene.kerb(side), scene.front(side)
    alley = rng.random() < 0.5
    s, step = rng.uniform(5, 14), rng.uniform(9, 15)
    while s < LENGTH - 20:
        items.append(make_item(rng, 'lamp', s, side * (kerb + 0.5), turn=-side * np.pi / 2))
        if alley:
            size = rng.uniform(5, 8.5)
            tree = make_item(rng, 'tree', s + step / 2, side * (kerb + 0.7), extent=(size,))
            items.append(tree)
        s += step * (2 if not alley else 1.5)
    for _ in range(int(rng.integers(2, 6))):
        s = rng.uniform(8, 50)
        items.append(make_item(rng, 'sign', s, side * (kerb + rng.uniform(0.3, 0.7))))
    for _ in range(int(rng.integers(0, 4))):
        s, d = rng.uniform(7, 40), side * rng.uniform(kerb + 0.4, kerb + 0.8)
        items.append(make_item(rng, str(rng.choice(['bin', 'bollard', 'bollard'])), s, d))
    for kind, chance in (('bicycle', 0.6), ('motorcycle', 0.45)):
        if rng.random() < chance:
            s, turn = rng.uniform(6, 20), rng.choice([0.8, 1.3, -1.3])
            for k in range(int(rng.integers(1, 4))):
                d = side * min(kerb + 1.0, front - 0.5)
                items.append(make_item(rng, kind, s + 0.9 * k, d, turn=turn))


def _signals(items: list[Item], scene: Scene, rng: np.random.Generator) -> None:
    """Traffic lights before every crossing, and sometimes one at a zebra crossing."""
    stops = [scene.edges[k] - 0.8 for k in scene.junctions]
    if rng.random() < 0.6:
        stops.append(float(rng.uniform(9, 30)))
    for s in stops:
        state = int(rng.integers(3))
        for side in (-1, 1):
            d = side * (scene.kerb(side) + 0.45)
            reach = float(rng.choice([0.0, 0.0, 4.0]))
            items.append(make_item(rng, 'signal', s, d, variant=state, extent=(reach,)))
