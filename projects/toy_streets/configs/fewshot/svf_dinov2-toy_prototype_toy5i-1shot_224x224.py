# SVF on toy episodes (make_toy_episodes.py data/toy_episodes), 1 shot
_base_ = [
    '../../../../configs/_base_/models/dinov2-S_prototype.py',
    '../_base_/datasets/toy_episodes.py',
    '../_base_/schedules/toy_episodes.py',
    '../../../../configs/_base_/default_runtime.py',
]
model = dict(
    data_preprocessor=dict(size=(224, 224)),
    backbone=dict(
        arch=dict(_delete_=True, embed_dim=64, depth=6, num_heads=2),
        img_size=224,
        out_indices=(5,),
        adapter=dict(type='SVF', start_block=0),
        init_cfg=dict(checkpoint='projects/toy_streets/dinov2_toy14_pretrain.safetensors'),
    ),
)
