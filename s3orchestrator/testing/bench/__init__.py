"""What serving costs: `python -m s3orchestrator.testing.bench`, explained in docs/performance.rst."""
