"""From a configuration to what platforms run: steps, images, requests. Pure where it decides, effects where it applies."""
