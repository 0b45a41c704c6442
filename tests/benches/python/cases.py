"""The measurements of the Python peers; `tests/benches/src` has brs's and those of the AWS SDK for Rust.

Usage: cases.py CASE PEER quick|full. Speaks with the conductor as the Rust measurements do: `@gate SECONDS`, then a
line is waited for; `@figures JSON` at the end.
"""

import datetime
import json
import os
import statistics
import sys
import threading
import time

import boto3
import botocore.credentials
from boto3_refresh_session import AssumeRoleConfig, RefreshableSession

ROLE = "arn:aws:iam::123456789012:role/bench"
LIFETIME = 3600
CALLERS = 50
PAUSE = 0.1
LONG_MS = 5.0


class Clock:
    """The system's clock, moved on."""

    def __init__(self):
        self.ahead = datetime.timedelta()

    def __call__(self):
        return botocore.credentials._local_now() + self.ahead


def open_session():
    return RefreshableSession(assume_role_kwargs=AssumeRoleConfig(RoleArn=ROLE))


def open_credentials(peer, clock):
    """What callers ask; `…_mandatory` differs in where time moves to only."""
    if peer == "botocore":
        refresh = botocore.credentials.create_assume_role_refresher(
            boto3.client("sts"), {"RoleArn": ROLE, "RoleSessionName": "bench"}
        )
        return botocore.credentials.DeferredRefreshableCredentials(refresh, "assume-role", clock)
    session = open_session()
    session._credentials._time_fetcher = clock
    return session._credentials


def gate(seconds):
    print(f"@gate {seconds}", flush=True)
    sys.stdin.readline()


def nanoseconds(call, length):
    """The median of batches, as in Rust."""
    times = 1
    while True:
        start = time.perf_counter()
        for _ in range(times):
            call()
        if time.perf_counter() - start >= 0.01:
            break
        times *= 2
    samples = []
    end = time.perf_counter() + length
    while time.perf_counter() < end or not samples:
        start = time.perf_counter_ns()
        for _ in range(times):
            call()
        samples.append((time.perf_counter_ns() - start) / times)
    return statistics.median(samples)


def throughput(threads, length, call):
    barrier = threading.Barrier(threads)
    counts = []

    def one():
        barrier.wait()
        start, count = time.perf_counter(), 0
        while time.perf_counter() - start < length:
            for _ in range(100):
                call()
            count += 100
        counts.append(count / (time.perf_counter() - start))

    run_all([threading.Thread(target=one) for _ in range(threads)])
    return sum(counts)


def run_all(threads):
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()


def resident_kb():
    with open("/proc/self/status") as status:
        line = next(line for line in status if line.startswith("VmRSS:"))
    return int(line.split()[1]) * 1.024


def owned(peer, quick):
    length = 0.3 if quick else 2.0
    if peer == "botocore":
        call = open_credentials(peer, botocore.credentials._local_now).get_frozen_credentials
    else:
        call = open_session().refreshable_credentials
    call()
    one = throughput(1, length / 2, call)
    return {
        "call_ns": nanoseconds(call, length),
        "two_threads_over_one": throughput(2, length / 2, call) / one,
    }


def client(peer, quick):
    session = open_session()
    session.client("s3")
    return {"call_ns": nanoseconds(lambda: session.client("s3"), 0.3 if quick else 2.0)}


def cold(peer, quick):
    start = time.perf_counter()
    open_credentials(peer, botocore.credentials._local_now).get_frozen_credentials()
    lone_ms = (time.perf_counter() - start) * 1e3
    credentials = open_credentials(peer, botocore.credentials._local_now)
    gate(0)
    waits, errors = [], []

    def one():
        start = time.perf_counter()
        try:
            credentials.get_frozen_credentials()
        except Exception as error:
            errors.append(error)
        waits.append((time.perf_counter() - start) * 1e3)

    start = time.perf_counter()
    run_all([threading.Thread(target=one) for _ in range(CALLERS)])
    return {
        "lone_caller_ms": lone_ms,
        "p50_wait_ms": statistics.median(waits),
        "longest_wait_ms": max(waits),
        "longest_over_source_ms": max(waits) - lone_ms,
        "all_served_ms": (time.perf_counter() - start) * 1e3,
        "errors": len(errors),
    }


def load(credentials, length):
    calls, errors, waits, callers = [], [], [], set()
    start = time.perf_counter()

    def one(number):
        time.sleep(PAUSE * number / CALLERS)
        while time.perf_counter() - start < length:
            before = time.perf_counter()
            try:
                credentials.get_frozen_credentials()
            except Exception as error:
                errors.append(error)
            took = (time.perf_counter() - before) * 1e3
            calls.append(took)
            if took > LONG_MS:
                waits.append(took)
                callers.add(number)
            time.sleep(PAUSE)

    run_all([threading.Thread(target=one, args=(number,)) for number in range(CALLERS)])
    return {
        "calls": len(calls),
        "errors": len(errors),
        "callers_over_5_ms": len(callers),
        "calls_over_5_ms": len(waits),
        "p50_wait_ms": statistics.median(waits) if waits else 0.0,
        "longest_wait_ms": max(calls),
    }


def due(peer, length):
    clock = Clock()
    credentials = open_credentials(peer, clock)
    credentials.get_frozen_credentials()
    # Advisory from 15 min before the end, mandatory from 10 min.
    jump = LIFETIME - (590 if peer.endswith("_mandatory") else 890)
    gate(jump)
    clock.ahead += datetime.timedelta(seconds=jump)
    return load(credentials, length)


def expiry(peer, quick):
    return due(peer, 2.0)


def failing(peer, quick):
    return due(peer, 3.0 if quick else 30.0)


def dying(peer, quick):
    credentials = open_credentials(peer, botocore.credentials._local_now)
    gate(0)
    return load(credentials, 5.5)


def session(peer, quick):
    return each(open_session, 20 if quick else 200, "each_us", "resident_each_kb")


def s3(peer, quick):
    def make():
        session = open_session()
        return session, session.client("s3")

    return each(make, 5 if quick else 50, "each_us", "resident_each_kb")


def each(make, many, time_name, memory_name):
    kept = [make()]
    before, start = resident_kb(), time.perf_counter()
    for _ in range(many):
        kept.append(make())
    took = time.perf_counter() - start
    return {time_name: took * 1e6 / many, memory_name: (resident_kb() - before) / many}


def iot(peer, quick):
    folder = os.environ["BENCH_IOT_FOLDER"]
    key = {"private_key": f"{folder}/device.key", "certificate": f"{folder}/device.pem"}
    if peer.endswith("_token"):
        token = {
            "pkcs11_lib": os.environ["BRS_SOFTHSM2_MODULE"],
            "user_pin": os.environ["BENCH_IOT_PIN"],
            "token_label": "bench",
            "private_key_label": "bench",
        }
        key = {"pkcs11": token, "certificate": f"{folder}/token.pem"}
    session = RefreshableSession(
        method="iot",
        # It takes names of AWS's endpoints only; the server's own is put in its place afterwards.
        endpoint="bench.credentials.iot.eu-west-1.amazonaws.com",
        role_alias="bench",
        thing_name="bench-device",
        ca=f"{folder}/authority.pem",
        **key,
    )
    session.endpoint = os.environ["BENCH_IOT_ENDPOINT"]
    session._get_credentials()
    samples = []
    for _ in range(10 if quick else 50):
        start = time.perf_counter()
        session._get_credentials()
        samples.append((time.perf_counter() - start) * 1e3)
    return {"new_connection_ms": statistics.median(samples)}


def mqtt(peer, quick):
    from awscrt import mqtt5
    from awsiot import mqtt5_client_builder

    folder = os.environ["BENCH_IOT_FOLDER"]
    host, port = os.environ["BENCH_MQTT_ENDPOINT"].split(":")

    class Client:
        """A client that can be waited for."""

        def __init__(self, number):
            self.connected, self.stopped = threading.Event(), threading.Event()
            self.client = mqtt5_client_builder.mtls_from_path(
                endpoint=host,
                port=int(port),
                cert_filepath=f"{folder}/device.pem",
                pri_key_filepath=f"{folder}/device.key",
                ca_filepath=f"{folder}/authority.pem",
                client_id=f"awscrt-{number}",
                # By default it keeps to AWS IoT's 100 publishes a second.
                extended_validation_and_flow_control_options=(
                    mqtt5.ExtendedValidationAndFlowControlOptions.NONE
                ),
                on_lifecycle_connection_success=lambda _: self.connected.set(),
                on_lifecycle_stopped=lambda _: self.stopped.set(),
            )

        def start(self):
            self.client.start()
            if not self.connected.wait(30):
                raise RuntimeError("not connected within 30 s")

        def restart(self):
            self.connected.clear()
            self.stopped.clear()
            self.client.stop()
            self.stopped.wait(30)
            self.start()

    def timed(call):
        start = time.perf_counter()
        call()
        return (time.perf_counter() - start) * 1e3

    many, messages = (20 if quick else 50), 10_000
    first = Client(0)
    first.start()
    before, kept, connect = resident_kb(), [], []
    for number in range(1, many + 1):
        connect.append(timed(lambda: kept.append(Client(number)) or kept[-1].start()))
    resident = (resident_kb() - before) / many
    packet = mqtt5.PublishPacket(topic="bench/messages", payload=b"x" * 1024, qos=mqtt5.QoS.AT_LEAST_ONCE)
    start, cpu = time.perf_counter(), time.process_time()
    for published in [first.client.publish(packet) for _ in range(messages)]:
        published.result(60)
    wall, cpu = time.perf_counter() - start, time.process_time() - cpu
    return {
        "connect_ms": statistics.median(connect),
        "reconnect_ms": statistics.median(timed(first.restart) for _ in range(many)),
        "publish_wall_ms": wall * 1e3,
        "publish_cpu_ms": cpu * 1e3,
        "messages_a_second": messages / wall,
        "resident_each_kb": resident,
    }


if __name__ == "__main__":
    case, peer, effort = sys.argv[1:]
    print("@figures " + json.dumps(globals()[case](peer, effort == "quick")), flush=True)
    # What a peer still has running, such as the threads of an event loop, is not waited for.
    os._exit(0)
