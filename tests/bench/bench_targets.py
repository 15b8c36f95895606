"""The servers measured: how each is configured, started with one worker on one core, and ended."""
import contextlib
import ctypes
import os
import resource
import subprocess
import tempfile

import bench_measure as measure

CACHE_BYTES = 2 << 30


def descriptors():
    return resource.getrlimit(resource.RLIMIT_NOFILE)[0]


class Target:
    """One server. `pids` are its processes; `about` is printed with the results."""
    name = "?"
    about = ""
    caches = True
    tls = False
    coalesces = True

    def __init__(self, folder, bin_dir, origin_port):
        self.folder = os.path.join(folder, self.name)
        os.makedirs(self.folder)
        self.bin_dir, self.origin_port = bin_dir, origin_port
        self.port = measure.free_port()
        self.tls_port = measure.free_port()
        self.certificate = os.path.join(folder, "cert.pem")
        self.key = os.path.join(folder, "key.pem")
        self.process = None
        self.pids = []

    def command(self):
        raise NotImplementedError

    def write(self, name, text):
        path = os.path.join(self.folder, name)
        with open(path, "w", encoding="utf-8") as file:
            file.write(text)
        return path

    def stdout(self):
        return open(os.path.join(self.folder, "stdout.txt"), "wb")

    def start(self):
        command = self.command()
        with self.stdout() as out, open(os.path.join(self.folder, "stderr.txt"), "wb") as err:
            self.process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=out,
                                            stderr=err, preexec_fn=self.before_exec)
        measure.wait_for_port(self.port, self.process)

    def before_exec(self):
        measure.pin(measure.SERVER_CORE)()

    def find_processes(self):
        """Those alive now: some servers end a process after their start."""
        self.pids = measure.tree(self.process.pid)
        return self.pids

    def complaint(self):
        """The end of what it said, for a failed start."""
        text = ""
        for name in ("stdout.txt", "stderr.txt"):
            try:
                with open(os.path.join(self.folder, name), errors="replace") as file:
                    text += file.read()[-600:]
            except OSError:
                pass
        return text.strip()

    def stop(self):
        measure.stop(self.process)
        self.process = None

    @contextlib.contextmanager
    def that_grows(self):
        """An instance whose memory is taken as it is needed."""
        yield self

    def stored_bytes(self):
        """Memory that holds the cache: private and shared pages, and files kept in memory."""
        return measure.pss_bytes(self.find_processes())

    def version(self):
        return ""

    @staticmethod
    def first_line(command, *args):
        done = subprocess.run([command, *args], capture_output=True, text=True, check=False)
        return (done.stdout + done.stderr).strip().split("\n")[0]


class Limit(Target):
    name = "limit"
    about = "bare epoll, prebuilt answers (limit_server.cc); no proxy"
    caches = False
    tls = True

    def command(self):
        return [os.path.join(self.bin_dir, "limit_server"), str(self.port), "100000",
                str(self.tls_port), self.certificate, self.key]


class Satchel(Target):
    name = "satchel"
    about = ("one worker; access log as JSON lines on stdout, which is /dev/null; metrics on; "
             "L1 1 GiB, taken at the start as HAProxy takes its own; no Redis")
    tls = True
    access = "json"
    preallocate = "true"

    def __init__(self, folder, bin_dir, origin_port):
        super().__init__(folder, bin_dir, origin_port)
        self.binary = os.environ.get("SATCHEL_BINARY", "satchel")
        self.admin_port = measure.free_port()

    def stdout(self):
        return open("/dev/null", "wb")

    def config(self, tls):
        listener = f'  - {{name: web, address: "127.0.0.1:{self.port}", max_connections: 20000}}\n'
        if tls:
            listener += (f'  - {{name: tls, address: "127.0.0.1:{self.tls_port}", tls: {{'
                         f'certificates: [{{cert: "{self.certificate}", key: "{self.key}"}}]}}}}\n')
        return (f"version: 1\nworkers: 1\nlisteners:\n{listener}"
                f'upstreams: {{app: {{servers: ["127.0.0.1:{self.origin_port}"], keepalive: 256}}}}\n'
                f"stores: {{l1: {{size: 1GiB, preallocate: {self.preallocate}}}}}\n"
                f'admin: {{address: "127.0.0.1:{self.admin_port}"}}\n'
                f"log: {{access: {self.access}, to: stdout, level: info}}\n")

    def command(self):
        path = self.write("rules.yaml", self.config(tls=True))
        check = subprocess.run([self.binary, "check", path], capture_output=True, check=False)
        if check.returncode != 0:
            self.tls = False
            path = self.write("rules.yaml", self.config(tls=False))
        return [self.binary, "run", "-c", path]

    @contextlib.contextmanager
    def that_grows(self):
        growing = SatchelThatGrows(tempfile.mkdtemp(dir=self.folder), self.bin_dir,
                                   self.origin_port)
        growing.certificate, growing.key = self.certificate, self.key
        growing.start()
        try:
            yield growing
        finally:
            growing.stop()

    def version(self):
        return self.first_line(self.binary, "--version")


class SatchelThatGrows(Satchel):
    name = "satchel-grows"
    about = "the same, its memory taken as it is needed, in ordinary pages"
    preallocate = "false"

    def before_exec(self):
        super().before_exec()
        # Huge ones would round what is measured to 2 MiB.
        set_thp_disable = 41
        ctypes.CDLL(None).prctl(set_thp_disable, 1, 0, 0, 0)


class SatchelNoLog(Satchel):
    name = "satchel-nolog"
    about = "the same with the access log off"
    access = "off"


class Nginx(Target):
    name = "nginx"
    about = ("proxy_cache in /dev/shm, open_file_cache (as large as descriptors allow), sendfile, keep-alive upstream, "
             "access_log off")
    tls = True
    sendfile = "on"

    def __init__(self, folder, bin_dir, origin_port):
        super().__init__(folder, bin_dir, origin_port)
        self.cache_dir = os.path.join(self.folder, "cache")

    def command(self):
        path = self.write("nginx.conf", f"""
user root; daemon off; worker_processes 1; pid {self.folder}/pid; error_log stderr crit;
worker_rlimit_nofile {descriptors()};
events {{ worker_connections {min(30000, descriptors() // 2)}; multi_accept on; }}
http {{
  access_log off; sendfile {self.sendfile}; tcp_nodelay on;
  keepalive_requests 1000000000; keepalive_timeout 300s;
  client_body_temp_path {self.folder}/body; proxy_temp_path {self.folder}/temp;
  fastcgi_temp_path {self.folder}/f; uwsgi_temp_path {self.folder}/u; scgi_temp_path {self.folder}/s;
  open_file_cache max={min(150000, descriptors() // 2)} inactive=300s; open_file_cache_valid 300s; open_file_cache_min_uses 1;
  proxy_cache_path {self.cache_dir} levels=1:2 keys_zone=c:200m max_size=4g inactive=1h
    use_temp_path=off;
  upstream app {{ server 127.0.0.1:{self.origin_port}; keepalive 256;
    keepalive_requests 1000000000; keepalive_timeout 300s; }}
  server {{
    listen 127.0.0.1:{self.port} backlog=4096;
    listen 127.0.0.1:{self.tls_port} ssl backlog=4096;
    ssl_certificate {self.certificate}; ssl_certificate_key {self.key}; ssl_protocols TLSv1.3;
    location / {{
      proxy_pass http://app; proxy_http_version 1.1; proxy_set_header Connection "";
      proxy_cache c; proxy_cache_key $request_uri; proxy_cache_lock on;
      proxy_cache_use_stale updating; proxy_cache_background_update on;
      add_header X-Cache $upstream_cache_status;
    }}
  }}
}}
""")
        return ["nginx", "-p", self.folder, "-c", path]

    def stored_bytes(self):
        return super().stored_bytes() + measure.disk_bytes(self.cache_dir)

    def version(self):
        return self.first_line("nginx", "-v")


class NginxNoSendfile(Nginx):
    name = "nginx-nosf"
    about = "the same with sendfile off"
    sendfile = "off"


class HAProxy(Target):
    name = "haproxy"
    about = "nbthread 1, cache total-max-size 1024, http-reuse always, no log"
    coalesces = False

    def command(self):
        self.socket_path = os.path.join(self.folder, "admin.sock")
        path = self.write("haproxy.cfg", f"""
global
  nbthread 1
  maxconn {min(25000, (descriptors() - 500) // 2)}
  stats socket {self.socket_path} level admin
defaults
  mode http
  timeout connect 5s
  timeout client 300s
  timeout server 300s
  timeout http-keep-alive 300s
  option http-keep-alive
  http-reuse always
cache store
  total-max-size 1024
  max-object-size 4000000
  max-age 86400
frontend web
  bind 127.0.0.1:{self.port} backlog 4096
  default_backend app
backend app
  http-request cache-use store
  http-response cache-store store
  server origin 127.0.0.1:{self.origin_port} pool-max-conn -1 maxconn 2000
""")
        return ["haproxy", "-db", "-f", path]

    def stored_bytes(self):
        return None  # its cache is mapped whole at the start

    def version(self):
        return self.first_line("haproxy", "-v")


class Varnish(Target):
    name = "varnish"
    about = "malloc storage, one thread pool of 250 to 1000, shared log of 2 MiB"

    def command(self):
        path = self.write("default.vcl", f"""vcl 4.1;
backend default {{ .host = "127.0.0.1"; .port = "{self.origin_port}"; }}
""")
        return ["varnishd", "-F", "-j", "none", "-n", os.path.join(self.folder, "work"), "-f", path,
                "-a", f"127.0.0.1:{self.port}", "-T", "none", "-s", f"malloc,{CACHE_BYTES}",
                "-p", "thread_pools=1", "-p", "thread_pool_min=250", "-p", "thread_pool_max=1000",
                "-p", "listen_depth=4096", "-p", "timeout_idle=300", "-p", "vsl_space=2M"]

    def version(self):
        return self.first_line("varnishd", "-V")


ALL = [Limit, Satchel, SatchelThatGrows, SatchelNoLog, Nginx, NginxNoSendfile, HAProxy, Varnish]
BY_NAME = {kind.name: kind for kind in ALL}
DEFAULT = ["limit", "satchel", "nginx", "nginx-nosf", "haproxy", "varnish"]
QUICK = ["limit", "satchel", "nginx", "haproxy", "varnish"]
