"""An S3 of our own on the loopback address: moto's server in a thread, with one bucket."""

from __future__ import annotations

import logging
from collections.abc import Iterator

import pytest

BUCKET = "nas-test"


def serving(patch: pytest.MonkeyPatch) -> Iterator[str]:
    """The address of an empty folder in the bucket; whatever is started meanwhile finds server and credentials.

    Args:
        patch: holds the environment; undone by whoever made it.
    """
    import boto3
    from moto.server import ThreadedMotoServer
    from s3fs import S3FileSystem

    logging.getLogger("werkzeug").setLevel(logging.ERROR)
    server = ThreadedMotoServer("127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    settings = {"AWS_ENDPOINT_URL": f"http://{host}:{port}", "AWS_DEFAULT_REGION": "us-east-1"}
    settings |= {"AWS_ACCESS_KEY_ID": "of-a-test", "AWS_SECRET_ACCESS_KEY": "of-a-test"}
    for name, value in settings.items():
        patch.setenv(name, value)
    S3FileSystem.clear_instance_cache()  # one that another test left in this process goes to that test's server
    boto3.client("s3").create_bucket(Bucket=BUCKET)
    yield f"s3://{BUCKET}/nas"
    server.stop()
