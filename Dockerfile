# quantd in a container. Data lives in /var/lib/quantd, models in /models.
#
#   docker build -t quantd .
#   docker run -v models:/models:ro -v data:/var/lib/quantd -p 127.0.0.1:50051:50051 quantd
#
# gRPC is plaintext on all addresses of the container, as --insecure says:
# publish it to a trusted network only, or mount certificates and set
# QUANT_TLS_CERT and QUANT_TLS_KEY.
ARG BASE=debian:12-slim
FROM ${BASE} AS build
WORKDIR /src
COPY scripts/deps.sh scripts/deps.sh
RUN scripts/deps.sh && rm -rf /var/lib/apt/lists/*
COPY . .
RUN cmake --preset release -DQUANT_BUILD_TESTS=OFF \
 && cmake --build --preset release --target quantd quantctl \
 && strip build/release/server/quantd build/release/client/quantctl \
 && mkdir /out && cp build/release/server/quantd build/release/client/quantctl /out/
# Only the shared libraries that the two programs use.
RUN mkdir /libs \
 && ldd /out/quantd /out/quantctl | awk '$3 ~ "^/" {print $3}' | sort -u \
  | grep -vE '/(libc|libm|libpthread|libdl|librt|libresolv)\.so' \
  | xargs -I{} cp -L {} /libs/

FROM ${BASE}
LABEL org.opencontainers.image.title="quantd" \
      org.opencontainers.image.description="Model quantization as a service" \
      org.opencontainers.image.licenses="Apache-2.0"
RUN useradd --system --uid 10001 --create-home --home-dir /var/lib/quantd quantd \
 && mkdir /models
COPY --from=build /libs/ /usr/local/lib/
COPY --from=build /out/ /usr/local/bin/
RUN ldconfig
USER quantd
VOLUME /var/lib/quantd
ENV QUANT_DATA_DIR=/var/lib/quantd \
    QUANT_MODEL_ROOT=/models \
    QUANT_LISTEN=0.0.0.0:50051 \
    QUANT_HTTP_LISTEN=0.0.0.0:8080 \
    QUANT_INSECURE=true \
    QUANT_LOG_FORMAT=json
EXPOSE 50051 8080
STOPSIGNAL SIGTERM
HEALTHCHECK --interval=10s --timeout=5s --start-period=10s CMD ["quantctl", "health"]
ENTRYPOINT ["quantd"]
