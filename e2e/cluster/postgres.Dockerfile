# PostgreSQL for the chart's own StatefulSet in the tests: Debian's packages, and nothing that starts it.
FROM localhost/debian:e2e
RUN apt-get update \
    && DEBIAN_FRONTEND=noninteractive apt-get install -y --no-install-recommends postgresql \
    && rm -rf /var/lib/apt/lists/* /var/cache/apt/* /var/lib/postgresql/*
USER 70:70
