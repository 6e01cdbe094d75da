"""The Ray Serve application: `serve run serve_app:app`, or `python serve_app.py` for everything.

A replica that finds no engine on the cluster starts one, so `serve deploy config/serve.yaml` is
enough on a fresh cluster. Settings come from config/hftray.yaml and the environment.
"""

import sys

from hftray.serving import standalone_application

app = standalone_application()


if __name__ == "__main__":
    from hftray.cli import app as command_line

    sys.exit(command_line(["up", *sys.argv[1:]]))
