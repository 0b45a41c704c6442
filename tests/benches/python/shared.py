"""A process with the AWS CLI's cache, which is botocore's `JSONFileCache`: prints the name of a role's key.

The CLI gives it to the provider of roles in `awscli/customizations/assumerole.py`, with the folder `~/.aws/cli/cache`.
"""

import os
import sys

import botocore.session
from botocore.utils import JSONFileCache

session = botocore.session.Session(profile="bench")
provider = session.get_component("credential_provider").get_provider("assume-role")
provider.cache = JSONFileCache(os.environ["BENCH_CACHE"])
credentials = session.get_credentials()
if "BENCH_GATE" in os.environ:
    print("ready", flush=True)
    sys.stdin.readline()
print(credentials.get_frozen_credentials().access_key)
if "BENCH_MEMORY" in os.environ:
    with open("/proc/self/status") as status:
        for line in status:
            if line.startswith(("VmHWM:", "Threads:")):
                print(line.strip())
