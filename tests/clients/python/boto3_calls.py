"""boto3: one client for all calls."""

import functools

import boto3

from calls import run


@functools.cache
def client():
    return boto3.client("sts")


run(lambda: client().get_caller_identity()["Arn"])
