"""The server of the page: on this machine alone by default, and it leaves nothing behind."""

from __future__ import annotations

import os
import socket
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from ipaddress import ip_address
from pathlib import Path
from types import ModuleType
from unittest import mock

from ...io.files import InputError
from .models import Site
from .page import Page
from .style import CSS, FONTS, MONO


def import_gradio() -> ModuleType:
    """Import gradio, told to send nothing to anybody.

    Raises:
        InputError: If it is not installed.
    """
    os.environ.update(GRADIO_ANALYTICS_ENABLED='False', HF_HUB_DISABLE_TELEMETRY='1')
    try:
        import gradio
    except ImportError as error:
        message = f"the page needs gradio ({error}): pip install -e '.[web]'"
        raise InputError(message) from error
    return gradio


def check_address(host: str, port: int) -> None:
    """Make sure that a page can be served somewhere, before models are loaded.

    Raises:
        InputError: If it cannot.
    """
    try:
        if not 0 < port < 2**16:
            raise OverflowError('it is none')
        family, *_, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
        with socket.socket(family) as server:
            server.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            server.bind(address)
    except (OSError, OverflowError) as error:
        reason = getattr(error, 'strerror', None) or error
        message = f'nothing can be served at {host}, port {port} ({reason})'
        raise InputError(f'{message}: choose another --host or --port') from error


def is_of_this_machine(host: str) -> bool:
    """Whether only this machine reaches what is served at an address."""
    with suppress(ValueError):
        return ip_address(host).is_loopback
    return host == 'localhost'


def allowed_hosts(host: str) -> list[str]:
    """The names by which a browser may ask for what is served at an address.

    On this machine alone they are its own: a page from elsewhere, whose name is made to lead here,
    cannot read what is shown.
    """
    names = ['localhost', '127.0.0.1', '[::1]', host]
    return names if is_of_this_machine(host) else ['*']


@contextmanager
def serving(site: Site, host: str = '127.0.0.1', port: int = 7860) -> Iterator[str]:
    """Serve a page as long as the body runs.

    Args:
        site: What it is made of.
        host: Address that it listens at.
        port: Likewise.

    Yields:
        Its address for a browser.

    Raises:
        InputError: If gradio is not installed, or nothing can be served there.
    """
    gr = import_gradio()
    from starlette.middleware import Middleware  # which gradio needs, too
    from starlette.middleware.trustedhost import TrustedHostMiddleware

    check_address(host, port)
    hosts = Middleware(TrustedHostMiddleware, allowed_hosts=allowed_hosts(host))
    with tempfile.TemporaryDirectory(prefix='soma_webui_') as folder:
        work = Path(folder).resolve()
        # uploads and all that gradio keeps
        with mock.patch.dict(os.environ, GRADIO_TEMP_DIR=str(work / 'gradio')):
            blocks = Page(gr, site, work).blocks
            blocks.queue(max_size=32, api_open=False)
            look = gr.themes.Default(primary_hue='teal', font=FONTS, font_mono=MONO)
            _, address, _ = blocks.launch(
                server_name=host,
                server_port=port,
                app_kwargs=dict(middleware=[hosts]),
                max_file_size=site.max_mb * 10**6,
                # nothing from outside, nothing to outside
                allowed_paths=[str(work)],
                share=False,
                mcp_server=False,
                enable_monitoring=False,
                run_history=False,
                ssr_mode=False,
                footer_links=[],
                theme=look,
                css=CSS,
                quiet=True,
                prevent_thread_lock=True,
                inbrowser=False,
                state_session_capacity=16,
            )
            try:
                yield address
            finally:
                blocks.close(verbose=False)
