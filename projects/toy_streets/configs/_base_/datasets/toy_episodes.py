# Toy episodes (make_toy_episodes.py data/toy_episodes), in the layout of PASCAL-5i
_base_ = '../../../../../configs/_base_/datasets/pascal5i.py'

classes = ['background']
for pattern in ('plain', 'banded', 'barred', 'checked'):
    classes += [f'{pattern} {hue}' for hue in ('red', 'yellow', 'green', 'blue', 'violet')]
toy = dict(
    type='DomainDataset',
    domain='toy',
    data_root='data/toy_episodes',
    metainfo=dict(classes=classes),
)
loader = dict(num_workers=0, persistent_workers=False)  # on two cores a worker takes its time
# 224 pixels are the files' own size
episode_pipeline = [_base_.episode_pipeline[i] for i in (0, 1, 3, 4)]
query_pipeline = [_base_.episode_pipeline[i] for i in (0, 1, 4)]
train_dataloader = dict(
    loader,
    batch_size=4,
    pin_memory=False,
    dataset=dict(dataset=dict(toy, pipeline=episode_pipeline)),
)
val_dataloader = dict(
    loader,
    dataset=dict(dataset=dict(toy, pipeline=query_pipeline), support_pipeline=query_pipeline),
)
test_dataloader = val_dataloader
