"""What keeps calls going while providers do not: breakers, health, rate limits, queues, hedging."""
