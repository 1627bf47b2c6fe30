"""pluggy, as legion uses it: it finds the markers and keeps the order."""

from __future__ import annotations

import types

from collections.abc import Mapping

import pluggy


_FUNCTIONS = (types.FunctionType, types.MethodType)


class Markers(pluggy.PluginManager):
    """
    pluggy, which reads each attribute of a plugin once.

    It reads with care, as a property must not run; that is slow, and a criterion is
    mostly numbers and methods, of which it is plain that they have no marker.
    """

    def read(self, plugin: object) -> Mapping[str, pluggy.HookimplOpts | None]:
        """Return the markers of *plugin*, by attribute, for `register` too."""
        own = _own(plugin)
        self._markers = {
            name: (
                None
                if name[:2] == "__" or _is_plain(plugin, name, own)
                else super(Markers, self).parse_hookimpl_opts(plugin, name)
            )
            for name in dir(plugin)
        }
        return self._markers

    def parse_hookimpl_opts(
        self, plugin: object, name: str
    ) -> pluggy.HookimplOpts | None:
        """Return what was read of *plugin* a moment ago."""
        return self._markers.get(name)


def _own(plugin: object) -> Mapping[str, object]:
    """Return what *plugin* itself holds, without asking it."""
    try:
        found = object.__getattribute__(plugin, "__dict__")
    except AttributeError:
        return {}
    return found if isinstance(found, Mapping) else {}


def _is_plain(plugin: object, name: str, own: Mapping[str, object]) -> bool:
    """Tell a slot without a function and a bare function; where in doubt, False."""
    kind = type(plugin)
    for owner in kind.__mro__:
        if name in owner.__dict__:
            static = owner.__dict__[name]
            break
    else:
        return False
    if type(static) is types.MemberDescriptorType:
        try:
            return not isinstance(static.__get__(plugin, kind), _FUNCTIONS)
        except AttributeError:
            return True
    # What marks a function is in its own dict.
    return type(static) is types.FunctionType and not (static.__dict__ or name in own)
