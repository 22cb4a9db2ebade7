"""What every worker starts with: imported once, by the server that workers are forked from."""

import gc

from tests.faults import __main__ as __main__  # each process looks into its parent's main module
from tierwise.routing.catalog.price_map import packaged_price_map
from tierwise.routing.providers.litellm import loading

loading().result()
packaged_price_map()
gc.freeze()
