"""The front door beside other gateways: what each of them costs a request and a chunk, on one core, before the same upstream."""
