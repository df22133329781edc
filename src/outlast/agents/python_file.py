"""Run the operator's Python: a file with agents, or a module by its name."""

import importlib.util
import sys
import threading
import traceback
from importlib.machinery import SourceFileLoader
from pathlib import Path
from types import CodeType, ModuleType

from outlast.model.error import Misconfigured


class _Source(SourceFileLoader):
    """Compiles a file each time: bytecode that is kept counts as current for a whole second."""

    def get_code(self, fullname: str) -> CodeType:
        path = self.get_filename(fullname)
        return self.source_to_code(self.get_data(path), path)


def run_file(file: Path) -> ModuleType:
    """Run a Python file as the module of its stem, anew each time. Raises Misconfigured."""
    name, origin = file.stem, str(file.resolve())
    known = sys.modules.get(name)
    if known is not None and getattr(known, "__file__", None) != origin:
        raise Misconfigured(f"{file}: a module {name} is already in use; rename the file")
    spec = importlib.util.spec_from_file_location(name, origin, loader=_Source(name, origin))
    assert spec is not None
    assert spec.loader is not None
    module = sys.modules[name] = importlib.util.module_from_spec(spec)
    try:
        spec.loader.exec_module(module)
    except BaseException as error:  # the file is the operator's code and may raise anything
        del sys.modules[name]
        _leave_if_interrupted(error)
        raise _failed_import(error, str(file), origin) from error
    return module


def _leave_if_interrupted(error: BaseException) -> None:
    """Exit on Ctrl-C at the start; at other times the file itself has raised it."""
    main = threading.current_thread() is threading.main_thread()
    if isinstance(error, KeyboardInterrupt) and main:
        raise error


def run_module(name: str) -> ModuleType:
    """Import a module by its name. Raises Misconfigured."""
    try:
        return importlib.import_module(name)
    except BaseException as error:  # as above
        _leave_if_interrupted(error)
        if isinstance(error, ModuleNotFoundError) and f"{name}.".startswith(f"{error.name}."):
            folder = Path.cwd()
            raise Misconfigured(
                f"{name}: there is no such module; looked in {folder} too"
            ) from error
        spec = sys.modules[name].__spec__ if name in sys.modules else None
        raise _failed_import(error, name, (spec and spec.origin) or "") from error


def _failed_import(error: BaseException, shown: str, origin: str) -> Misconfigured:
    frames = [f for f in traceback.extract_tb(error.__traceback__) if f.filename == origin]
    line = frames[-1].lineno if frames else getattr(error, "lineno", None)
    where = f"{shown}:{line}" if line else shown
    if isinstance(error, Misconfigured):
        return Misconfigured(f"{where}: {error.message}")
    return Misconfigured(f"{where}: {type(error).__name__}: {error}")
