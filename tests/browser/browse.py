"""Serves page.html under an origin of its own, opens it in Chromium, and checks what its calls to the server came to.

Usage: browse.py allowed|refused, with the server's address in TANDEM_URL.
"""

import json
import os
import pathlib
import queue
import shutil
import subprocess
import sys
import tempfile
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

PAGE = pathlib.Path(__file__).with_name("page.html").read_bytes()
PATIENCE_SECONDS = 120

# A call that no allowed origin can make either.
NEVER = "may not put"

found = queue.Queue()


class Site(BaseHTTPRequestHandler):
    """One page, and the place where it leaves what it found."""

    def do_GET(self):
        is_page = self.path.startswith("/page.html")
        self.answer(200 if is_page else 404, PAGE if is_page else b"")

    def do_POST(self):
        found.put(json.loads(self.rfile.read(int(self.headers["content-length"]))))
        self.answer(204, b"")

    def answer(self, status, body):
        self.send_response(status)
        self.send_header("content-type", "text/html; charset=utf-8")
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_):
        pass


def browse(url):
    """What the page at `url` leaves."""
    browser = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
    if browser is None:
        sys.exit("no browser: install the package `chromium`")
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as profile, open(f"{profile}/log", "w+") as log:
        flags = ["--headless", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--no-first-run"]
        # A name that points at this machine and is not its own, as a page that attacks it would have one.
        flags.append("--host-resolver-rules=MAP rebound.example 127.0.0.1")
        process = subprocess.Popen([browser, *flags, f"--user-data-dir={profile}/user", url], stdout=log, stderr=log)
        try:
            return found.get(timeout=PATIENCE_SECONDS)
        except queue.Empty:
            log.seek(0)
            sys.exit(f"the page says nothing; the browser said:\n{log.read()[-4000:]}")
        finally:
            process.terminate()
            process.wait()


def main():
    is_allowed = {"allowed": True, "refused": False}[sys.argv[1]]
    site = ThreadingHTTPServer(("127.0.0.1", 0), Site)
    threading.Thread(target=site.serve_forever, daemon=True).start()
    # Browsers take every name below `localhost` for this machine, and each for an origin of its own.
    claims = browse(f"http://page.localhost:{site.server_port}/page.html?server={os.environ['TANDEM_URL']}")
    wrong = {claim: holds for claim, holds in claims.items() if (holds is True) != (is_allowed or claim == NEVER)}
    for claim, holds in claims.items():
        print(f"{'WRONG' if claim in wrong else 'ok':5}  a page that is {sys.argv[1]} {claim}: {holds}")
    sys.exit(1 if wrong or not claims else 0)


main()
