"""Puts vehicles, cyclists and people into a street."""

import numpy as np

from .scene import Item, Scene

# Length in metres and share among the vehicles that fill the lanes.
_FILLERS = {'car': (4.6, 0.82), 'truck': (8.5, 0.06), 'bus': (11.5, 0.05), 'motorbike': (2.4, 0.07)}
_LENGTHS = {'car': 4.6, 'truck': 8.5, 'bus': 11.5, 'motorbike': 2.4, 'cyclist': 2.2}


def _item(rng: np.random.Generator, kind: str, s: float, d: float, turn: float = 0.0) -> Item:
    tint = tuple(float(t) for t in rng.random(3))
    numbers = rng.integers(2**31, size=2)
    variant, seed = int(numbers[0] % 1000), int(numbers[1])
    return Item(kind, float(s), float(d), float(turn), (1.0,), variant, tint, seed)


class _Lanes:
    """Which stretches of which lane are taken."""

    def __init__(self) -> None:
        self.taken: dict[float, list[tuple[float, float]]] = {}

    def free(self, d: float, start: float, stop: float) -> bool:
        return all(stop < a or start > b for a, b in self.taken.get(d, []))

    def take(self, d: float, start: float, stop: float) -> None:
        self.taken.setdefault(d, []).append((start, stop))


def add_traffic(items: list[Item], scene: Scene, rng: np.random.Generator) -> None:
    """Adds vehicles: first some of the rare kinds close by, then cars wherever there is room."""
    lanes = _Lanes()
    ahead = [scene.median / 2 + scene.lane_width * (k + 0.5) for k in range(scene.lanes[1])]
    oncoming = [-scene.median / 2 - scene.lane_width * (k + 0.5) for k in range(scene.lanes[0])]
    parked = [
        side * (scene.kerb(side) - 1.1) for side in (-1, 1) if scene.parking[int(side > 0)] > 0
    ]
    if scene.tracks and rng.random() < 0.9:
        _add_tram(items, rng)
    for kind, chance in (('bus', 0.5), ('truck', 0.5), ('motorbike', 0.5), ('cyclist', 0.6)):
        if rng.random() < chance:
            d = float(rng.choice(ahead + oncoming))
            near = {'bus': 10, 'truck': 9, 'motorbike': 6, 'cyclist': 5}[kind]
            near += 4 * (d > 0 and kind in ('bus', 'truck'))
            _drive(items, lanes, kind, rng.uniform(near, near + 16), d, rng)
    for k in scene.junctions[:1]:
        _add_crossing(items, scene, k, rng)
    for d in ahead + oncoming:
        s, gap = rng.uniform(9, 22), rng.uniform(4, 18)
        while s < 130:
            kind = str(rng.choice(list(_FILLERS), p=[share for _, share in _FILLERS.values()]))
            _drive(items, lanes, kind, s, d, rng)
            s += _LENGTHS[kind] + gap * rng.uniform(0.5, 1.5)
    for d in parked:
        s = rng.uniform(2, 9)
        while s < 120:
            if rng.random() < 0.75 and not _on_crossing(scene, s, s + 4.6):
                kind = 'truck' if rng.random() < 0.04 else 'car'
                turn = 0.0 if d > 0 or rng.random() < 0.3 else np.pi
                items.append(_item(rng, kind, s + _LENGTHS[kind] / 2, d, turn))
                s += _LENGTHS[kind] - 4.6
            s += rng.uniform(5.2, 6.5)


def _on_crossing(scene: Scene, start: float, stop: float) -> bool:
    return any(
        stop > scene.edges[k] - 2 and start < scene.edges[k + 1] + 1 for k in scene.junctions
    )


def _drive(
    items: list[Item], lanes: _Lanes, kind: str, s: float, d: float, rng: np.random.Generator
) -> None:
    """Puts a vehicle whose near end is at `s` into the lane at `d`, if there is room."""
    length = _LENGTHS[kind]
    if not lanes.free(d, s - 1.5, s + length + 1.5):
        return
    lanes.take(d, s, s + length)
    aside = {'cyclist': 0.9, 'motorbike': 0.3}.get(kind, 0.0) * np.sign(d) + rng.uniform(-0.2, 0.2)
    turn = (0.0 if d > 0 else np.pi) + rng.uniform(-0.05, 0.05)
    items.append(_item(rng, kind, s + length / 2, d + aside, turn))


def _add_tram(items: list[Item], rng: np.random.Generator) -> None:
    """Adds a tram of two or three sections on one of the two tracks."""
    away = bool(rng.random() < 0.45)
    count = int(rng.integers(2, 4))
    s = rng.uniform(9, 26) + 4.5
    tint = tuple(float(t) for t in rng.random(3))
    for k in range(count):
        end = -1 if k == 0 else 1 if k == count - 1 else 0
        # Section -1 has its cab behind, in its own direction of travel.
        end = end if away else -end
        turn = 0.0 if away else np.pi
        d = 1.6 if away else -1.6
        items.append(Item('tram', float(s + 9.1 * k), d, turn, (1.0,), end, tint, 0))


def _add_crossing(items: list[Item], scene: Scene, slab: int, rng: np.random.Generator) -> None:
    """Adds one or two vehicles, and people, that cross the street on a junction."""
    start, stop = scene.edges[slab], scene.edges[slab + 1]
    kinds = ['car', 'car', 'bus', 'truck', 'motorbike', 'cyclist', 'cyclist']
    for lane, turn in ((0.3, np.pi / 2), (0.72, -np.pi / 2)):
        if rng.random() < 0.55:
            kind = str(rng.choice(kinds))
            s = start + (stop - start) * lane
            items.append(_item(rng, kind, s, rng.uniform(-12, 12), turn + rng.uniform(-0.1, 0.1)))
    for _ in range(int(rng.integers(0, 4))):
        d = rng.uniform(-scene.kerb(-1), scene.kerb(1))
        turn = float(rng.choice([-1, 1])) * np.pi / 2
        items.append(_item(rng, 'person', start - rng.uniform(0.2, 2.0), d, turn))


def add_people(items: list[Item], scene: Scene, rng: np.random.Generator) -> None:
    """Adds people on the pavements and cyclists beside the kerb."""
    for side in (-1, 1):
        kerb, front = scene.kerb(side), scene.front(side)
        for _ in range(int(rng.integers(2, 8))):
            s = 6 + 44 * rng.random() ** 1.3
            low = kerb + max(0.7, scene.verge[int(side > 0)])
            d = side * rng.uniform(low, front - 0.4)
            turn = rng.choice([0, np.pi]) + rng.choice([0, 0, 1.2, -1.2])
            items.append(_item(rng, 'person', s, d, turn))
            if rng.random() < 0.3:
                items.append(_item(rng, 'person', s + 0.2, d + 0.6, turn))
    if rng.random() < 0.25:  # somebody crosses in front
        d = rng.uniform(-scene.kerb(-1), scene.kerb(1))
        turn = float(rng.choice([-1, 1])) * np.pi / 2
        items.append(_item(rng, 'person', rng.uniform(7, 14), d, turn))
