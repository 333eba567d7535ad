"""Check every page: ``python -m deploy.docs.check``, which is ``make docs-check``.

Links and anchors lead somewhere, names of modules and paths exist, the generated pages are up to
date, and every block of code is one that a test runs or says why not.
"""

import shlex
import sys
from collections.abc import Iterator

from deploy.docs.generate import outdated
from deploy.docs.json_reference import undescribed
from deploy.docs.markdown import ROOT, Block, Page, pages, read_page
from deploy.docs.names import module_exists, modules_run, wrong_names

#: Languages of blocks that are run.
RUN = ("python", "console", "sh")
#: Programs with which an unlabelled block gives itself away as one to be run.
_PROGRAMS = {"albeam", "make", "pip", "python", "pytest", "docker", "git", "$"}
#: A changelog names what there was.
_HISTORY = "CHANGELOG.md"


def commands_of(block: Block) -> list[str]:
    """Return the commands of a ``sh`` or ``console`` block, continued lines joined."""
    lines = block.code.replace("\\\n", " ").splitlines()
    if block.language == "console":
        lines = [line.removeprefix("$ ") for line in lines if line.startswith("$ ")]
    return [line for line in lines if shlex.split(line, comments=True)]


def problems() -> Iterator[str]:
    """Yield what is wrong, a line each."""
    for page in pages():
        yield from (f"{page.name}: {problem}" for problem in page_problems(page))
    for name in outdated():
        yield f"{name}: not up to date; run make docs"
    for key in undescribed():
        yield f"{key}: no Attributes entry in the docstring describes this key of --json"


def page_problems(page: Page) -> Iterator[str]:
    """Yield what is wrong with a page."""
    yield from (f"link {target} leads nowhere" for target in page.links if not _leads(page, target))
    if page.name != _HISTORY:
        for span in page.spans:
            yield from (f"`{name}` does not exist" for name in wrong_names(span))
    for block in page.blocks:
        yield from (f"line {block.line}: {problem}" for problem in _block_problems(block))


def _leads(page: Page, target: str) -> bool:
    if target.startswith(("http://", "https://", "mailto:")):
        return True
    path, _, anchor = target.partition("#")
    file = (page.path.parent / path).resolve() if path else page.path
    if not file.exists() or not file.is_relative_to(ROOT):
        return False
    return not anchor or (file.suffix == ".md" and anchor in read_page(file).anchors)


def _block_problems(block: Block) -> Iterator[str]:
    for name in modules_run(block.code):
        if not module_exists(name):
            yield f"module {name} does not exist"
    if block.language in ("console", "sh") and not block.not_run:
        for command in commands_of(block):
            if shlex.split(command, comments=True)[0] != "albeam":
                yield f"no test can run {command!r}; put <!-- not run: REASON --> before the block"
    if block.language == "":
        first = block.code.split()[:1]
        if first and first[0] in _PROGRAMS:
            yield "the block has commands and no language; call it sh or console"
    if block.not_run and block.language not in RUN:
        yield "only blocks of python, console and sh are run; remove the comment before this one"


def main() -> int:
    """Print what is wrong; return 1 where anything is."""
    found = list(problems())
    for problem in found:
        print(problem, file=sys.stderr)
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
