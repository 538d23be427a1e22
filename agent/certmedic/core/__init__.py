"""Pure: values in, values out. No effects, no clock, no threads, no logger."""
