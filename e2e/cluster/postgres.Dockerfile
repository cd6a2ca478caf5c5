# PostgreSQL for the chart's own StatefulSet in the tests: Debian's packages, and nothing that starts it.
FROM localhost/debian:e2e
# Debian's packages would make a database at once.
RUN mkdir -p /etc/postgresql-common \
    && echo 'create_main_cluster = false' > /etc/postgresql-common/createcluster.conf \
    && apt-get update \
    && DEBIAN_FRONTEND=noninteractive apt-get install -y --no-install-recommends postgresql \
    && rm -rf /var/lib/apt/lists/* /var/cache/apt/* /var/lib/postgresql/*
USER 70:70
