"""One S3 endpoint in front of many storage backends."""

__version__ = "0.1.0"
