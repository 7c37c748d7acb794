"""quantd's API over gRPC, made from its descriptors.

    api = Api(server.endpoint["grpc"])
    job = api.CreateJob(spec=SPEC, request_id="r")     # fields by name
    for event in api.WatchJob(name=job.name): ...
    answer(lambda: api.GetJob(name="jobs/x"))          # ("NOT_FOUND", reason)

Needs the Python environment of tests/interop, and harness.Build made before,
which knows where the build put the messages.
"""

import importlib

import grpc

SERVICES = {
    "quant.v1.job_service": "JobService",
    "quant.v1.artifact": "ArtifactService",
    "quant.v1.model": "ModelService",
    "quant.v1.queue": "QueueService",
    "quant.v1.tensor": "TensorService",
    "google.bytestream.bytestream": "ByteStream",
}
DEADLINE_SECONDS = 60


def spec(model="model", scheme="W4A16", **more):
    """A JobSpec as a dictionary."""
    recipe = {"scheme": scheme, **more.pop("recipe", {})}
    return {
        "source": {"server_path": model},
        "outputs": [{"recipe": recipe}],
        **more,
    }


class Api:
    def __init__(self, target, token="", options=(), credentials=None):
        options = [("grpc.use_local_subchannel_pool", 1), *options]
        if credentials:
            self.channel = grpc.secure_channel(target, credentials, options)
        else:
            self.channel = grpc.insecure_channel(target, options)
        self.metadata = [("authorization", f"Bearer {token}")] if token else []
        for module, name in SERVICES.items():
            file = importlib.import_module(f"{module}_pb2").DESCRIPTOR
            for method in file.services_by_name[name].methods:
                setattr(self, method.name, self._method(method))

    def _method(self, method):
        request = method.input_type._concrete_class
        response = method.output_type._concrete_class
        service = method.containing_service
        path = f"/{service.full_name}/{method.name}"
        make = {
            (False, False): self.channel.unary_unary,
            (False, True): self.channel.unary_stream,
            (True, False): self.channel.stream_unary,
        }[method.client_streaming, method.server_streaming]
        call = make(path, request.SerializeToString, response.FromString)

        def send(requests=None, timeout=DEADLINE_SECONDS, metadata=(), **fields):
            """Sends the fields as one message; streams take dictionaries."""
            message = request(**fields)
            if method.client_streaming:
                message = (request(**each) for each in requests)
            return call(
                message, timeout=timeout, metadata=[*self.metadata, *metadata]
            )

        return send

    def raw(self, path, message, **options):
        """One unary call with these bytes as its message."""
        call = self.channel.unary_unary(path, None, None)
        return call(message, timeout=DEADLINE_SECONDS, **options)

    def close(self):
        self.channel.close()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()


def reason_of(error):
    """Of the ErrorInfo in what the server answered; "" where there is none."""
    status_pb2 = importlib.import_module("google.rpc.status_pb2")
    details_pb2 = importlib.import_module("google.rpc.error_details_pb2")
    for key, value in error.trailing_metadata() or ():
        if key == "grpc-status-details-bin":
            for detail in status_pb2.Status.FromString(value).details:
                info = details_pb2.ErrorInfo()
                if detail.Unpack(info):
                    return info.reason
    return ""


def answer(call):
    """("OK", "") or the code and the reason of the error."""
    try:
        result = call()
        if hasattr(result, "__next__"):
            for _ in result:
                pass
    except grpc.RpcError as error:
        return error.code().name, reason_of(error)
    return "OK", ""
