"""The ways in which a model is reached: through litellm, inside this process, or not at all."""
