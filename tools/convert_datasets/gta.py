"""Convert the labels of GTA V to train ids."""

from soma.datasets.convert import main

if __name__ == '__main__':
    print(main('gta', __doc__))
