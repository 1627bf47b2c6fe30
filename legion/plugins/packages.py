"""Plugins that installed packages offer."""

from __future__ import annotations

from collections.abc import Container, Iterator

from ..exceptions import PluginError
from .seat import THE_HOSTS
from .wording import line


GROUP = "legion"


def offered(*, without: Container[str]) -> Iterator[tuple[str, object]]:
    """
    Yield name and plugin of every entry point in the group ``legion``.

    Args:
        without: Names that are not even imported.

    Raises:
        PluginError: One cannot be imported.
    """
    from importlib.metadata import entry_points

    found = {(point.name, point.value): point for point in entry_points(group=GROUP)}
    for (name, value), point in sorted(found.items()):
        if name in without:
            continue
        try:
            plugin = point.load()
        except THE_HOSTS:
            raise
        except BaseException as error:
            msg = (
                f"its entry point {value} cannot be imported ({line(error)}); mend or "
                f"uninstall the package, or block({name!r})"
            )
            raise PluginError(name, msg) from error
        yield name, plugin
