"""The configuration: one TOML file, then drop-ins in order, checked whole, as one frozen `Config`.

    schema.py     the table of keys; `setting.py` is its rows, `values.py` its parsers
    loader.py     reads the files and collects every fault
    ownership.py  whose files are believed
    policy.py     what the configuration allows

Every default suits a kops master, so an empty file, or none at all, is a good configuration.
"""

from certmedic.config.loader import ConfigError, files, load
from certmedic.config.policy import policy_of, terms_of, units_of
from certmedic.config.schema import KEYS, Certificates, Config, Metrics, Notify, RemedyPolicy, Watch
from certmedic.config.values import PLANES, Secret, duration

__all__ = [
    "KEYS",
    "PLANES",
    "Certificates",
    "Config",
    "ConfigError",
    "Metrics",
    "Notify",
    "RemedyPolicy",
    "Secret",
    "Watch",
    "duration",
    "files",
    "load",
    "policy_of",
    "terms_of",
    "units_of",
]
