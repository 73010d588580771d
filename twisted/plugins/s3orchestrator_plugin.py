"""
Makes `twistd s3orchestrator` known.

Every `twistd` on the machine imports this file, so it imports nothing of ours.
"""

from twisted.application.service import ServiceMaker

s3orchestrator = ServiceMaker(
    "s3orchestrator",
    "s3orchestrator.tap",
    "One S3 endpoint in front of many storage backends.",
    "s3orchestrator",
)
