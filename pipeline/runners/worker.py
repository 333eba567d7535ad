"""``albeam-worker``: a Beam worker process, which Flink starts for ``--workers PROCESS``."""

import argparse
import os
from collections.abc import Sequence

from pipeline.runners.gpus import DEVICES, parse_devices, pin_worker


def main(argv: Sequence[str] | None = None) -> None:
    """Get the services of the runner, as Beam's container contract says, and run the worker."""
    parser = argparse.ArgumentParser(prog="albeam-worker", description=__doc__)
    parser.add_argument("--id", required=True, help="id of this worker, given by the runner")
    parser.add_argument(
        "--provision_endpoint", required=True, help="address of the runner's provision service"
    )
    arguments, _ = parser.parse_known_args(argv)

    if os.environ.get(DEVICES):
        pin_worker(os.environ, parse_devices(os.environ[DEVICES]), arguments.id)

    import grpc
    from apache_beam.portability.api import beam_provision_api_pb2 as messages
    from apache_beam.portability.api import beam_provision_api_pb2_grpc as services
    from apache_beam.runners.worker import sdk_worker_main
    from google.protobuf import json_format, text_format

    channel = grpc.insecure_channel(arguments.provision_endpoint)
    # The runner identifies its workers by this header.
    answer = services.ProvisionServiceStub(channel).GetProvisionInfo(
        messages.GetProvisionInfoRequest(), metadata=(("worker_id", arguments.id),)
    )
    os.environ |= {
        "WORKER_ID": arguments.id,
        "CONTROL_API_SERVICE_DESCRIPTOR": text_format.MessageToString(answer.info.control_endpoint),
        "LOGGING_API_SERVICE_DESCRIPTOR": text_format.MessageToString(answer.info.logging_endpoint),
        "PIPELINE_OPTIONS": json_format.MessageToJson(answer.info.pipeline_options),
    }
    sdk_worker_main.main([])


if __name__ == "__main__":
    main()
