"""The bookshop's database: SQLite on disk, with queries that are slow on purpose.

The orders table has no index and SQLite may not invent one, so "readers also bought" and the
bestseller list walk the whole table, as such queries do in a shop that has grown. A floor
(min_query) keeps the effect visible on a fast machine.
"""

import contextlib
import random
import sqlite3
import threading
import time

CLASSICS = [
    ("Pride and Prejudice", "Jane Austen", 1813), ("Emma", "Jane Austen", 1815),
    ("Persuasion", "Jane Austen", 1817), ("Frankenstein", "Mary Shelley", 1818),
    ("The Last Man", "Mary Shelley", 1826), ("Eugene Onegin", "Alexander Pushkin", 1833),
    ("The Queen of Spades", "Alexander Pushkin", 1834), ("Dead Souls", "Nikolai Gogol", 1842),
    ("The Overcoat", "Nikolai Gogol", 1842), ("The Count of Monte Cristo", "Alexandre Dumas", 1844),
    ("The Three Musketeers", "Alexandre Dumas", 1844), ("Jane Eyre", "Charlotte Brontë", 1847),
    ("Wuthering Heights", "Emily Brontë", 1847), ("Agnes Grey", "Anne Brontë", 1847),
    ("Vanity Fair", "William Makepeace Thackeray", 1848), ("David Copperfield", "Charles Dickens", 1850),
    ("The Scarlet Letter", "Nathaniel Hawthorne", 1850), ("Moby-Dick", "Herman Melville", 1851),
    ("Bleak House", "Charles Dickens", 1853), ("Walden", "Henry David Thoreau", 1854),
    ("North and South", "Elizabeth Gaskell", 1855), ("Madame Bovary", "Gustave Flaubert", 1856),
    ("A Tale of Two Cities", "Charles Dickens", 1859), ("Oblomov", "Ivan Goncharov", 1859),
    ("The Woman in White", "Wilkie Collins", 1860), ("Great Expectations", "Charles Dickens", 1861),
    ("Fathers and Sons", "Ivan Turgenev", 1862), ("Les Misérables", "Victor Hugo", 1862),
    ("Journey to the Centre of the Earth", "Jules Verne", 1864),
    ("Alice's Adventures in Wonderland", "Lewis Carroll", 1865),
    ("Crime and Punishment", "Fyodor Dostoevsky", 1866), ("The Moonstone", "Wilkie Collins", 1868),
    ("Little Women", "Louisa May Alcott", 1868), ("War and Peace", "Leo Tolstoy", 1869),
    ("The Idiot", "Fyodor Dostoevsky", 1869), ("Middlemarch", "George Eliot", 1871),
    ("Twenty Thousand Leagues Under the Seas", "Jules Verne", 1870),
    ("Around the World in Eighty Days", "Jules Verne", 1872),
    ("Far from the Madding Crowd", "Thomas Hardy", 1874), ("Anna Karenina", "Leo Tolstoy", 1878),
    ("The Brothers Karamazov", "Fyodor Dostoevsky", 1880), ("Treasure Island", "R. L. Stevenson", 1883),
    ("Adventures of Huckleberry Finn", "Mark Twain", 1884), ("Bel Ami", "Guy de Maupassant", 1885),
    ("Germinal", "Émile Zola", 1885), ("The Mayor of Casterbridge", "Thomas Hardy", 1886),
    ("Strange Case of Dr Jekyll and Mr Hyde", "R. L. Stevenson", 1886),
    ("The Picture of Dorian Gray", "Oscar Wilde", 1890), ("Hunger", "Knut Hamsun", 1890),
    ("Tess of the d'Urbervilles", "Thomas Hardy", 1891),
    ("The Adventures of Sherlock Holmes", "Arthur Conan Doyle", 1892),
    ("The Jungle Book", "Rudyard Kipling", 1894), ("Effi Briest", "Theodor Fontane", 1895),
    ("The Time Machine", "H. G. Wells", 1895), ("Quo Vadis", "Henryk Sienkiewicz", 1896),
    ("Dracula", "Bram Stoker", 1897), ("The War of the Worlds", "H. G. Wells", 1898),
    ("Heart of Darkness", "Joseph Conrad", 1899), ("Kim", "Rudyard Kipling", 1901),
    ("Buddenbrooks", "Thomas Mann", 1901),
]

ORDERS = 8000
CUSTOMERS = 900

SCHEMA = """
CREATE TABLE books (
  id INTEGER PRIMARY KEY, title TEXT NOT NULL, author TEXT NOT NULL, year INTEGER NOT NULL,
  price_cents INTEGER NOT NULL CHECK (price_cents >= 0), stock INTEGER NOT NULL CHECK (stock >= 0));
CREATE TABLE orders (customer INTEGER NOT NULL, book_id INTEGER NOT NULL, copies INTEGER NOT NULL);
CREATE TABLE reviews (id INTEGER PRIMARY KEY, book_id INTEGER NOT NULL, stars INTEGER NOT NULL,
  text TEXT NOT NULL);
CREATE TABLE catalogue (version INTEGER NOT NULL, changed_at INTEGER NOT NULL);
"""

ALSO_BOUGHT = """
SELECT b.id, b.title, COUNT(*) AS times FROM orders mine
  JOIN orders other ON other.customer = mine.customer AND other.book_id <> mine.book_id
  JOIN books b ON b.id = other.book_id
 WHERE mine.book_id = ? GROUP BY b.id ORDER BY times DESC, b.id LIMIT 5
"""

BESTSELLERS = """
SELECT b.id, b.title, b.author, b.price_cents,
       (SELECT SUM(o.copies) FROM orders o WHERE o.book_id = b.id) AS sold
  FROM books b ORDER BY sold DESC, b.id LIMIT 10
"""

SEARCH = """
SELECT b.id, b.title, b.author, b.year, b.price_cents,
       (SELECT COUNT(*) FROM orders o WHERE o.book_id = b.id) AS orders
  FROM books b WHERE b.title LIKE ?1 OR b.author LIKE ?1 ORDER BY orders DESC, b.id LIMIT 20
"""


class Catalogue:
    """All access to the database. Any thread may call any method; each has its own connection."""

    def __init__(self, path, min_query):
        self._path = path
        self._min_query = min_query
        self._local = threading.local()
        with contextlib.closing(self._open()) as db:
            db.execute("PRAGMA journal_mode = WAL")
            if not db.execute("SELECT 1 FROM sqlite_master WHERE name = 'books'").fetchone():
                self._fill(db)

    def close_thread(self):
        """Closes the calling thread's connection; the next call opens a new one."""
        db = getattr(self._local, "db", None)
        if db is not None:
            db.close()
            self._local.db = None

    def version(self):
        """(version, time of the last change in seconds): what validators are made of. Fast."""
        row = self._db().execute("SELECT version, changed_at FROM catalogue").fetchone()
        return row["version"], row["changed_at"]

    def exists(self, book_id):
        return self._db().execute("SELECT 1 FROM books WHERE id = ?", (book_id,)).fetchone() is not None

    def titles(self):
        return [dict(r) for r in self._db().execute(
            "SELECT id, title, author, year, price_cents FROM books ORDER BY id")]

    def cover(self, book_id):
        row = self._db().execute("SELECT title, author FROM books WHERE id = ?", (book_id,)).fetchone()
        return dict(row) if row else None

    def book(self, book_id):
        """One book with its reviews and what its readers also bought. Slow."""
        with self._slow():
            db = self._db()
            row = db.execute("SELECT * FROM books WHERE id = ?", (book_id,)).fetchone()
            if row is None:
                return None
            book = dict(row)
            book["also_bought"] = [dict(r) for r in db.execute(ALSO_BOUGHT, (book_id,))]
            book["reviews"] = [dict(r) for r in db.execute(
                "SELECT stars, text FROM reviews WHERE book_id = ? ORDER BY id DESC LIMIT 20", (book_id,))]
            return book

    def bestsellers(self):
        with self._slow():
            return [dict(r) for r in self._db().execute(BESTSELLERS)]

    def search(self, text):
        with self._slow():
            pattern = "%" + text.replace("%", "").replace("_", "") + "%"
            return [dict(r) for r in self._db().execute(SEARCH, (pattern,))]

    def add(self, title, author, year, price_cents, stock):
        with self._change() as db:
            return db.execute(
                "INSERT INTO books (title, author, year, price_cents, stock) VALUES (?, ?, ?, ?, ?)",
                (title, author, year, price_cents, stock)).lastrowid

    def update(self, book_id, price_cents, stock):
        """True when the book existed. None leaves a column as it is."""
        with self._change() as db:
            return db.execute(
                "UPDATE books SET price_cents = COALESCE(?, price_cents), stock = COALESCE(?, stock)"
                " WHERE id = ?", (price_cents, stock, book_id)).rowcount == 1

    def delete(self, book_id):
        with self._change() as db:
            return db.execute("DELETE FROM books WHERE id = ?", (book_id,)).rowcount == 1

    def review(self, book_id, stars, text):
        with self._change() as db:
            db.execute("INSERT INTO reviews (book_id, stars, text) VALUES (?, ?, ?)",
                       (book_id, stars, text))

    def _open(self):
        db = sqlite3.connect(self._path, timeout=10, isolation_level=None)
        db.row_factory = sqlite3.Row
        db.execute("PRAGMA automatic_index = OFF")
        return db

    def _db(self):
        if getattr(self._local, "db", None) is None:
            self._local.db = self._open()
        return self._local.db

    @contextlib.contextmanager
    def _slow(self):
        end = time.monotonic() + self._min_query
        try:
            yield
        finally:
            time.sleep(max(0.0, end - time.monotonic()))

    @contextlib.contextmanager
    def _change(self):
        """One write transaction; whatever it changed, every validator changes with it."""
        db = self._db()
        db.execute("BEGIN IMMEDIATE")
        try:
            yield db
            db.execute("UPDATE catalogue SET version = version + 1, changed_at = ?", (int(time.time()),))
            db.execute("COMMIT")
        except BaseException:
            db.execute("ROLLBACK")
            raise

    @staticmethod
    def _fill(db):
        dice = random.Random(7)
        db.execute("BEGIN IMMEDIATE")
        for statement in SCHEMA.split(";"):
            db.execute(statement)
        db.executemany(
            "INSERT INTO books (title, author, year, price_cents, stock) VALUES (?, ?, ?, ?, ?)",
            [(t, a, y, dice.randrange(499, 2999, 50), dice.randrange(0, 40)) for t, a, y in CLASSICS])
        taste = [1.0 / (1 + i % 17) for i in range(len(CLASSICS))]
        books = dice.choices(range(1, len(CLASSICS) + 1), weights=taste, k=ORDERS)
        db.executemany("INSERT INTO orders VALUES (?, ?, ?)",
                       [(dice.randrange(CUSTOMERS), book, dice.randrange(1, 4)) for book in books])
        db.execute("INSERT INTO reviews (book_id, stars, text) VALUES (7, 5, 'Read it twice.')")
        db.execute("INSERT INTO catalogue VALUES (1, ?)", (int(time.time()),))
        db.execute("COMMIT")
