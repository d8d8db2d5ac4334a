import math

import torch
from mmseg.models.losses import CrossEntropyLoss
from torch import nn

from soma.engine.amp import use_amp
from soma.io.checkpoint_files import read_checkpoint


def test_two_iterations_in_bfloat16_on_a_cpu(tiny_config, build_runner, monkeypatch):
    monkeypatch.setattr('torch.cuda.is_available', lambda: False)
    computed, losses, targets = set(), [], set()

    def look(module, x, y):
        if torch.is_grad_enabled():  # else it validates
            (computed if hasattr(module, 'weight') else targets).add(y.dtype)

    def watch(runner):
        for module in runner.model.modules():
            if isinstance(module, nn.Linear | nn.Conv2d | CrossEntropyLoss):
                module.register_forward_hook(look)

    def note(runner, batch_idx, data_batch=None, outputs=None):
        losses.append(outputs['loss'])

    use_amp(tiny_config)
    options = {'train_cfg.max_iters': 2, 'default_hooks.checkpoint.interval': 2}
    runner = build_runner(tiny_config, options, before_train=watch, after_train_iter=note)
    before = {name: value.clone() for name, value in runner.model.named_parameters()}
    runner.train()
    assert computed == {torch.bfloat16} and targets == {torch.float32}
    assert len(losses) == 2 and all(map(math.isfinite, losses))
    saved = read_checkpoint(f'{runner.work_dir}/iter_2.pth')
    tensors = [*saved['state_dict'].values()]
    for state in saved['optimizer']['state'].values():
        tensors += [state['exp_avg'], state['exp_avg_sq']]
    assert {value.dtype for value in tensors if value.is_floating_point()} == {torch.float32}
    name = 'backbone.blocks.2.attn.qkv.B'
    assert not torch.equal(saved['state_dict'][name], before[name])


def test_a_run_goes_on_in_another_precision(tiny_config, build_runner):
    options = {'train_cfg.max_iters': 2, 'default_hooks.checkpoint.interval': 2}
    build_runner(tiny_config, options).train()
    tiny_config.optim_wrapper.type = 'BFloat16OptimWrapper'
    runner = build_runner(tiny_config, {'resume': True})
    runner.train()
    assert runner.iter == 4
