"""Runs the real supervisor over the commands given as JSON: {"api": [...], "worker": [...]}."""

import json
import signal
import sys

from service.settings import Settings
from service.supervision.errors import SupervisorError
from service.supervisor import Commands, serve

# Started from a process that ignores it, as under nohup, a program would ignore it too.
signal.signal(signal.SIGHUP, signal.SIG_DFL)
try:
    sys.exit(serve(Settings(), Commands(**json.loads(sys.argv[1]))))
except SupervisorError as error:
    print(error, file=sys.stderr)
    sys.exit(error.exit_code)
