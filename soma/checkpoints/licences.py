"""Licences by the names that the Hugging Face Hub gives them."""

from __future__ import annotations

from urllib.parse import urlparse

from ..io.files import InputError

_NAMES = """
    afl-3.0 agpl-3.0 apache-2.0 artistic-2.0 bsd bsd-2-clause bsd-3-clause bsd-3-clause-clear
    bsl-1.0 c-uda cc cc0-1.0 cc-by-2.0 cc-by-2.5 cc-by-3.0 cc-by-4.0 cc-by-sa-3.0 cc-by-sa-4.0
    cc-by-nc-2.0 cc-by-nc-3.0 cc-by-nc-4.0 cc-by-nd-4.0 cc-by-nc-nd-3.0 cc-by-nc-nd-4.0
    cc-by-nc-sa-2.0 cc-by-nc-sa-3.0 cc-by-nc-sa-4.0 ecl-2.0 epl-1.0 epl-2.0 eupl-1.1 eupl-1.2
    gpl gpl-2.0 gpl-3.0 isc lgpl lgpl-2.1 lgpl-3.0 mit mpl-2.0 ms-pl ncsa openrail osl-3.0
    postgresql unlicense wtfpl zlib
"""
LICENCES = frozenset(_NAMES.split())


def licence_data(licence: str) -> dict[str, str]:
    """What the metadata of a model says of its licence.

    Args:
        licence: A name of ``LICENCES``, or the address of another licence's text.

    Raises:
        InputError: If it is neither.
    """
    if licence in LICENCES:
        return {'license': licence}
    address = urlparse(licence)
    if address.scheme == 'https' and address.netloc:
        name = address.path.strip('/').rpartition('/')[2] or address.netloc
        return {'license': 'other', 'license_name': name, 'license_link': licence}
    raise InputError(
        f'{licence!r} is no licence that the hub knows (apache-2.0, mit, cc-by-4.0, cc-by-nc-4.0 '
        '...): name one, or give the https:// address of its text'
    )
