"""What may be shown and kept of a URI that can hold secrets."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from urllib.parse import parse_qsl, quote, unquote, unquote_plus, urlencode

HIDDEN = "***"

# Parameters that say where something is. The value of every other one is hidden: no list of names
# that secrets have is ever complete.
_OPEN_PARAMETERS = frozenset(
    {
        *("host", "hostaddr", "port", "dbname", "database", "service", "schema", "search_path"),
        *("options", "charset", "driver", "sslmode", "ssl_mode", "mode", "cache", "uri"),
        *("timeout", "connect_timeout", "application_name", "region", "workspace"),
    }
)
_SECRET_VARIABLES = (
    "MLFLOW_TRACKING_PASSWORD",
    "MLFLOW_TRACKING_TOKEN",
    "AWS_SECRET_ACCESS_KEY",
    "AWS_SESSION_TOKEN",
)
_FILES = ("sqlite", "file")
_SHORTEST_SECRET = 3
_SHORTEST_TOKEN = 8
_URI = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*://[^\s'\"<>`|\\]+")
_WITHOUT_SCHEME = re.compile(r"^[^/\\@]*:[^/\\]*@")
_DELIMITERS = re.compile(r"[:/@?&=;#,\s]+")
_PATH_PARAMETER = re.compile(r"(;[^;=/?#]+=)[^;/?#]*")


def public_uri(uri: str) -> str:
    """A URI without user name, password, token or other secret that it may hold.

    What is before the last ``@`` goes, user names too, as many a token is given as one; so do
    fragments. Where an ``@`` may belong to a parameter, all but the scheme goes. Of the query's
    parameters those stay as they are that say where something is; the
    values of all others are hidden. A file path stays as it is. Doing it twice changes nothing, and
    two URIs of one place that differ in their secrets give the same text.
    """
    scheme, separator, rest = uri.partition("://")
    if not separator:
        return _WITHOUT_SCHEME.sub("", uri)
    if rest.startswith("/") and scheme.partition("+")[0] in _FILES:  # no host, so no user
        path, mark, query = rest.partition("?")
    else:
        # A password may itself hold @, /, ? and #, against the rules; databases take it.
        before, at, place = rest.rpartition("@")
        first, mark, behind = before.partition("?")
        if at and mark and ("@" not in first or "=" in behind):
            return f"{scheme}://{HIDDEN}"  # the @ may be a parameter's: no telling what is a host
        path, mark, query = place.partition("?")
        path = _PATH_PARAMETER.sub(rf"\1{HIDDEN}", path.partition("#")[0])
    return f"{scheme}://{path}{mark}{_public_query(query)}"


def public_text(text: str, *uris: str) -> str:
    """A text, such as a foreign library's message, without secrets of URIs and of the environment.

    Args:
        text: in which every URI is made public.
        uris: whose secrets are hidden wherever the text has them, in whatever form.
    """
    for uri in uris:
        text = text.replace(uri, public_uri(uri))
    secrets = {secret for uri in uris for secret in _secrets(uri)}
    secrets.update(value for name in _SECRET_VARIABLES if (value := os.environ.get(name)))
    for secret in sorted(secrets, key=len, reverse=True):  # a shorter one may be part of a longer
        if len(secret) >= _SHORTEST_SECRET:
            text = text.replace(secret, HIDDEN)
    return _URI.sub(lambda found: public_uri(found.group()), text)


def _public_query(query: str) -> str:
    shown = []
    for part in filter(None, query.partition("#")[0].split("&")):
        ((name, value),) = parse_qsl(part, keep_blank_values=True, separator="&")
        if "=" not in part:
            shown.append(HIDDEN)  # a bare value
        else:
            open_ = name.lower() in _OPEN_PARAMETERS
            shown.append(urlencode({name: value if open_ else HIDDEN}, safe="/:,*"))
    return "&".join(shown)


def _secrets(uri: str) -> Iterator[str]:
    """What `public_uri` takes away, as it is written, as it is meant, and as others write it."""
    rest = uri.partition("://")[2] or uri
    name, _, password = rest.rpartition("@")[0].partition(":")
    shown = set(_DELIMITERS.split(public_uri(uri)))
    if name.isalpha() and (password or len(name) < _SHORTEST_TOKEN):
        shown.add(name)  # a word is a name; hidden, it would be missed in messages
    found = {password, *_DELIMITERS.split(uri), *_DELIMITERS.split(unquote_plus(unquote(uri)))}
    for secret in found - shown:
        yield from (secret, unquote(secret), quote(unquote(secret), safe=""))
