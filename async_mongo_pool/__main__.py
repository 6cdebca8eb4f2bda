"""``python -m async_mongo_pool``."""

from async_mongo_pool.cli.__main__ import main

if __name__ == "__main__":
    main()
