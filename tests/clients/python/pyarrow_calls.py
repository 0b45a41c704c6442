"""pyarrow: the AWS SDK for C++, which its S3 file system is built on."""

import functools
import os

from pyarrow.fs import FileSelector, S3FileSystem

from calls import run


@functools.cache
def file_system():
    return S3FileSystem(
        scheme="http",
        endpoint_override=os.environ["AWS_ENDPOINT_URL"].removeprefix("http://"),
        region="eu-west-1",
    )


run(lambda: [bucket.path for bucket in file_system().get_file_info(FileSelector(""))])
