#!/bin/sh
# The bundled PostgreSQL's first process. It needs nothing of an image but PostgreSQL itself, on PATH or where Debian
# has it, and no user of a certain name: it makes the cluster where there is none, sets the password, and becomes the server.
set -eu
for folder in /usr/lib/postgresql/*/bin; do
  if [ -x "$folder/postgres" ]; then PATH=$folder:$PATH; fi
done

if [ "${1:-}" = ready ]; then
  exec pg_isready --quiet --host=/tmp --username=cliscale --dbname=cliscale
fi

# single SQL: before the server runs, without a connection
single() {
  echo "$2" | postgres --single -j -D "$1" -c exit_on_error=on "${3:-cliscale}" >/dev/null
}

umask 077
if [ ! -s "$PGDATA/PG_VERSION" ]; then
  # Made beside its place and moved there whole, so that a start which is interrupted leaves nothing half made.
  rm -rf "$PGDATA.new"
  initdb -D "$PGDATA.new" --username=cliscale --encoding=UTF8 --locale=C --auth=scram-sha-256 \
    --pwfile=/etc/cliscale/postgresql/password
  single "$PGDATA.new" "CREATE DATABASE cliscale" postgres
  mv "$PGDATA.new" "$PGDATA"
fi
# The Secret is right: a volume that outlived its release may know another password. Quotes in it are doubled.
password=$(sed "s/'/''/g" /etc/cliscale/postgresql/password)
single "$PGDATA" "ALTER USER cliscale PASSWORD '$password'"
exec postgres -D "$PGDATA" -c listen_addresses='*' -c unix_socket_directories=/tmp \
  -c hba_file=/etc/cliscale/postgresql-script/pg_hba.conf -c max_connections="$MAX_CONNECTIONS"
