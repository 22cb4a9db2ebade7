"""`tierwise dashboard`."""

import webbrowser
from collections.abc import Mapping

import click

from tierwise.server.commands.console import note
from tierwise.server.serving import run_dashboard as serve_dashboard
from tierwise.server.settings import Settings


def run_dashboard(settings: Settings, environ: Mapping[str, str], port: int, *, opens: bool) -> None:
    """Serve the page of usage until Ctrl-C, and open it in the browser if `opens`.

    Raises:
        TierwiseError: the database is unusable, or the port cannot be listened on.
    """

    def show(url: str) -> None:
        click.echo(url)
        note("Whoever has this address can read the usage until Ctrl-C ends it.")
        if opens and not webbrowser.open(url):
            note("No browser was found: open the address yourself.")

    serve_dashboard(settings, environ, port, show)
