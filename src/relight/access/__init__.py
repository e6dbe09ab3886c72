"""Who may use the service, and how much of it: keys and limits. Knows no route and no model."""
