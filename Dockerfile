# The service alone: its binary, the libraries that the binary loads and the
# certificates that it trusts, and a shell to look around with. No package
# manager, no build tools, no HTTP client.

# The dependencies, from the manifests alone: a change of the source does not
# build them again.
FROM rust:1.95-slim-trixie AS dependencies
WORKDIR /build
COPY Cargo.toml Cargo.lock ./
RUN mkdir -p src tests/api benches \
    && benches=$(sed -n '/^\[\[bench\]\]/{n;s|name = "\(.*\)"|benches/\1.rs|p}' Cargo.toml) \
    && echo 'fn main() {}' | tee src/main.rs tests/api/main.rs $benches >src/lib.rs \
    && cargo build --release --locked \
    && rm -r src

FROM dependencies AS build
COPY .cargo .cargo
COPY sqlx.toml build.rs ./
COPY .sqlx .sqlx
COPY migrations migrations
COPY docs/sample.json docs/
COPY src src
# The commit that `devicegraph --version` names. There is no git folder here.
ARG COMMIT
# Cargo goes by the time of a file, and what was built above is newer than the source.
RUN find src -name '*.rs' -exec touch {} + && DEVICEGRAPH_COMMIT=$COMMIT cargo build --release --locked

FROM debian:trixie-slim AS root
COPY --from=build /build/target/release/devicegraph /root/usr/bin/devicegraph
COPY --from=build /etc/ssl/certs/ca-certificates.crt /root/etc/ssl/certs/ca-certificates.crt
RUN cp --parents -L /usr/bin/sh /usr/bin/cat /usr/bin/id /usr/bin/ls /root \
    && ln -s usr/bin /root/bin \
    && ldd /root/usr/bin/* | grep -o '/lib[^ ]*' | sort -u | xargs -I '{}' cp --parents -L '{}' /root \
    && mkdir -p /root/data/.devicegraph/postgres && chown -R 10001:10001 /root/data \
    && cp /etc/nsswitch.conf /root/etc/ \
    && echo 'devicegraph:x:10001:10001::/data:/usr/sbin/nologin' >/root/etc/passwd \
    && echo 'devicegraph:x:10001:' >/root/etc/group

FROM scratch
COPY --from=root /root /
USER devicegraph
WORKDIR /data
ENV DEVICEGRAPH__SERVER__HOST=0.0.0.0
EXPOSE 8080
HEALTHCHECK --interval=5s --timeout=3s --start-period=30s --retries=3 CMD ["devicegraph", "health"]
ENTRYPOINT ["devicegraph"]
ARG COMMIT
LABEL org.opencontainers.image.title="devicegraph" \
      org.opencontainers.image.description="Device configurations and their assignments in PostgreSQL, spoken to in the Microsoft Graph dialect" \
      org.opencontainers.image.licenses="MIT OR Apache-2.0" \
      org.opencontainers.image.version="0.2.0" \
      org.opencontainers.image.revision="$COMMIT"
