from mmengine.registry import TRANSFORMS


def test_the_domain_is_packed():
    results = dict(img_path='map/citys/fog.png', domain='rain', ori_shape=(1, 2), extra=1)
    sample = TRANSFORMS.build(dict(type='PackDomainInputs'))(results)['data_samples']
    assert sample.domain == 'rain' and sample.ori_shape == (1, 2) and 'extra' not in sample
    packer = TRANSFORMS.build(dict(type='PackDomainInputs', meta_keys=('extra',)))
    sample = packer(results)['data_samples']
    assert sample.domain == 'rain' and sample.extra == 1 and 'ori_shape' not in sample
