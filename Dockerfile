# quantd in a container. Data lives in /var/lib/quantd, models in /models; the
# settings are in /etc/quantd/quantd.yaml, which environment variables win over.
#
#   docker build -t quantd .
#   docker run --read-only -v models:/models:ro -v data:/var/lib/quantd \
#     -p 127.0.0.1:50051:50051 quantd
#
# gRPC is plaintext on all addresses of the container: publish it to a trusted
# network only, or mount certificates and set QUANT_TLS_CERT and QUANT_TLS_KEY.
ARG BASE=debian:12-slim
FROM ${BASE} AS build
# What the base has already need not be copied.
RUN ldconfig -p | awk '/=>/ {print $1}' | sort -u >/base-libraries
WORKDIR /src
COPY scripts/deps.sh scripts/deps.sh
RUN scripts/deps.sh && rm -rf /var/lib/apt/lists/*
COPY . .
RUN cmake --preset release -DQUANT_BUILD_TESTS=OFF \
 && cmake --build --preset release --target quantd quantctl \
 && mkdir /out && cp build/release/server/quantd build/release/client/quantctl /out/ \
 && strip /out/*
# Only the shared libraries that the two programs use.
RUN mkdir /libs \
 && ldd /out/quantd /out/quantctl | awk '$3 ~ "^/" {print $1, $3}' | sort -u \
  | grep -vwFf /base-libraries | awk '{print $2}' | xargs -I{} cp -L {} /libs/

FROM ${BASE}
ARG VERSION=0.1.0
ARG REVISION=unknown
LABEL org.opencontainers.image.title="quantd" \
      org.opencontainers.image.description="Model quantization as a service" \
      org.opencontainers.image.licenses="Apache-2.0" \
      org.opencontainers.image.version="${VERSION}" \
      org.opencontainers.image.revision="${REVISION}"
RUN groupadd --gid 10001 quantd \
 && useradd --system --uid 10001 --gid 10001 --no-create-home \
      --home-dir /var/lib/quantd quantd \
 && install -d -o quantd -g quantd -m 0750 /var/lib/quantd \
 && mkdir /models
COPY --from=build /libs/ /usr/local/lib/
COPY --from=build /out/ /usr/local/bin/
COPY deploy/image.yaml /etc/quantd/quantd.yaml
COPY deploy/ci/quantize.sh /usr/share/quant/ci/quantize.sh
RUN ldconfig
# By number: Kubernetes knows no names when it asks whether this is root.
USER 10001:10001
VOLUME /var/lib/quantd
ENV QUANT_CONFIG=/etc/quantd/quantd.yaml
EXPOSE 50051 8080
STOPSIGNAL SIGTERM
# Over the HTTP port, whatever TLS gRPC speaks.
HEALTHCHECK --interval=10s --timeout=5s --start-period=10s CMD ["bash", "-c", \
  "exec 3<>/dev/tcp/127.0.0.1/8080 && printf 'GET /livez HTTP/1.0\\r\\n\\r\\n' >&3 && grep -q '200 OK' <&3"]
ENTRYPOINT ["quantd"]
