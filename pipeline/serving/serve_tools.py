"""``albeam mcp``: the tools of a store over stdin and stdout, until stdin ends."""

import asyncio
import os

from pipeline.serving.libraries import check_libraries
from pipeline.serving.options import ServeOptions

#: The variable that has the key.
KEY = "ALBEAM_KEY"


def run(options: ServeOptions) -> None:
    """Serve the tools of the Model Context Protocol.

    Raises:
        BadInput: an option, a store or a model can't be used.
        NoKey: keys are needed, and the variable has none that is known.
        ImportError: a library of the extra is missing.
    """
    check_libraries("mcp", "fastapi", "prometheus_client")
    from pipeline.serving.core.keys import Keys
    from pipeline.serving.core.service import ANYONE, Service
    from pipeline.serving.http.app import known_names
    from pipeline.serving.http.context import known_access
    from pipeline.serving.http.logs import configure
    from pipeline.serving.http.problems import Scrubber
    from pipeline.serving.tools.server import make_tools

    configure(options.log)
    keys = None if options.keys is None else Keys(options.keys)
    presented = os.environ.get(KEY, "")
    if keys is not None:
        known_access(keys, presented)
    service = Service.open(options)
    scrub = Scrubber(known_names(service, options))

    server = make_tools(
        service, scrub, lambda _: ANYONE if keys is None else known_access(keys, presented)
    )
    try:
        asyncio.run(server.run_stdio_async())
    finally:
        service.close()
