"""What a run is made of: model, data and losses on devices, step by step."""
