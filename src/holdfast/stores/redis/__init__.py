"""Redis and Valkey as a store: one server, Sentinel or Cluster."""
