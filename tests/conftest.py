"""What all tests have in common."""

from hypothesis import HealthCheck, settings

# How fast a machine is says nothing about the code: a busy one must not turn a property red.
settings.register_profile("patient", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("patient")
