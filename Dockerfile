# chatctl and what a job needs beside it: a shell, and certificates of authorities. From what `scripts/release build` has made:
#
#     docker build --tag chatctl .
#
# `--local` needs Python and Node.js, which are not in it.
FROM debian:13-slim AS archive
COPY dist/chatctl-*-unknown-linux-gnu.tar.gz /
# Not TARGETARCH: some builders leave it empty, and BuildKit would keep a default on every machine.
RUN mkdir /chatctl && \
    tar -xzf "/chatctl-$(uname -m)-unknown-linux-gnu.tar.gz" --strip-components 1 -C /chatctl

FROM debian:13-slim
# Of certificates the newest are wanted, whichever those are.
# hadolint ignore=DL3008
RUN apt-get update && \
    apt-get install --yes --no-install-recommends ca-certificates && \
    rm -rf /var/lib/apt/lists/* && \
    useradd --uid 1000 --create-home chatctl
COPY --from=archive /chatctl/chatctl /usr/local/bin/
COPY --from=archive /chatctl/LICENSE-APACHE /chatctl/LICENSE-MIT /chatctl/THIRD-PARTY.txt /usr/local/share/doc/chatctl/
USER 1000
WORKDIR /home/chatctl
CMD ["chatctl", "--help"]
