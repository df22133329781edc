# What the registry's image of Postgres does with the environment that compose.yaml gives.
set -eu
bin=$(echo /usr/lib/postgresql/*/bin)
data=/var/lib/postgresql/data
if [ ! -s "$data/PG_VERSION" ]; then
  echo "$POSTGRES_PASSWORD" > /tmp/password
  "$bin/initdb" --pgdata "$data" --username "$POSTGRES_USER" --pwfile /tmp/password \
    --auth-host scram-sha-256 --auth-local trust --encoding UTF8
  echo "host all all all scram-sha-256" >> "$data/pg_hba.conf"
  "$bin/pg_ctl" --pgdata "$data" --options "-c listen_addresses= -k /tmp" --wait start
  "$bin/createdb" --host /tmp --username "$POSTGRES_USER" "$POSTGRES_USER"
  "$bin/pg_ctl" --pgdata "$data" --wait stop
fi
exec "$bin/postgres" -D "$data" -c listen_addresses='*' -k /tmp "$@"
