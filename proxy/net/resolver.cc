#include "proxy/net/resolver.h"

#include <ares.h>

#include <algorithm>
#include <limits>
#include <map>
#include <mutex>
#include <optional>

namespace satchel::net {
namespace {

using cache::ErrorSource;
using cache::Fail;

std::string LowerCase(std::string_view text) {
  std::string lower(text);
  for (char& c : lower) {
    if (c >= 'A' && c <= 'Z') c = static_cast<char>(c - 'A' + 'a');
  }
  return lower;
}

bool IsName(std::string_view host) {
  if (host.empty() || host.size() > 254) return false;
  return std::all_of(host.begin(), host.end(), [](char c) {
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '.' ||
           c == '-' || c == '_';
  });
}

bool IsLocalhost(std::string_view lower) {
  if (lower.ends_with('.')) lower.remove_suffix(1);
  return lower == "localhost" || lower.ends_with(".localhost");
}

// IPv4 first: what listens on one of the two only mostly listens there.
std::vector<Address> Loopbacks() {
  return {*Address::FromIp("127.0.0.1", 0), *Address::FromIp("::1", 0)};
}

}  // namespace

struct Resolver::Request {
  uint16_t port = 0;
  Done done;

  void Finish(const Answer& answer) {
    if (!done) return;
    const Done call = std::exchange(done, nullptr);
    if (!answer) {
      call(std::unexpected(answer.error()));
      return;
    }
    std::vector<Address> addresses = *answer;
    for (Address& address : addresses) address = address.WithPort(port);
    call(std::move(addresses));
  }
};

namespace {

// Delivers at the end of the turn to whoever still waits by then.
template <typename Request, typename Answer>
void FinishLater(EventLoop& loop, std::vector<std::weak_ptr<Request>> requests, Answer answer) {
  loop.AtTurnEnd([requests = std::move(requests), answer = std::move(answer)] {
    for (const auto& weak : requests) {
      if (const auto request = weak.lock()) request->Finish(answer);
    }
  });
}

}  // namespace

struct Resolver::Name {
  Resolver* resolver = nullptr;
  std::string key;
  bool asking = false;
  std::vector<std::weak_ptr<Request>> waiters;
  std::optional<Answer> answer;
  int64_t expires_ms = 0;
  std::vector<Address> last_good;
  int64_t last_good_until_ms = 0;
  Timer timeout;
};

// c-ares' sockets and deadlines on our loop.
struct Resolver::Ares {
  struct Socket {
    Ares* ares;
    int fd;
    IoWatch watch;
  };

  EventLoop& loop;
  ares_channel channel = nullptr;
  std::map<int, Socket> sockets;
  Timer timer;
  std::string error;

  Ares(EventLoop& event_loop, const Options& options) : loop(event_loop) {
    static std::once_flag once;  // not thread-safe in this version of c-ares
    std::call_once(once, [] { ares_library_init(ARES_LIB_INIT_ALL); });
    char lookups[] = "fb";  // /etc/hosts, then servers
    ares_options setup{};
    setup.timeout = static_cast<int>(options.attempt_ms);
    setup.tries = 3;
    setup.lookups = lookups;
    setup.sock_state_cb = &Ares::OnSocketState;
    setup.sock_state_cb_data = this;
    int status = ares_init_options(
        &channel, &setup,
        ARES_OPT_TIMEOUTMS | ARES_OPT_TRIES | ARES_OPT_LOOKUPS | ARES_OPT_SOCK_STATE_CB);
    if (status == ARES_SUCCESS && !options.servers.empty()) {
      status = ares_set_servers_ports_csv(channel, options.servers.c_str());
    }
    if (status != ARES_SUCCESS) error = ares_strerror(status);
    timer.OnFire([this] { Process(ARES_SOCKET_BAD, ARES_SOCKET_BAD); });
  }

  ~Ares() {
    if (channel != nullptr) ares_destroy(channel);
  }

  static void OnSocketState(void* self, ares_socket_t fd, int readable, int writable) {
    auto* ares = static_cast<Ares*>(self);
    if (readable == 0 && writable == 0) {
      ares->sockets.erase(fd);
      return;
    }
    const auto [it, added] = ares->sockets.try_emplace(fd);
    Socket& socket = it->second;
    const short what =
        static_cast<short>((readable != 0 ? EV_READ : 0) | (writable != 0 ? EV_WRITE : 0));
    if (added) {
      socket.ares = ares;
      socket.fd = fd;
      socket.watch.Start(ares->loop, fd, what, &Ares::OnIo, &socket);
    } else {
      socket.watch.Watch(what);
    }
  }

  static void OnIo(int, short what, void* self) {
    const auto* socket = static_cast<Socket*>(self);
    const int fd = socket->fd;
    // The socket may be gone when this returns.
    socket->ares->Process((what & EV_READ) != 0 ? fd : ARES_SOCKET_BAD,
                          (what & EV_WRITE) != 0 ? fd : ARES_SOCKET_BAD);
  }

  void Process(ares_socket_t read, ares_socket_t write) {
    ares_process_fd(channel, read, write);
    ArmTimer();
  }

  void ArmTimer() {
    timeval left;
    if (ares_timeout(channel, nullptr, &left) == nullptr) {
      timer.Cancel();
      return;
    }
    loop.SetTimer(timer, int64_t{left.tv_sec} * 1000 + left.tv_usec / 1000 + 1);
  }
};

Resolver::Resolver(EventLoop& loop, Options options)
    : loop_(loop), options_(std::move(options)), ares_(std::make_unique<Ares>(loop, options_)) {}

// ares_ goes first: it calls back for every open question, with pointers to names.
Resolver::~Resolver() { ares_.reset(); }

std::unique_ptr<Resolver::Pending> Resolver::Resolve(std::string_view host, uint16_t port,
                                                     Done done) {
  struct Handle final : Pending {
    std::shared_ptr<Request> request;
  };
  auto handle = std::make_unique<Handle>();
  handle->request = std::make_shared<Request>(port, std::move(done));
  const auto answer = [&](Answer known) {
    FinishLater<Request>(loop_, {handle->request}, std::move(known));
    return std::move(handle);
  };

  if (host.starts_with("unix:")) {
    cache::Result<Address> address = Address::Parse(host);
    if (!address) return answer(std::unexpected(address.error()));
    return answer(std::vector{*address});
  }
  if (const auto literal = Address::FromIp(host, port)) return answer(std::vector{*literal});
  std::string key = LowerCase(host);
  if (IsLocalhost(key)) return answer(Loopbacks());
  if (!IsName(key)) return answer(Fail(ErrorSource::kUpstream, "not a host name: " + key));

  Name* name = Enter(std::move(key));
  if (name == nullptr || waiting_ >= options_.max_waiting) {
    return answer(Fail(ErrorSource::kInternal, "too many names are being resolved"));
  }
  if (name->answer && loop_.now_ms() < name->expires_ms) {
    counters_.hits.Add();
    return answer(*name->answer);
  }
  name->waiters.push_back(handle->request);
  ++waiting_;
  // A question that outlived its deadline may still be open: those who come now wait for it anew.
  if (!name->timeout.armed()) loop_.SetTimer(name->timeout, options_.timeout_ms);
  if (!name->asking) Ask(*name);
  return handle;
}

Resolver::Name* Resolver::Enter(std::string key) {
  if (const auto found = names_.find(key); found != names_.end()) {
    order_.splice(order_.begin(), order_, found->second);
    return found->second->get();
  }
  if (names_.size() >= options_.max_names) {
    const auto victim = std::find_if(order_.rbegin(), order_.rend(), [](const auto& name) {
      return !name->asking && name->waiters.empty();
    });
    if (victim == order_.rend()) return nullptr;
    names_.erase((*victim)->key);
    order_.erase(std::next(victim).base());
  }
  auto name = std::make_unique<Name>();
  name->resolver = this;
  name->key = std::move(key);
  name->timeout.OnFire([this, raw = name.get()] {
    OnAnswer(*raw, Fail(ErrorSource::kUpstream, "no answer in time"), 0, true);
  });
  Name* raw = name.get();
  order_.push_front(std::move(name));
  names_.emplace(raw->key, order_.begin());
  return raw;
}

void Resolver::Ask(Name& name) {
  counters_.questions.Add();
  if (!ares_->error.empty()) {
    OnAnswer(name, Fail(ErrorSource::kUpstream, ares_->error), 0, true);
    return;
  }
  name.asking = true;
  ares_addrinfo_hints hints{};
  hints.ai_family = AF_UNSPEC;
  hints.ai_socktype = SOCK_STREAM;
  ares_getaddrinfo(
      ares_->channel, name.key.c_str(), nullptr, &hints,
      [](void* argument, int status, int, ares_addrinfo* found) {
        if (status == ARES_EDESTRUCTION || status == ARES_ECANCELLED) return;
        auto& asked = *static_cast<Name*>(argument);
        asked.asking = false;
        if (status != ARES_SUCCESS || found == nullptr) {
          const bool failed = status != ARES_ENOTFOUND && status != ARES_ENODATA;
          asked.resolver->OnAnswer(asked, Fail(ErrorSource::kUpstream, ares_strerror(status)), 0,
                                   failed);
          return;
        }
        std::vector<Address> addresses;
        int ttl = std::numeric_limits<int>::max();
        for (auto* node = found->nodes; node != nullptr; node = node->ai_next) {
          const Address address = Address::From(node->ai_addr, node->ai_addrlen);
          if (!address.is_ip()) continue;
          ttl = std::min(ttl, node->ai_ttl);
          if (std::find(addresses.begin(), addresses.end(), address) == addresses.end()) {
            addresses.push_back(address);
          }
        }
        ares_freeaddrinfo(found);
        if (addresses.empty()) {
          asked.resolver->OnAnswer(asked, Fail(ErrorSource::kUpstream, "no address"), 0, false);
        } else {
          asked.resolver->OnAnswer(asked, std::move(addresses), int64_t{ttl} * 1000, false);
        }
      },
      &name);
  ares_->ArmTimer();
}

void Resolver::OnAnswer(Name& name, Answer answer, int64_t ttl_ms, bool servers_failed) {
  name.timeout.Cancel();
  const int64_t now = loop_.now_ms();
  if (answer) {
    name.expires_ms = now + std::clamp(ttl_ms, options_.min_ttl_ms, options_.max_ttl_ms);
    name.last_good = *answer;
    name.last_good_until_ms = name.expires_ms + options_.stale_ms;
  } else {
    counters_.failures.Add();
    answer.error().message = "cannot resolve " + name.key + ": " + answer.error().message;
    name.expires_ms = now + options_.negative_ttl_ms;
    if (servers_failed && !name.last_good.empty() && now < name.last_good_until_ms) {
      counters_.stale.Add();
      answer = name.last_good;
    }
  }
  name.answer = answer;
  waiting_ -= name.waiters.size();
  FinishLater<Request>(loop_, std::exchange(name.waiters, {}), std::move(answer));
}

}  // namespace satchel::net
