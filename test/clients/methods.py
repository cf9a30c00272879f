"""Which methods of a client's resources were called, so that none is left out of a script without a word."""

import functools


class Methods:
    """Counts calls of all public methods of these resources' classes."""

    def __init__(self, **resources):
        self.uncalled = set()
        for path, resource in resources.items():
            kind = type(resource)
            for name, method in vars(kind).items():
                if name.startswith(("_", "with_")) or not callable(method):
                    continue
                self.uncalled.add(f"{path}.{name}")
                setattr(kind, name, self._counted(f"{path}.{name}", method))

    def _counted(self, name, method):
        @functools.wraps(method)
        def called(*args, **kwargs):
            self.uncalled.discard(name)
            return method(*args, **kwargs)

        return called
