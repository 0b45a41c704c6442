"""The AWS Common Runtime: its own default chain, in C, signs; the request goes out by urllib."""

import functools
import io
import os
import re
import urllib.request

from awscrt.auth import (
    AwsCredentialsProvider,
    AwsSignatureType,
    AwsSigningAlgorithm,
    AwsSigningConfig,
    aws_sign_request,
)
from awscrt.http import HttpHeaders, HttpRequest

from calls import run

ENDPOINT = os.environ["AWS_ENDPOINT_URL"]
BODY = b"Action=GetCallerIdentity&Version=2011-06-15"


@functools.cache
def provider():
    return AwsCredentialsProvider.new_default_chain()


def call():
    headers = [
        ("Host", ENDPOINT.removeprefix("http://")),
        ("Content-Type", "application/x-www-form-urlencoded"),
        ("Content-Length", str(len(BODY))),
    ]
    request = HttpRequest("POST", "/", HttpHeaders(headers), io.BytesIO(BODY))
    signing = AwsSigningConfig(
        algorithm=AwsSigningAlgorithm.V4,
        signature_type=AwsSignatureType.HTTP_REQUEST_HEADERS,
        credentials_provider=provider(),
        region=os.environ["AWS_REGION"],
        service="sts",
    )
    signed = aws_sign_request(request, signing).result(60)
    sent = urllib.request.Request(ENDPOINT, BODY, dict(signed.headers))
    # No proxy, whatever the environment says.
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    with opener.open(sent) as answer:
        return re.search("<Arn>(.*)</Arn>", answer.read().decode()).group(1)


run(call)
