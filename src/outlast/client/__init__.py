"""The Python client, for those who have the server installed: `outlast_client` by its first name.

`pip install outlast-client` brings the same without the server.
"""

from outlast_client import *  # noqa: F403 - its names stand there alone
from outlast_client import __all__ as __all__
