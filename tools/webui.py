"""Look at what a model, or two side by side, see in images, on a page in the browser."""

import argparse
import sys
import threading
from contextlib import suppress

from soma.utils.cli import ScriptParser, add_base, add_checkpoint, add_trust, command


def parse_args() -> argparse.Namespace:
    """Read the command line."""
    parser = ScriptParser(__doc__)
    parser.add_file('config', 'config file, of a segmentor or a detector')
    add_checkpoint(parser)
    add_base(parser)
    parser.add_argument('--compare', metavar='PATH', help='checkpoint of a second model')
    parser.add_argument('--compare-config', metavar='PATH', help='its config (default: CONFIG)')
    parser.add_argument('--folder', metavar='PATH', help='images and videos to choose from')
    parser.add_argument(
        '--host', default='127.0.0.1', help='address to listen at (%(default)s: this machine alone)'
    )
    parser.add_argument('--port', type=int, default=7860, help='(%(default)s)')
    parser.add_argument('--device', help='cpu, cuda:0 ...; the first GPU if there is one')
    parser.add_argument(
        '--max-pixels', type=int, default=16_000_000, metavar='N', help='of an image (%(default)s)'
    )
    parser.add_argument(
        '--max-mb', type=int, default=64, metavar='N', help='of an uploaded file (%(default)s)'
    )
    add_trust(parser)
    args = parser.parse_args()
    if args.compare_config and not args.compare:
        parser.error('--compare-config belongs to --compare')
    if min(args.max_pixels, args.max_mb) < 1:
        parser.error('--max-pixels and --max-mb must be at least 1')
    return args


def main() -> None:
    """Load the models, serve the page."""
    args = parse_args()
    # here, so that --help need not wait
    from soma.inference.webui.models import Site, find_media, load_models
    from soma.inference.webui.server import (
        check_address,
        import_gradio,
        is_of_this_machine,
        serving,
    )
    from soma.utils.jobs import interrupt_on_signals

    interrupt_on_signals()  # so that temporary files are removed
    with command(args.trust):
        import_gradio()  # what is wrong is said before models load
        check_address(args.host, args.port)
        media = find_media(args.folder)
        files = [(args.config, args.checkpoint)]
        if args.compare:
            files.append((args.compare_config or args.config, args.compare))
        models = load_models(files, args.base, args.force, args.device)
        site = Site(models, media, args.max_pixels, args.max_mb)
        if not is_of_this_machine(args.host):
            everyone = 'everyone who reaches this machine can use the page, without a password'
            sys.stderr.write(f'warning: at {args.host} {everyone}\n')
        with serving(site, args.host, args.port) as address, suppress(KeyboardInterrupt):
            print(f'{address} shows {" and ".join(site.titles)}; Ctrl-C ends it', flush=True)
            threading.Event().wait()


if __name__ == '__main__':
    main()
