"""The steps of the Containerfile, without a container engine: `make container-test`."""
