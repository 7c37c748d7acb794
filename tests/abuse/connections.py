"""Rows about what connections do, below gRPC: HTTP/2 frames by hand."""

import multiprocessing
import os
import resource
import socket
import struct
import threading
import time
import urllib.request

from node import (Api, Failure, answer, certificate, percentile, require,
                  rss_bytes, spec, timed, wait_for)

PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
DATA, HEADERS, RST_STREAM, SETTINGS, PING, GOAWAY, CONTINUATION = (
    0, 1, 3, 4, 6, 7, 9)
END_HEADERS, ACK = 4, 1
MIB = 1 << 20


def frame(kind, flags, stream, payload=b""):
    size = struct.pack(">I", len(payload))[1:]
    return size + bytes([kind, flags]) + struct.pack(">I", stream) + payload


def literal(name, value):
    """A header in HPACK that enters no table. Integers below 2^14."""
    def text(data):
        n = len(data)
        if n < 127:
            return bytes([n]) + data
        n -= 127
        return bytes([127, n & 127 | 128, n >> 7]) + data

    return b"\0" + text(name) + text(value)


CALL = b"".join(literal(*pair) for pair in (
    (b":method", b"POST"), (b":scheme", b"http"), (b":authority", b"x"),
    (b":path", b"/quant.v1.JobService/GetJob"),
    (b"content-type", b"application/grpc"), (b"te", b"trailers")))


def connect(target):
    host, port = target.rsplit(":", 1)
    return socket.create_connection((host, int(port)), timeout=30)


def http2(target):
    """A connection that said hello."""
    link = connect(target)
    link.sendall(PREFACE + frame(SETTINGS, 0, 0))
    return link


def frames(link):
    """What the server sends, until it closes or is silent for 30 s."""
    buffer = b""
    while True:
        while len(buffer) >= 9:
            size = int.from_bytes(buffer[:3], "big")
            if len(buffer) < 9 + size:
                break
            yield buffer[3], buffer[4], buffer[9:9 + size]
            buffer = buffer[9 + size:]
        try:
            more = link.recv(1 << 16)
        except ConnectionError:
            return
        if not more:
            return
        buffer += more


def closed_within(link, seconds):
    """Whether the server closes by itself; tells after how long."""
    begin = time.monotonic()
    link.settimeout(seconds)
    try:
        while link.recv(1 << 16):
            pass
    except ConnectionError:
        pass
    except TimeoutError:
        raise Failure(f"still open after {seconds} s") from None
    return time.monotonic() - begin


def latencies(api, seconds, call=None):
    """Of calls one after the other."""
    call = call or api.ListJobs
    end, samples = time.monotonic() + seconds, []
    while time.monotonic() < end:
        samples.append(timed(call))
    return samples


def row_31(node):
    """Metadata of 64 KiB; a header that is announced as endless and trickles.

    gRPC 1.51 keeps what came of it, some times over, and does not end the
    connection: the row shows how much, and that nothing is taken for what was
    only announced.
    """
    server = node.start()
    pid, target = server.process.pid, server.endpoint["grpc"]
    before = rss_bytes(pid)[1]
    with Api(target) as api:
        code = answer(lambda: api.ListJobs(
            metadata=[("x-big", "x" * 64 * 1024)]))[0]
        require(code == "RESOURCE_EXHAUSTED", code)
        link = http2(target)
        # A literal whose value has 2^31 - 1 bytes, and never ends.
        start = b"\0\x01x\x7f\x80\xff\xff\xff\x07"
        link.sendall(frame(HEADERS, 0, 1, CALL + start))
        sent, end = 0, time.monotonic() + 10
        try:
            while time.monotonic() < end and sent < 32 * MIB:
                link.sendall(frame(CONTINUATION, 0, 1, b"x" * 16_384))
                sent += 16_384
        except OSError:
            pass
        require(sent > 0, "nothing was taken")
        api.ListJobs()
    grown = rss_bytes(pid)[1] - before
    require(grown < 64 * MIB + 8 * sent, f"grew by {grown} bytes after {sent}")
    node.seen(f"{sent / MIB:.0f} MiB of one header sent, memory "
              f"+{grown / MIB:.0f} MiB")


def reset_on_and_on(target, count):
    """Begins calls and takes them back, in a process of its own."""
    link, stream = http2(target), 1
    threading.Thread(target=lambda: list(frames(link)), daemon=True).start()
    cancel = struct.pack(">I", 8)
    while True:
        burst = b"".join(
            frame(HEADERS, END_HEADERS, stream + 2 * i, CALL) +
            frame(RST_STREAM, 0, stream + 2 * i, cancel) for i in range(100))
        try:
            link.sendall(burst)
        except OSError:  # closed: the next one
            return reset_on_and_on(target, count)
        stream += 200
        count.value += 100


def row_32(node):
    """Calls that are begun and taken back at once.

    gRPC 1.51 holds memory for each of them: the row shows how much, and that the
    server is there afterwards.
    """
    server = node.start()
    pid, target = server.process.pid, server.endpoint["grpc"]
    spawn = multiprocessing.get_context("spawn")
    count = spawn.Value("q", 0)
    attack = spawn.Process(target=reset_on_and_on, args=(target, count),
                           daemon=True)
    before = rss_bytes(pid)[1]
    attack.start()
    try:
        wait_for("20,000 resets", 120, lambda: count.value >= 20_000)
    finally:
        attack.kill()
        attack.join()
    with Api(target) as api:
        wait_for("an answer", 60, lambda: attempt(api.ListJobs))
    grown = rss_bytes(pid)[1] - before
    node.seen(f"{count.value} resets: answers afterwards, but memory "
              f"+{grown / MIB:.0f} MiB")


def row_33(node):
    """Pings without end."""
    target = node.start().endpoint["grpc"]
    link = http2(target)
    ping = frame(PING, 0, 0, b"12345678")
    said = None

    def listen():
        nonlocal said
        for kind, _, payload in frames(link):
            if kind == GOAWAY:
                said = payload[8:]

    reader = threading.Thread(target=listen)
    reader.start()
    sent = 0
    try:
        for _ in range(100_000):
            link.sendall(ping)
            sent += 1
    except OSError:
        pass
    reader.join(30)
    require(not reader.is_alive(), "still open")
    require(said == b"too_many_pings", f"said {said}")
    with Api(target) as api:
        api.ListJobs()
    node.seen(f"GOAWAY too_many_pings after at most {sent} pings")


def row_34(node):
    """More idle connections than the server has file descriptors."""
    limit = 400
    server = node.start()
    pid, target = server.process.pid, server.endpoint["grpc"]
    with Api(target) as api:
        job = api.CreateJob(spec=spec()).name
        watch = api.WatchJob(name=job)
        next(watch)
        resource.prlimit(pid, resource.RLIMIT_NOFILE, (limit, limit))
        links = []
        for _ in range(limit + 200):
            links.append(connect(target))
        wait_for("no descriptor to be left for connections", 30, lambda: len(
            os.listdir(f"/proc/{pid}/fd")) >= limit - 160)
        for _ in range(20):  # the connection that stands goes on
            api.GetJob(name=job)
        for link in links:
            link.close()

        def fresh():
            with Api(target) as other:
                other.GetJob(name=job, timeout=5)
            return True

        wait_for("new connections", 60, lambda: attempt(fresh))
        kinds = [event.kind for event in watch]
        require(kinds[-1] == 8, f"the watch ended with {kinds}")
    node.seen(f"{limit} descriptors, {len(links)} connections")


def attempt(call):
    import grpc
    try:
        return call()
    except grpc.RpcError:
        return False


def row_35(node):
    """Handshakes that never end: of TLS, and of HTTP/2."""
    cert, key = certificate(node.work)
    secure = node.start("--tls-cert", cert, "--tls-key", key)
    plain = node.server(data="plain")
    plain.start()
    half = [connect(secure.endpoint["grpc"]), connect(plain.endpoint["grpc"])]
    hello = b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc"  # of 512 bytes, 9 came
    half[0].sendall(hello)
    half[1].sendall(PREFACE[:10])
    took = [closed_within(link, 60) for link in half]
    with Api(plain.endpoint["grpc"]) as api:
        api.ListJobs()
    node.seen(f"closed after {took[0]:.0f} s (TLS) and {took[1]:.0f} s (HTTP/2)")


def row_64(node):
    """The metrics port: slow clients, 10,000 requests, a URL of 1 MB."""
    server = node.start()
    pid, address = server.process.pid, server.endpoint["http"]
    before = rss_bytes(pid)[1]
    slow = []
    for _ in range(100):
        link = connect(address)
        link.sendall(b"GET /metr")
        slow.append(link)
    long = connect(address)
    long.settimeout(60)
    try:
        long.sendall(b"GET /" + b"x" * MIB)
        long.recv(1 << 12)
    except ConnectionError:
        pass
    with Api(server.endpoint["grpc"]) as api:
        quiet = percentile(latencies(api, 1), 0.99)
        stop, counts = threading.Event(), [0]

        def scrape():
            while not stop.is_set() and counts[0] < 10_000:
                urllib.request.urlopen(f"http://{address}/livez",
                                       timeout=60).read()
                counts[0] += 1

        threads = [threading.Thread(target=scrape) for _ in range(4)]
        for thread in threads:
            thread.start()
        busy = percentile(latencies(api, 2), 0.99)
        for thread in threads:
            thread.join()
    url = f"http://{address}/metrics"
    require(b"quant_" in urllib.request.urlopen(url, timeout=60).read(), url)
    for link in slow:
        link.close()
    grown = rss_bytes(pid)[1] - before
    require(grown < 64 * MIB, f"grew by {grown} bytes")
    node.seen(f"{counts[0]} requests beside 100 slow ones: p99 of gRPC "
              f"{quiet * 1e3:.1f} → {busy * 1e3:.1f} ms, memory "
              f"+{grown / MIB:.0f} MiB")
