"""Check the boxes of Diverse Weather, or write clean ones to another folder."""

import sys

from soma.utils.cli import parse_conversion

if __name__ == '__main__':
    args = parse_conversion('diverseWeather', __doc__, subset=False)
    from conversion import main  # here, so that --help need not wait

    sys.exit(main(args))
