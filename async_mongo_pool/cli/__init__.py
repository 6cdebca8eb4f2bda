"""The command line: ``python -m async_mongo_pool``. It needs the ``cli`` extra."""
