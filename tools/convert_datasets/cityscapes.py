"""Convert the labels of Cityscapes (gtFine) to train ids."""

from soma.datasets.convert import main

if __name__ == '__main__':
    print(main('cityscapes', __doc__))
