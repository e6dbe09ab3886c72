"""What a service costs where it runs. Knows prices and shapes; must not know how a service is deployed."""
