"""Model weights: where they come from, how they get here whole, what their header says."""
