"""What models cost: the operator's prices, and behind them the list prices of providers."""
