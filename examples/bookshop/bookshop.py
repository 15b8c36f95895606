#!/usr/bin/env python3
"""A bookshop API to put a cache in front of: HTTP/1.1, SQLite on disk, honest cache headers.

Python's standard library only. Run it with `python3 bookshop.py --port 3000 --db books.db`.
"""

import argparse
import collections
import email.utils
import html
import http.server
import json
import pathlib
import queue
import re
import signal
import socket
import threading
import time
import urllib.parse

from catalogue import Catalogue

HERE = pathlib.Path(__file__).resolve().parent
MAX_BODY = 64 * 1024
WORDS = {
    "en": {"stock": "in stock", "none": "out of stock", "price": "£{0}.{1:02d}"},
    "de": {"stock": "lieferbar", "none": "vergriffen", "price": "{0},{1:02d} £"},
    "fr": {"stock": "disponible", "none": "épuisé", "price": "{0},{1:02d} £"},
}


class Refused(Exception):
    """Ends a request with a problem+json answer."""

    def __init__(self, status, detail):
        super().__init__(detail)
        self.status = status
        self.detail = detail


class Feed:
    """Who listens to the event feed. A listener that falls 100 events behind is let go."""

    def __init__(self):
        self._lock = threading.Lock()
        self._listeners = set()

    def join(self):
        listener = queue.Queue(maxsize=100)
        with self._lock:
            self._listeners.add(listener)
        return listener

    def leave(self, listener):
        with self._lock:
            self._listeners.discard(listener)

    def tell(self, kind, data):
        with self._lock:
            for listener in list(self._listeners):
                try:
                    listener.put_nowait((kind, data))
                except queue.Full:
                    self._listeners.discard(listener)


class Calls:
    """How often the shop itself was asked: what the cache is meant to keep small."""

    def __init__(self):
        self._lock = threading.Lock()
        self._count = collections.Counter()

    def add(self, method, path):
        name = f"{method} {path}"[:200]
        with self._lock:
            known = name in self._count or len(self._count) < 1000
            self._count[name if known else "others"] += 1

    def read(self):
        with self._lock:
            return {"total": sum(self._count.values()), "by_request": dict(self._count)}

    def clear(self):
        with self._lock:
            self._count.clear()


class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    timeout = 120

    def version_string(self):
        return "Bookshop/1.0"

    def handle(self):
        try:
            super().handle()
        except (ConnectionError, TimeoutError):
            pass  # the other side went away
        finally:
            self.server.shop.close_thread()

    def _serve(self):
        self.body = None
        url = urllib.parse.urlsplit(self.path)
        path = urllib.parse.unquote(url.path)
        self.query = urllib.parse.parse_qs(url.query)
        if path not in ("/stats", "/healthz"):  # asking for the counter is not counted
            self.server.calls.add(self.command, self.path)
        method = "GET" if self.command == "HEAD" else self.command
        try:
            self.body = self._read_body()
            allowed = []
            for verb, pattern, action in ROUTES:
                match = re.fullmatch(pattern, path)
                if match and verb == method:
                    return action(self, *match.groups())
                if match:
                    allowed.append(verb)
            if allowed:
                self._send(405, b"", [("Allow", ", ".join(allowed))])
            else:
                raise Refused(404, "there is nothing under this address")
        except Refused as no:
            text = json.dumps({"title": http.HTTPStatus(no.status).phrase, "status": no.status,
                               "detail": no.detail}).encode()
            self._send(no.status, text, [("Content-Type", "application/problem+json"),
                                         ("Cache-Control", "no-store")])

    do_GET = do_HEAD = do_POST = do_PUT = do_DELETE = _serve

    # --- reading ---------------------------------------------------------------------------------

    def _read_body(self):
        if "chunked" in self.headers.get("Transfer-Encoding", "").lower():
            return self._read_chunks()
        try:
            length = int(self.headers.get("Content-Length", "0"))
        except ValueError:
            length = -1
        if not 0 <= length <= MAX_BODY:
            self.close_connection = True
            raise Refused(413 if length > 0 else 400, f"a body may have up to {MAX_BODY} bytes")
        body = self.rfile.read(length)
        if len(body) < length:
            raise ConnectionError("the request ended early")
        return body

    def _read_chunks(self):
        body = b""
        while True:
            try:
                size = int(self.rfile.readline(64).split(b";")[0], 16)
            except ValueError:
                size = -1
            if size < 0 or len(body) + size > MAX_BODY:
                self.close_connection = True
                raise Refused(413 if size > 0 else 400, f"a body may have up to {MAX_BODY} bytes")
            if size == 0:
                while self.rfile.readline(1024).strip():
                    pass
                return body
            body += self.rfile.read(size)
            self.rfile.readline(8)

    def _json(self, **kinds):
        """The fields of a JSON body; each must have the named type, None means absent."""
        try:
            data = json.loads(self.body)
        except ValueError:
            raise Refused(400, "the body is not JSON") from None
        if not isinstance(data, dict):
            raise Refused(400, "the body is not a JSON object")
        values = []
        for name, kind in kinds.items():
            value = data.get(name)
            if value is not None and (not isinstance(value, kind) or isinstance(value, bool)):
                raise Refused(422, f"{name} must be of type {kind.__name__}")
            if kind is int and value is not None and not 0 <= value < 2**31:
                raise Refused(422, f"{name} must be between 0 and 2147483647")
            values.append(value)
        return values

    def _language(self):
        """The best of en, de, fr by Accept-Language; en when none fits."""
        best, best_q = "en", 0.0
        for part in self.headers.get("Accept-Language", "").split(","):
            tag, _, weight = part.strip().partition(";q=")
            try:
                q = float(weight or 1)
            except ValueError:
                continue
            if tag[:2].lower() in WORDS and q > best_q:
                best, best_q = tag[:2].lower(), q
        return best

    # --- answering -------------------------------------------------------------------------------

    def _send(self, status, body, fields=()):
        self.send_response(status)
        for name, value in fields:
            self.send_header(name, value)
        if status not in (204, 304):
            self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if body and status not in (204, 304) and self.command != "HEAD":
            self.wfile.write(body)

    def _send_json(self, status, value, fields=()):
        text = (json.dumps(value, ensure_ascii=False) + "\n").encode()
        self._send(status, text, [("Content-Type", "application/json"), *fields])

    def _validators(self, name):
        """ETag and Last-Modified of an answer made of the catalogue as it is now."""
        version, changed_at = self.server.shop.version()
        return f'"{name}.{version}"', changed_at

    def _unchanged(self, etag, changed_at, fields):
        """Answers 304 when the client's copy is still right (RFC 9110 section 13.2.2)."""
        sent = self.headers.get("If-None-Match")
        if sent is not None:
            tags = [t.strip().removeprefix("W/") for t in sent.split(",")]
            same = "*" in tags or etag in tags
        else:
            try:
                since = email.utils.parsedate_to_datetime(self.headers.get("If-Modified-Since", ""))
                same = changed_at <= since.timestamp()
            except (TypeError, ValueError):
                same = False
        if same:
            self._send(304, b"", fields)
        return same

    def _cached(self, name, cache_control, make, vary=None, kind="application/json", extra=()):
        """A GET answer with validators; `make` runs only when the client's copy is old."""
        etag, changed_at = self._validators(name)
        fields = [("ETag", etag), ("Last-Modified", email.utils.formatdate(changed_at, usegmt=True)),
                  ("Cache-Control", cache_control), *extra]
        if vary:
            fields.append(("Vary", vary))
        if self._unchanged(etag, changed_at, fields):
            return
        value = make()
        if value is None:
            raise Refused(404, "no such book")
        body = value if isinstance(value, bytes) else (json.dumps(value, ensure_ascii=False) + "\n").encode()
        self._send(200, body, [("Content-Type", kind), *fields])

    # --- pages -----------------------------------------------------------------------------------

    def page(self):
        self._cached("page", "public, max-age=0, s-maxage=60", (HERE / "page.html").read_bytes,
                     kind="text/html; charset=utf-8")

    def cover(self, book_id):
        def draw():
            book = self.server.shop.cover(int(book_id))
            if book is None:
                return None
            hue = int(book_id) * 47 % 360
            words = "".join(f'<text x="12" y="{34 + 20 * i}">{html.escape(w)}</text>'
                            for i, w in enumerate(book["title"].split()[:6]))
            return (f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 150 210">'
                    f'<rect width="150" height="210" fill="hsl({hue},45%,38%)"/>'
                    f'<g fill="#fff" font-family="Georgia,serif" font-size="16">{words}</g>'
                    f'<text x="12" y="196" fill="#ddd" font-family="Georgia,serif" font-size="10">'
                    f'{html.escape(book["author"])}</text></svg>\n').encode()
        self._cached(f"cover-{book_id}", "public, max-age=86400", draw, kind="image/svg+xml")

    def titles(self):
        self._cached("titles", "public, s-maxage=5, stale-while-revalidate=30", self.server.shop.titles)

    def book(self, book_id):
        language = self._language()
        words = WORDS[language]

        def make():
            book = self.server.shop.book(int(book_id))
            if book:
                book["price"] = words["price"].format(*divmod(book["price_cents"], 100))
                book["availability"] = words["stock"] if book["stock"] else words["none"]
            return book
        self._cached(f"book-{book_id}-{language}", "public, s-maxage=60, stale-while-revalidate=300",
                     make, vary="Accept-Language", extra=[("Content-Language", language)])

    def bestsellers(self):
        self._cached("bestsellers", "public, s-maxage=2, stale-while-revalidate=60",
                     self.server.shop.bestsellers)

    def search(self):
        text = self.query.get("q", [""])[0].strip()
        if not 1 <= len(text) <= 100:
            raise Refused(400, "say what to look for: /api/search?q=dumas")
        self._cached("search-" + urllib.parse.quote(text, safe=""), "public, s-maxage=30",
                     lambda: self.server.shop.search(text))

    def account(self):
        name = self.headers.get("X-Customer", "nobody")
        self._send_json(200, {"customer": name, "basket": []}, [("Cache-Control", "private, max-age=60")])

    # --- changes ---------------------------------------------------------------------------------

    def add(self):
        title, author, year, price, stock = self._json(title=str, author=str, year=int,
                                                       price_cents=int, stock=int)
        if not title or not author or price is None:
            raise Refused(422, "title, author and price_cents are needed")
        book_id = self.server.shop.add(title[:200], author[:200], year or 0, price, stock or 0)
        self.server.feed.tell("added", {"id": book_id, "title": title[:200]})
        self._send_json(201, {"id": book_id}, [("Location", f"/api/books/{book_id}")])

    def change(self, book_id):
        price, stock = self._json(price_cents=int, stock=int)
        if not self.server.shop.update(int(book_id), price, stock):
            raise Refused(404, "no such book")
        self.server.feed.tell("changed", {"id": int(book_id), "price_cents": price, "stock": stock})
        self._send_json(200, {"id": int(book_id), "changed": True})

    def remove(self, book_id):
        if not self.server.shop.delete(int(book_id)):
            raise Refused(404, "no such book")
        self.server.feed.tell("removed", {"id": int(book_id)})
        self._send(204, b"")

    def review(self, book_id):
        stars, text = self._json(stars=int, text=str)
        if stars is None or not 1 <= stars <= 5:
            raise Refused(422, "stars must be 1 to 5")
        if not self.server.shop.exists(int(book_id)):
            raise Refused(404, "no such book")
        self.server.shop.review(int(book_id), stars, (text or "")[:2000])
        self.server.feed.tell("reviewed", {"id": int(book_id), "stars": stars})
        # Content-Location tells a cache that the book's own page changed too (RFC 9111 section 4.4).
        self._send_json(201, {"id": int(book_id)}, [("Content-Location", f"/api/books/{book_id}")])

    # --- live and operational --------------------------------------------------------------------

    def events(self):
        self.send_response(200)
        self.send_header("Content-Type", "text/event-stream")
        self.send_header("Cache-Control", "no-store")
        self.send_header("Connection", "close")
        self.end_headers()
        self.close_connection = True
        if self.command == "HEAD":
            return
        listener = self.server.feed.join()
        try:
            version, _ = self.server.shop.version()
            self.wfile.write(f'event: hello\ndata: {{"version": {version}}}\n\n'.encode())
            while not self.server.stopping.is_set():
                try:
                    kind, data = listener.get(timeout=5)
                    self.wfile.write(f"event: {kind}\ndata: {json.dumps(data)}\n\n".encode())
                except queue.Empty:
                    self.wfile.write(b": still here\n\n")
        finally:
            self.server.feed.leave(listener)

    def stats(self):
        self._send_json(200, self.server.calls.read(), [("Cache-Control", "no-store")])

    def clear_stats(self):
        self.server.calls.clear()
        self._send(204, b"")

    def health(self):
        self.server.shop.version()
        self._send_json(200, {"status": "ok"}, [("Cache-Control", "no-store")])

    def log_message(self, text, *args):
        if self.server.verbose:
            super().log_message(text, *args)


ROUTES = [
    ("GET", r"/", Handler.page),
    ("GET", r"/covers/(\d{1,9})\.svg", Handler.cover),
    ("GET", r"/api/books", Handler.titles),
    ("POST", r"/api/books", Handler.add),
    ("GET", r"/api/books/(\d{1,9})", Handler.book),
    ("PUT", r"/api/books/(\d{1,9})", Handler.change),
    ("DELETE", r"/api/books/(\d{1,9})", Handler.remove),
    ("POST", r"/api/books/(\d{1,9})/reviews", Handler.review),
    ("GET", r"/api/bestsellers", Handler.bestsellers),
    ("GET", r"/api/search", Handler.search),
    ("GET", r"/api/account", Handler.account),
    ("GET", r"/api/events", Handler.events),
    ("GET", r"/stats", Handler.stats),
    ("DELETE", r"/stats", Handler.clear_stats),
    ("GET", r"/healthz", Handler.health),
]


class Shop(http.server.ThreadingHTTPServer):
    daemon_threads = True
    block_on_close = False
    request_queue_size = 512

    def __init__(self, address, shop, verbose):
        if ":" in address[0]:
            self.address_family = socket.AF_INET6
        super().__init__(address, Handler)
        self.shop = shop
        self.verbose = verbose
        self.feed = Feed()
        self.calls = Calls()
        self.stopping = threading.Event()


def main():
    parser = argparse.ArgumentParser(description="A bookshop API to put a cache in front of.")
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--port", type=int, default=3000, help="0 picks a free one")
    parser.add_argument("--port-file", help="the port is written here once the shop answers")
    parser.add_argument("--db", default="books.db", help="the SQLite file, made if missing")
    parser.add_argument("--min-query-ms", type=int, default=250,
                        help="the least a slow query takes, as on a busy database (default 250)")
    parser.add_argument("--verbose", action="store_true", help="log each request on stderr")
    options = parser.parse_args()

    shop = Shop((options.host, options.port), Catalogue(options.db, options.min_query_ms / 1000),
                options.verbose)

    def stop(*_):
        shop.stopping.set()
        threading.Thread(target=shop.shutdown, daemon=True).start()

    signal.signal(signal.SIGTERM, stop)
    signal.signal(signal.SIGINT, stop)
    port = shop.server_address[1]
    print(f"bookshop: listening on {options.host}:{port}, database {options.db}", flush=True)
    if options.port_file:
        temporary = pathlib.Path(options.port_file + ".new")
        temporary.write_text(f"{port}\n")
        temporary.replace(options.port_file)
    started = time.monotonic()
    shop.serve_forever(poll_interval=0.2)
    print(f"bookshop: stopped after {time.monotonic() - started:.0f} s", flush=True)


if __name__ == "__main__":
    main()
