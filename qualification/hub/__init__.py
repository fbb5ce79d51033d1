"""A model hub on the loopback interface: the protocol of huggingface_hub, on disk, with faults on request."""
