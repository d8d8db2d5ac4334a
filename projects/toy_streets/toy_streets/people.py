"""People, bicycles and motorcycles, as flat figures in the plane z = 0 that face the camera."""

from functools import lru_cache

from .mesh import Mesh, MeshBuilder, disc, limb

PERSON, RIDER, MOTORCYCLE, BICYCLE = 11, 12, 17, 18
# Slots of a person's palette ...
SKIN, TOP, TROUSERS, SHOES, HAIR, BAG = range(6)
# ... and, after them, of a machine's.
FRAME, TYRE, METAL, SEAT, HEADLIGHT, TAILLIGHT = range(6, 12)

POSES = ('walk0', 'walk1', 'walk2', 'front0', 'front1', 'stand')


@lru_cache
def person(pose: str, bag: bool = False, skirt: bool = False) -> Mesh:
    """A person 1.75 m tall in one of `POSES`; walking figures look to the right."""
    mesh = MeshBuilder(PERSON)
    if pose.startswith('walk'):
        _walker(mesh, {'0': 0.34, '1': 0.2, '2': 0.44}[pose[-1]], bag, skirt)
    else:
        _facing(mesh, {'front0': 0.07, 'front1': -0.07, 'stand': 0.0}[pose], bag, skirt)
    return mesh.build()


def _walker(mesh: MeshBuilder, stride: float, bag: bool, skirt: bool) -> None:
    hip, neck = (0.0, 0.92), (0.05, 1.45)
    back_knee, front_knee = (-stride * 0.25, 0.5), (stride * 0.65, 0.52)
    back_foot, front_foot = (-stride * 1.1, 0.1), (stride * 0.95, 0.06)
    mesh.add(limb(neck, (stride * 0.55, 1.12), 0.11), TOP)
    mesh.add(limb((stride * 0.55, 1.12), (stride * 0.9, 1.0), 0.09), SKIN)
    mesh.add(limb(hip, back_knee, 0.19, 0.14), TROUSERS)
    mesh.add(limb(back_knee, back_foot, 0.14, 0.1), TROUSERS)
    mesh.add(limb(back_foot, (back_foot[0] + 0.16, back_foot[1] - 0.05), 0.1), SHOES)
    mesh.add(limb(hip, front_knee, 0.2, 0.15), TROUSERS)
    mesh.add(limb(front_knee, front_foot, 0.15, 0.1), TROUSERS)
    mesh.add(limb(front_foot, (front_foot[0] + 0.18, front_foot[1]), 0.1), SHOES)
    if skirt:
        mesh.add([(-0.14, 1.0), (0.16, 1.0), (0.3, 0.5), (-0.26, 0.5)], TROUSERS)
    mesh.add(limb((0.0, 0.95), (0.03, 1.36), 0.28, 0.34), TOP)
    if bag:
        mesh.add(limb((-0.2, 1.02), (-0.16, 1.36), 0.2, 0.22), BAG)
    mesh.add(limb((0.0, 1.38), (-stride * 0.45, 1.1), 0.12), TOP)
    mesh.add(limb((-stride * 0.45, 1.1), (-stride * 0.3, 0.9), 0.09), SKIN)
    mesh.add(limb((0.04, 1.45), (0.05, 1.55), 0.1), SKIN)
    _head(mesh, 0.06, 1.64, 0.03)


def _facing(mesh: MeshBuilder, step: float, bag: bool, skirt: bool) -> None:
    for side in (-1, 1):
        lift = max(step * side, 0.0)
        foot, knee = (side * 0.11, 0.06 + lift), (side * 0.11, 0.5 + lift * 0.5)
        mesh.add(limb((side * 0.1, 0.92), knee, 0.19, 0.15), TROUSERS)
        mesh.add(limb(knee, foot, 0.15, 0.11), TROUSERS)
        mesh.add(limb(foot, (side * 0.14, foot[1] - 0.02), 0.13), SHOES)
        elbow = (side * 0.28, 1.14)
        mesh.add(limb((side * 0.2, 1.4), elbow, 0.12), TOP)
        mesh.add(limb(elbow, (side * 0.27, 0.9 + lift), 0.1, 0.08), SKIN)
    if skirt:
        mesh.add([(-0.17, 1.0), (0.17, 1.0), (0.28, 0.5), (-0.28, 0.5)], TROUSERS)
    mesh.add(
        [(-0.16, 0.9), (0.16, 0.9), (0.24, 1.38), (0.13, 1.47), (-0.13, 1.47), (-0.24, 1.38)], TOP
    )
    if bag:
        mesh.add(limb((0.3, 0.6), (0.3, 0.82), 0.24), BAG)
    mesh.add(limb((0, 1.44), (0, 1.54), 0.11), SKIN)
    _head(mesh, 0.0, 1.63, 0.0)


def _head(mesh: MeshBuilder, x: float, y: float, turn: float, label: int | None = None) -> None:
    mesh.add(disc(x - turn, y + 0.025, 0.125, 12, 0.85), HAIR, label=label)
    mesh.add(disc(x + turn * 0.6, y - 0.02, 0.105, 12, 0.82), SKIN, label=label)


@lru_cache
def bicycle(view: str, ridden: bool = False) -> Mesh:
    """A bicycle seen from the 'side' (its front to the right) or from its 'end', maybe ridden."""
    mesh = MeshBuilder(BICYCLE)
    if view == 'end':
        _end_on(mesh, ridden, wheel=0.68, width=0.07, bar=0.56, bar_height=1.02, bulk=0.0)
        return mesh.build()
    rear, front, crank = (-0.52, 0.34), (0.55, 0.34), (-0.08, 0.3)
    seat, head = (-0.22, 0.9), (0.36, 0.92)
    if ridden:
        _leg(mesh, (-0.2, 0.98), (0.12, 0.74), (-0.12, 0.38))
    for x, y in (rear, front):
        mesh.add(disc(x, y, 0.35, 20), TYRE, veil=0.97)
        mesh.add(disc(x, y, 0.29, 18), METAL, veil=0.3)
        mesh.add(disc(x, y, 0.05, 8), METAL)
    for start, end in (
        (rear, crank),
        (crank, head),
        (rear, seat),
        (crank, seat),
        (seat, head),
        (head, front),
    ):
        mesh.add(limb(start, end, 0.05), FRAME)
    mesh.add(limb(head, (0.34, 1.04), 0.045), METAL)
    mesh.add(limb((0.3, 1.06), (0.46, 1.04), 0.05), METAL)
    mesh.add(limb((-0.34, 0.95), (-0.1, 0.96), 0.08), SEAT)
    mesh.add(disc(*crank, 0.09, 10), METAL)
    if ridden:
        _leg(mesh, (-0.2, 1.0), (0.2, 0.84), (0.06, 0.5))
        _torso(mesh, (-0.2, 1.0), (0.12, 1.48), (0.42, 1.06))
    return mesh.build()


def _leg(mesh: MeshBuilder, hip: tuple, knee: tuple, foot: tuple) -> None:
    mesh.add(limb(hip, knee, 0.19, 0.14), TROUSERS, label=RIDER)
    mesh.add(limb(knee, foot, 0.14, 0.1), TROUSERS, label=RIDER)
    mesh.add(limb(foot, (foot[0] + 0.15, foot[1] - 0.02), 0.1), SHOES, label=RIDER)


def _torso(mesh: MeshBuilder, hip: tuple, neck: tuple, hand: tuple, helmet: bool = False) -> None:
    mesh.add(limb(hip, neck, 0.29, 0.33), TOP, label=RIDER)
    elbow = ((neck[0] + hand[0]) / 2 - 0.02, (neck[1] + hand[1]) / 2 - 0.09)
    mesh.add(limb((neck[0], neck[1] - 0.06), elbow, 0.12), TOP, label=RIDER)
    mesh.add(limb(elbow, hand, 0.1, 0.08), TOP if helmet else SKIN, label=RIDER)
    mesh.add(limb(neck, (neck[0] + 0.05, neck[1] + 0.1), 0.11), SKIN, label=RIDER)
    if helmet:
        mesh.add(disc(neck[0] + 0.08, neck[1] + 0.2, 0.16, 12), BAG, label=RIDER)
        mesh.add(
            limb((neck[0] + 0.15, neck[1] + 0.2), (neck[0] + 0.23, neck[1] + 0.19), 0.1),
            HAIR,
            label=RIDER,
        )
    else:
        _head(mesh, neck[0] + 0.08, neck[1] + 0.2, 0.03, RIDER)


@lru_cache
def motorcycle(view: str, ridden: bool = False, scooter: bool = False) -> Mesh:
    """A motorcycle seen from the 'side' (its front to the right) or from its 'end'."""
    mesh = MeshBuilder(MOTORCYCLE)
    if view == 'end':
        _end_on(mesh, ridden, wheel=0.62, width=0.17, bar=0.78, bar_height=1.05, bulk=0.4)
        return mesh.build()
    radius = 0.24 if scooter else 0.32
    rear, front = (-0.66, radius), (0.7, radius)
    for x, y in (rear, front):
        mesh.add(disc(x, y, radius, 16), TYRE)
        mesh.add(disc(x, y, radius * 0.58, 12), METAL)
        mesh.add(disc(x, y, radius * 0.2, 8), TYRE)
    if scooter:
        mesh.add([(-0.9, 0.55), (-0.85, 0.35), (-0.1, 0.25), (0.4, 0.25), (0.5, 0.95), (0.4, 1.0),
                  (0.3, 0.42), (-0.05, 0.42), (-0.15, 0.75), (-0.85, 0.75)], FRAME)  # fmt: skip
    else:
        mesh.add([(-0.5, 0.3), (0.25, 0.26), (0.35, 0.6), (-0.4, 0.66)], METAL)
        mesh.add(
            [(-0.25, 0.7), (0.0, 0.94), (0.3, 0.98), (0.48, 0.8), (0.35, 0.6), (-0.2, 0.62)], FRAME
        )
        mesh.add([(-1.0, 0.86), (-0.55, 0.62), (-0.2, 0.66), (-0.25, 0.82)], FRAME)
        mesh.add(limb((-0.1, 0.3), (-0.85, 0.34), 0.1), METAL)
        mesh.add([(0.4, 0.7), (0.62, 0.78), (0.6, 1.05), (0.5, 1.3), (0.4, 1.0)], FRAME)
    mesh.add(limb((0.46, 0.98), front, 0.08), METAL)
    mesh.add(limb((-0.8, 0.84), (-0.15, 0.8), 0.13), SEAT)
    mesh.add(limb((0.28, 1.1), (0.46, 1.04), 0.06), TYRE)
    mesh.add(disc(0.6, 0.9, 0.09, 10), HEADLIGHT, glow=1.0)
    mesh.add(disc(-0.96, 0.78, 0.06, 8), TAILLIGHT, glow=0.8)
    if ridden:
        _torso(mesh, (-0.35, 0.95), (-0.05, 1.45), (0.36, 1.1), helmet=True)
        _leg(mesh, (-0.33, 0.92), (0.15, 0.74), (-0.05, 0.34))
    return mesh.build()


def _end_on(
    mesh: MeshBuilder,
    ridden: bool,
    wheel: float,
    width: float,
    bar: float,
    bar_height: float,
    bulk: float,
) -> None:
    """A two-wheeler seen from behind or ahead, with its rider."""
    mesh.add(limb((0, wheel - width / 3), (0, width / 3), width), TYRE)
    if bulk:
        mesh.add(
            [(-bulk / 2, 0.45), (bulk / 2, 0.45), (bulk * 0.42, 0.95), (-bulk * 0.42, 0.95)], FRAME
        )
        mesh.add(limb((0, 0.3), (0, 0.6), 0.24), METAL)
    else:
        mesh.add(limb((0, 0.4), (0, 0.98), 0.07), FRAME)
        mesh.add(limb((-0.1, 0.95), (0.1, 0.95), 0.1), SEAT)
        mesh.add(limb((-0.14, 0.3), (0.14, 0.3), 0.05), METAL)
    mesh.add(limb((-bar / 2, bar_height), (bar / 2, bar_height), 0.05), METAL)
    if ridden:
        spread = 0.13 + bulk * 0.35
        for side in (-1, 1):
            drop = 0.1 * (side > 0)
            mesh.add(
                limb((side * 0.09, 0.98), (side * spread, 0.62 + drop), 0.18, 0.14),
                TROUSERS,
                label=RIDER,
            )
            mesh.add(
                limb((side * spread, 0.62 + drop), (side * spread, 0.28 + drop), 0.13, 0.1),
                TROUSERS,
                label=RIDER,
            )
            mesh.add(
                limb((side * spread, 0.28 + drop), (side * spread * 1.1, 0.25 + drop), 0.12),
                SHOES,
                label=RIDER,
            )
            hand = (side * bar * 0.46, bar_height + 0.03)
            mesh.add(
                limb((side * 0.2, 1.4), (side * (bar * 0.46 + 0.03), 1.2), 0.12), TOP, label=RIDER
            )
            mesh.add(limb((side * (bar * 0.46 + 0.03), 1.2), hand, 0.1), TOP, label=RIDER)
        mesh.add(
            [(-0.17, 0.92), (0.17, 0.92), (0.25, 1.36), (0.13, 1.48), (-0.13, 1.48), (-0.25, 1.36)],
            TOP,
            label=RIDER,
        )
        mesh.add(limb((0, 1.44), (0, 1.54), 0.11), SKIN, label=RIDER)
        if bulk:
            mesh.add(disc(0, 1.64, 0.16, 12), BAG, label=RIDER)
        else:
            _head(mesh, 0, 1.63, 0.0, RIDER)
    if bulk:
        mesh.add(disc(0, 0.84, 0.09, 10), TAILLIGHT, glow=0.8)
    else:
        mesh.add(disc(0, 0.78, 0.04, 8), TAILLIGHT, glow=0.6)
