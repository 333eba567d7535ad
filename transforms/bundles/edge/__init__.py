"""The parts of ``ask.py`` that albeam itself does not need; see `transforms.bundles.ask_script`.

Their imports of albeam's modules stand for the type checker and for tests: in ``ask.py`` all parts
are one file.
"""
