"""Check the boxes of Diverse Weather, or write clean ones to another folder."""

import sys

from conversion import main

if __name__ == '__main__':
    sys.exit(main('diverseWeather', __doc__, subset=False))
