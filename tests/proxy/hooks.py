"""Loaded by the proxy: fails as it does for a virtual key whose budget is spent, which takes a database."""

import litellm
from litellm.integrations.custom_logger import CustomLogger


class VirtualKeys(CustomLogger):
    async def async_pre_call_hook(self, user_api_key_dict, cache, data, call_type):
        if data["model"] == "penniless":
            raise litellm.BudgetExceededError(current_cost=0.02, max_budget=0.01)


virtual_keys = VirtualKeys()
