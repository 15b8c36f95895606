#include "tests/support/origin.h"

#include <poll.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>

namespace satchel::testing {
namespace {

constexpr std::chrono::milliseconds kForever{600'000};

void Wake(const UniqueFd& fd) {
  uint64_t one = 1;
  [[maybe_unused]] ssize_t written = ::write(fd.get(), &one, sizeof(one));
}

Origin::Handler Answer(const Reply& reply) {
  return [reply](OriginExchange& exchange) { exchange.Respond(reply); };
}

}  // namespace

Origin::Origin(const std::string& listen) : address_(listen) {
  otherwise_ =
      Answer({.status = 404, .fields = {{"Content-Type", "text/plain"}}, .body = "none\n"});
  if (address_.ends_with(":0")) {
    port_ = std::make_unique<PortReservation>(address_.substr(0, address_.size() - 2));
    address_ = port_->address();
  }
  Listen();
}

Origin::~Origin() {
  Down();
  if (address_.starts_with("unix:")) ::unlink(address_.c_str() + 5);
}

void Origin::Listen() {
  {
    std::lock_guard lock(mutex_);
    stopping_ = false;
  }
  stop_.Reset(::eventfd(0, EFD_CLOEXEC));
  listen_fd_ = ListenOn(address_);
  if (listen_fd_) accept_thread_ = std::thread([this] { AcceptLoop(); });
}

void Origin::Down() {
  std::vector<std::unique_ptr<Connection>> connections;
  {
    std::lock_guard lock(mutex_);
    stopping_ = true;
    changed_.notify_all();
  }
  Wake(stop_);
  if (accept_thread_.joinable()) accept_thread_.join();
  listen_fd_.Reset();
  {
    std::lock_guard lock(mutex_);
    connections.swap(connections_);
    for (auto& connection : connections) Wake(connection->wake);
  }
  for (auto& connection : connections) connection->thread.join();
}

void Origin::Up() { Listen(); }

void Origin::CloseIdleConnections() {
  std::unique_lock lock(mutex_);
  changed_.wait_for(lock, kPatience, [this] {
    return std::any_of(connections_.begin(), connections_.end(),
                       [](const auto& c) { return c->idle && !c->done; });
  });
  for (auto& connection : connections_) {
    if (connection->idle && !connection->done) Wake(connection->wake);
  }
  changed_.wait_for(lock, kPatience, [this] {
    return std::none_of(connections_.begin(), connections_.end(),
                        [](const auto& c) { return c->idle && !c->done; });
  });
}

void Origin::AcceptLoop() {
  while (WaitFor(listen_fd_.get(), POLLIN, Deadline::In(kForever), stop_.get())) {
    UniqueFd fd(::accept4(listen_fd_.get(), nullptr, nullptr, SOCK_NONBLOCK | SOCK_CLOEXEC));
    if (!fd) continue;
    std::lock_guard lock(mutex_);
    auto finished = std::stable_partition(connections_.begin(), connections_.end(),
                                          [](const auto& c) { return !c->done; });
    for (auto it = finished; it != connections_.end(); ++it) (*it)->thread.join();
    connections_.erase(finished, connections_.end());
    connections_.push_back(std::make_unique<Connection>());
    Connection* self = connections_.back().get();
    self->wake.Reset(::eventfd(0, EFD_CLOEXEC));
    int number = static_cast<int>(++accepted_);
    ++open_;
    self->thread = std::thread(
        [this, number, self, fd = std::move(fd)]() mutable { Serve(std::move(fd), number, self); });
  }
}

void Origin::Serve(UniqueFd fd, int number, Connection* self) {
  ByteReader in(fd.get(), self->wake.get());
  while (ServeOne(&fd, &in, number, self)) {
  }
  if (fd) ::shutdown(fd.get(), SHUT_WR);
  fd.Reset();
  --open_;
  std::lock_guard lock(mutex_);
  self->done = true;
  changed_.notify_all();
}

bool Origin::ServeOne(UniqueFd* fd, ByteReader* in, int number, Connection* self) {
  {
    std::lock_guard lock(mutex_);
    if (stopping_) return false;
    self->idle = in->buffered().empty();
    changed_.notify_all();
  }
  if (in->buffered().empty() && in->Fill(Deadline::In(kForever)) != IoStatus::kOk) return false;
  {
    std::lock_guard lock(mutex_);
    self->idle = false;
  }
  Head head;
  IoStatus status = ReadHead(in, Deadline::In(kForever), &head);
  OriginExchange exchange(this, in, fd);
  OriginRequest& request = exchange.request_;
  request.connection = number;
  request.raw_head = head.raw;
  request.method = head.part[0];
  request.target = head.part[1];
  request.version = head.part[2];
  request.fields = head.fields;
  request.error = head.error;
  if (status != IoStatus::kOk && request.error.empty()) return false;
  uint64_t length = 0;
  BodyFraming framing = RequestFraming(request.fields, &length);
  exchange.body_ = BodyReader(framing, length, 16 * 1024 * 1024);
  exchange.continue_due_ = EqualsIgnoringCase(request.fields.Get("Expect"), "100-continue");
  request.body_complete = framing == BodyFraming::kNone;
  Handler handler = Find(request);
  {
    std::lock_guard lock(mutex_);
    exchange.index_ = requests_.size();
    requests_.push_back(request);
    changed_.notify_all();
  }
  if (!request.error.empty()) return false;
  handler(exchange);
  if (*fd && !exchange.close_ && !exchange.body_.ended()) exchange.ReadBody();
  exchange.PublishBody();
  bool asked_to_close = EqualsIgnoringCase(request.fields.Get("Connection"), "close") ||
                        request.version != "HTTP/1.1";
  return *fd && !exchange.close_ && !asked_to_close && exchange.body_.body().complete;
}

Origin::Handler Origin::Find(const OriginRequest& request) {
  std::lock_guard lock(mutex_);
  std::string path = request.target.substr(0, request.target.find('?'));
  for (const std::string& target : {request.target, path}) {
    auto queued = next_.find(target);
    if (queued != next_.end() && !queued->second.empty()) {
      Handler handler = std::move(queued->second.front());
      queued->second.pop_front();
      return handler;
    }
    auto found = handlers_.find(target);
    if (found != handlers_.end()) return found->second;
  }
  return otherwise_;
}

void Origin::On(const std::string& target, Handler handler) {
  std::lock_guard lock(mutex_);
  handlers_[target] = std::move(handler);
}

void Origin::On(const std::string& target, const Reply& reply) { On(target, Answer(reply)); }

void Origin::Next(const std::string& target, Handler handler) {
  std::lock_guard lock(mutex_);
  next_[target].push_back(std::move(handler));
}

void Origin::Next(const std::string& target, const Reply& reply) { Next(target, Answer(reply)); }

void Origin::Otherwise(Handler handler) {
  std::lock_guard lock(mutex_);
  otherwise_ = std::move(handler);
}

std::vector<OriginRequest> Origin::requests() const {
  std::lock_guard lock(mutex_);
  return requests_;
}

size_t Origin::RequestCount() const {
  std::lock_guard lock(mutex_);
  return requests_.size();
}

size_t Origin::RequestCount(const std::string& target) const {
  std::lock_guard lock(mutex_);
  return static_cast<size_t>(std::count_if(requests_.begin(), requests_.end(),
                                           [&](const auto& r) { return r.target == target; }));
}

OriginRequest Origin::Last(const std::string& target) const {
  std::lock_guard lock(mutex_);
  for (auto it = requests_.rbegin(); it != requests_.rend(); ++it) {
    if (it->target == target) return *it;
  }
  OriginRequest none;
  none.error = "no request for " + target;
  return none;
}

bool Origin::WaitForRequests(size_t count, std::chrono::milliseconds patience) const {
  std::unique_lock lock(mutex_);
  return changed_.wait_for(lock, patience, [&] { return requests_.size() >= count; });
}

bool Origin::WaitForRequests(const std::string& target, size_t count,
                             std::chrono::milliseconds patience) const {
  std::unique_lock lock(mutex_);
  return changed_.wait_for(lock, patience, [&] {
    return static_cast<size_t>(std::count_if(requests_.begin(), requests_.end(),
                                             [&](const auto& r) { return r.target == target; })) >=
           count;
  });
}

bool Origin::WaitUntilHeld(const std::string& name, size_t count,
                           std::chrono::milliseconds patience) const {
  std::unique_lock lock(mutex_);
  return changed_.wait_for(lock, patience, [&] {
    auto held = held_.find(name);
    return held != held_.end() && held->second >= count;
  });
}

void Origin::Release(const std::string& name) {
  std::lock_guard lock(mutex_);
  released_.insert(name);
  changed_.notify_all();
}

void Origin::HoldAgain(const std::string& name) {
  std::lock_guard lock(mutex_);
  released_.erase(name);
}

bool Origin::StopAtBarrier(const std::string& name) {
  std::unique_lock lock(mutex_);
  ++held_[name];
  changed_.notify_all();
  changed_.wait(lock, [&] { return stopping_ || released_.contains(name); });
  --held_[name];
  return !stopping_;
}

}  // namespace satchel::testing
