"""The cases, a file a subject; importing this package fills the table."""

import importlib
import pathlib

for file in sorted(pathlib.Path(__file__).parent.glob("[a-z]*.py")):
    importlib.import_module(f"cases.{file.stem}")
