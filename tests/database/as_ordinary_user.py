"""Runs the bundled PostgreSQL as the user whose number is given; imports first, as that user may not read them.

usage: as_ordinary_user.py UID FOLDER
"""

import os
import sys
from pathlib import Path

import psycopg

from service.database.bundled import BundledPostgres

uid, folder = int(sys.argv[1]), Path(sys.argv[2])
os.setgroups([])
os.setgid(uid)
os.setuid(uid)
server = BundledPostgres(folder)
for _ in range(2):
    with psycopg.connect(server.start()) as connection:
        print(connection.execute("SELECT current_user").fetchone())
    server.stop()
