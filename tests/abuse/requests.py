"""Rows about what requests say."""

import concurrent.futures
import gzip
import hashlib
import subprocess

import grpc

from node import (Api, answer, all_jobs, end_of, expect, require, rss_bytes,
                  slow_spec, spec)

INVALID = ("INVALID_ARGUMENT", "INVALID_SPEC")
MIB = 1 << 20


def row_29(node):
    """Create with a deadline of 1 ms, again and again."""
    with Api(node.start("--workers", "0").endpoint["grpc"]) as api:
        got = []
        for i in range(50):
            fields = {"spec": spec(), "request_id": f"hasty-{i}"}
            got.append(answer(lambda: api.CreateJob(timeout=0.001, **fields))[0])
            name = api.CreateJob(**fields).name
            require(api.CreateJob(**fields).name == name, "another job")
        require("DEADLINE_EXCEEDED" in got, f"none was late: {set(got)}")
        expect(set(got) - {"DEADLINE_EXCEEDED", "OK"}, set())
        require(len(all_jobs(api)) == 50, "not one job per request id")
        late = got.count("DEADLINE_EXCEEDED")
        node.seen(f"{late} of 50 late, 50 jobs")


def row_30(node):
    """A message beyond 4 MiB, a label of 1 MiB, 100,000 labels."""
    with Api(node.start().endpoint["grpc"]) as api:
        def create(labels):
            return answer(lambda: api.CreateJob(spec=spec(), labels=labels))

        expect(create({"a": "x" * 5 * MIB})[0], "RESOURCE_EXHAUSTED")
        expect(create({"a": "x" * MIB}), INVALID)
        expect(create({f"k{i}": "" for i in range(100_000)}), INVALID)
        require(not all_jobs(api), "a job was made")


def row_36(node):
    """200 MB of zeros, compressed to 200 kB.

    The channel compresses what the call hands over.
    """
    server = node.start()
    before = rss_bytes(server.process.pid)[1]
    bomb = b"\x0a" + b"\0" * 200_000_000
    with Api(server.endpoint["grpc"]) as api:
        def send():
            return api.raw(
                "/quant.v1.JobService/CreateJob",
                bomb,
                compression=grpc.Compression.Gzip,
            )

        expect(answer(send)[0], "UNIMPLEMENTED", "RESOURCE_EXHAUSTED")
        api.ListJobs()
    grown = rss_bytes(server.process.pid)[1] - before
    require(grown < 64 * MIB, f"grew by {grown} bytes")
    sent = len(gzip.compress(bomb)) >> 10
    node.seen(f"{sent} KiB sent, memory +{grown / MIB:.0f} MiB")


def row_37(node):
    """Bytes that are no request."""
    def field(number, payload):
        return bytes([number << 3 | 2]) + varint(len(payload)) + payload

    def varint(value):
        out = b""
        while value > 127:
            out += bytes([value & 127 | 128])
            value >>= 7
        return out + bytes([value])

    nested = b""
    for _ in range(1000):
        nested = field(1, nested)
    with Api(node.start().endpoint["grpc"]) as api:
        from quant.v1 import job_service_pb2
        good = job_service_pb2.CreateJobRequest(spec=spec(), validate_only=True)
        good = good.SerializeToString()

        def create(message):
            return answer(
                lambda: api.raw("/quant.v1.JobService/CreateJob", message))

        expect(create(good), ("OK", ""))
        # Unknown fields are of newer clients; they are ignored.
        expect(create(good + field(15, b"later")), ("OK", ""))
        for bad in (field(3, b"\xff\xfe"),  # no UTF-8
                    b"\x0a\xff\xff\xff\xff\x0f",  # longer than the message
                    b"\x07", b"\xff" * 100, nested):
            # gRPC's own answer; no handler sees the call.
            expect(create(bad)[0], "UNIMPLEMENTED")
        unknown = answer(lambda: api.CreateJob(
            spec=spec(priority=99), validate_only=True))
        expect(unknown[0], "INVALID_ARGUMENT")
        expect(answer(lambda: api.ListJobs(states=[77])), INVALID)
        require(not all_jobs(api), "a job was made")


def row_38(node):
    """Names that lead elsewhere."""
    names = ["../x", "jobs/../x", "jobs/a\0b", "jobs/" + "a" * 300, "jobs/",
             "jobs/\u0430\u0431\u0432", "jobs/%2e%2e", "jobs//x", "/etc/passwd"]
    with Api(node.start().endpoint["grpc"]) as api:
        for name in names:
            for call in (api.GetJob, api.CancelJob, api.RetryJob,
                         api.DeleteJob, api.WatchJob, api.GetArtifact,
                         api.DeleteArtifact):
                expect(answer(lambda: call(name=name))[0], "INVALID_ARGUMENT",
                       "NOT_FOUND")
            expect(answer(lambda: api.Read(resource_name=name))[0],
                   "INVALID_ARGUMENT", "NOT_FOUND")
            expect(answer(lambda: api.CreateJob(
                spec=spec(), request_id=name + " "))[0], "INVALID_ARGUMENT")


def row_39(node):
    """Filters: there is no language to parse, only states and labels."""
    hostile = ["' OR 1=1 --", "\"; DROP TABLE job; --", "%", "_", "(" * 10_000,
               "(a+)+$", "\0", "x" * MIB]
    with Api(node.start("--workers", "0").endpoint["grpc"]) as api:
        api.CreateJob(spec=spec(), labels={"a": "b"})
        for text in hostile:
            found = answer(lambda: api.ListJobs(labels={"a": text}))
            expect(found, ("OK", ""), INVALID)
            expect(answer(lambda: api.ListJobs(labels={text: "b"})),
                   ("OK", ""), INVALID)
            if found[0] == "OK":
                require(not api.ListJobs(labels={"a": text}).jobs, "matched")
        require(len(all_jobs(api)) == 1, "the job is gone")


def row_41(node):
    """Page sizes at their edges."""
    with Api(node.start("--workers", "0").endpoint["grpc"]) as api:
        for i in range(3):
            api.CreateJob(spec=spec())
        expect(answer(lambda: api.ListJobs(page_size=-1)), INVALID)
        expect(answer(lambda: api.ListJobs(page_size=-(1 << 31))), INVALID)
        require(len(api.ListJobs(page_size=(1 << 31) - 1).jobs) == 3, "cut")


def row_54(node):
    """Reads that begin at the end, behind it, and before the beginning."""
    with Api(node.start().endpoint["grpc"]) as api:
        job = end_of(api, api.CreateJob(spec=spec()).name)
        file = api.GetArtifact(name=job.artifacts[0]).files[0]

        def read(offset):
            parts = api.Read(resource_name=file.resource_name,
                             read_offset=offset)
            return b"".join(part.data for part in parts)

        require(len(read(0)) == file.size_bytes, "not whole")
        require(len(read(file.size_bytes - 1)) == 1, "not the last byte")
        require(read(file.size_bytes) == b"", "something at the end")
        for offset in (file.size_bytes + 1, 1 << 62, -1, -(1 << 63)):
            expect(answer(lambda: read(offset))[0], "OUT_OF_RANGE")


def row_55(node):
    """An artifact is deleted while it is read."""
    node.slow_model("200MB")
    with Api(node.start().endpoint["grpc"]) as api:
        job = end_of(api, api.CreateJob(spec=spec("slow")).name)
        artifact = api.GetArtifact(name=job.artifacts[0])
        file = max(artifact.files, key=lambda each: each.size_bytes)
        sha, size = hashlib.sha256(), 0
        reading = api.Read(resource_name=file.resource_name)
        for count, part in enumerate(reading):
            if count == 1:
                api.DeleteArtifact(name=artifact.name)
            sha.update(part.data)
            size += len(part.data)
        require(size == file.size_bytes, f"{size} of {file.size_bytes} bytes")
        require(sha.hexdigest() == file.sha256, "mixed bytes")
        expect(answer(lambda: api.Read(resource_name=file.resource_name))[0],
               "NOT_FOUND")
        node.seen(f"{size / 1e6:.0f} MB whole after the deletion")


def row_60(node):
    """One tenant sends all it can, another one job."""
    tokens, lines = {}, []
    for who in ("a", "b"):
        tokens[who], line = make_token(node, who)
        lines.append(line)
    auth = node.work / "auth"
    auth.write_text("".join(lines))
    node.slow_model()
    server = node.start("--auth-file", auth, "--max-open-jobs", "20",
                        "--max-calls-per-second", "2000", "--workers", "1")
    target = server.endpoint["grpc"]
    with Api(target, tokens["a"]) as a, Api(target, tokens["b"]) as b:
        def flood(_):
            return answer(lambda: a.CreateJob(spec=slow_spec()))

        with concurrent.futures.ThreadPoolExecutor(16) as pool:
            got = list(pool.map(flood, range(1000)))
        expect(set(got) - {("OK", "")},
               {("RESOURCE_EXHAUSTED", "QUOTA_EXCEEDED")})
        job = b.CreateJob(spec=spec())
        job = end_of(b, job.name, 300)
        require(job.state == 4, f"ended in {job.state}")
        ahead = [each for each in all_jobs(a) if began_between(
            each, job.create_time, job.start_time)]
        # Tenants take turns, and the first one's turn is taken.
        require(len(ahead) <= 1, f"{len(ahead)} jobs were started before it")
    wait = job.start_time.ToNanoseconds() - job.create_time.ToNanoseconds()
    node.seen(f"{got.count(('OK', ''))} of 1000 jobs taken; the other tenant's "
              f"job began {wait / 1e9:.1f} s after it came, {len(ahead)} of "
              "them between")


def began_between(job, after, before):
    began = job.start_time.ToNanoseconds()
    return after.ToNanoseconds() < began < before.ToNanoseconds()


def make_token(node, name, role="submitter"):
    """A token of a tenant of that name, and the server's line of it."""
    path = node.work / f"{name}.token"
    made = subprocess.run(
        [node.build.quantd, "token", "--name", name, "--role", role,
         "--tenant", name, "--output", path],
        check=True, capture_output=True, text=True)
    return path.read_text().strip(), made.stdout


def row_67(node):
    """Whole numbers at their edges, each blamed on its field."""
    big = (1 << 31, (1 << 63) - 1)
    bad = [spec(recipe={"group_size": n}) for n in (0, -1, *big)]
    bad += [spec(scheme=scheme) for scheme in ("W17A16", "W0A16", "W-1A16")]
    bad += [spec(timeout={"seconds": n}) for n in (-1, 0, 1_000_000_000)]
    bad += [spec(retention={"seconds": n}) for n in (-1, 0, 1 << 40)]
    bad += [spec(recipe={"target_bytes": n}) for n in (0, -1)]
    bad += [spec(recipe={"max_shard_bytes": n}) for n in (-1, -(1 << 63))]
    bad += [spec(recipe={"tensor_parallel": n}) for n in (-1, (1 << 31) - 1)]
    bad += [spec(gates=[{"metric": "size_bytes", "comparison": 1,
                         "threshold": float("nan")}])]
    with Api(node.start().endpoint["grpc"]) as api:
        for each in bad:
            code, reason = answer(
                lambda: api.CreateJob(spec=each, validate_only=True))
            require(code in ("INVALID_ARGUMENT", "FAILED_PRECONDITION") and
                    reason, f"{each}: {code} {reason}")
    node.seen(f"{len(bad)} values refused")
