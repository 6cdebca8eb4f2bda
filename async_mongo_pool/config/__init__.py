"""Configuration: five sources become one, checked, comparable, and safe to show."""

from async_mongo_pool.config.pool_config import PoolConfig
from async_mongo_pool.config.pool_options import PoolOptions
from async_mongo_pool.config.redaction import Redactor, Secret
from async_mongo_pool.config.resolution import resolve
from async_mongo_pool.config.settings import ClientSettings, OptionInForce
from async_mongo_pool.config.uri import mask_uri

__all__ = [
    "ClientSettings",
    "OptionInForce",
    "PoolConfig",
    "PoolOptions",
    "Redactor",
    "Secret",
    "mask_uri",
    "resolve",
]
