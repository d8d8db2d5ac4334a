# A smoke test on the toy streets of `make demo`, which makes them: minutes, no download
_FILE = '../../toy_streets/configs/{}_dinov2-toy_semfpn_gta2all_256x256.py'
_DATA = '../../toy_streets/configs/_base_/datasets/{}.py'

methods = {name: dict(config=_FILE.format(name)) for name in ('frozen', 'full', 'lora', 'soma')}
settings = dict(
    gta=dict(
        source=_DATA.format('toy_gta_256x256'),
        target=_DATA.format('toy_domains'),
        title='the toy GTA',
    )
)
seeds = [0, 1]
iterations = 50
baselines = ['frozen']
introduction = '# Does it run?\n\n{iterations} iterations on toy streets{spread}. {methods}'
