"""The figures for machines: as JSON, and as Prometheus reads them."""
