#include "proxy/admin_listener.h"

#include <errno.h>
#include <sys/socket.h>
#include <unistd.h>

#include <charconv>
#include <cstring>
#include <nlohmann/json.hpp>
#include <optional>

#include "proxy/listen_socket.h"

namespace satchel::proxy {
namespace {

using cache::Result;

std::string_view StatusText(int status) {
  switch (status) {
    case 200: return "OK";
    case 202: return "Accepted";
    case 400: return "Bad Request";
    case 401: return "Unauthorized";
    case 403: return "Forbidden";
    case 404: return "Not Found";
    case 405: return "Method Not Allowed";
    case 408: return "Request Timeout";
    case 411: return "Length Required";
    case 413: return "Content Too Large";
    case 409: return "Conflict";
    case 422: return "Unprocessable Content";
    case 431: return "Request Header Fields Too Large";
    case 500: return "Internal Server Error";
    case 503: return "Service Unavailable";
    case 505: return "HTTP Version Not Supported";
    default: return "Unknown";
  }
}

bool IsTokenByte(char c) {
  return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') ||
         (c != '\0' && std::strchr("!#$%&'*+-.^_`|~", c) != nullptr);
}

bool IsToken(std::string_view text) {
  if (text.empty()) return false;
  for (const char c : text) {
    if (!IsTokenByte(c)) return false;
  }
  return true;
}

bool HasControls(std::string_view text) {
  for (const char c : text) {
    const auto byte = static_cast<unsigned char>(c);
    if ((byte < 0x20 && c != '\t') || byte == 0x7f) return true;
  }
  return false;
}

std::string Lower(std::string_view text) {
  std::string lower(text);
  for (char& c : lower) {
    if (c >= 'A' && c <= 'Z') c = static_cast<char>(c + 32);
  }
  return lower;
}

std::string_view Trim(std::string_view text) {
  while (!text.empty() && (text.front() == ' ' || text.front() == '\t')) text.remove_prefix(1);
  while (!text.empty() && (text.back() == ' ' || text.back() == '\t')) text.remove_suffix(1);
  return text;
}

// 0, or the status to refuse with.
int ParseRequestLine(std::string_view line, AdminRequest* request) {
  const size_t first = line.find(' ');
  const size_t second = first == std::string_view::npos ? first : line.find(' ', first + 1);
  if (second == std::string_view::npos) return 400;
  const std::string_view method = line.substr(0, first);
  const std::string_view target = line.substr(first + 1, second - first - 1);
  const std::string_view version = line.substr(second + 1);
  if (!IsToken(method) || HasControls(line)) return 400;
  if (!target.starts_with('/')) return 400;
  if (version != "HTTP/1.1" && version != "HTTP/1.0") return 505;
  const size_t question = target.find('?');
  request->method = method;
  request->path = target.substr(0, question);
  request->query =
      question == std::string_view::npos ? std::string() : std::string(target.substr(question + 1));
  return 0;
}

// 0, or the status to refuse with. `length` is the body's.
int ParseFields(std::string_view lines, AdminRequest* request, std::optional<size_t>* length) {
  while (!lines.empty()) {
    const size_t end = lines.find("\r\n");
    const std::string_view line = lines.substr(0, end);
    lines.remove_prefix(end + 2);
    const size_t colon = line.find(':');
    if (colon == std::string_view::npos || !IsToken(line.substr(0, colon))) return 400;
    const std::string name = Lower(line.substr(0, colon));
    const std::string_view value = Trim(line.substr(colon + 1));
    if (HasControls(value)) return 400;
    if (name == "transfer-encoding") return 411;
    std::string* single = name == "authorization" ? &request->authorization
                          : name == "origin"      ? &request->origin
                          : name == "host"        ? &request->host
                                                  : nullptr;
    if (single != nullptr) {
      if (!single->empty()) return 400;
      *single = value;
    } else if (name == "content-length") {
      size_t number = 0;
      const auto [stop, error] = std::from_chars(value.data(), value.data() + value.size(), number);
      if (length->has_value() || error != std::errc() || stop != value.data() + value.size()) {
        return 400;
      }
      if (number > AdminListener::kMaxBody) return 413;
      *length = number;
    }
  }
  return 0;
}

}  // namespace

AdminReply Problem(int status, std::string_view detail) {
  AdminReply reply;
  reply.status = status;
  reply.type = "application/problem+json";
  reply.body = nlohmann::ordered_json{{"type", "about:blank"},
                                      {"title", StatusText(status)},
                                      {"status", status},
                                      {"detail", detail}}
                   .dump(-1, ' ', false, nlohmann::json::error_handler_t::replace) +
               "\n";
  return reply;
}

AdminParse ParseAdminRequest(std::string_view input, AdminRequest* request, int* status) {
  const size_t end = input.substr(0, AdminListener::kMaxHead).find("\r\n\r\n");
  if (end == std::string_view::npos) {
    if (input.size() < AdminListener::kMaxHead) return AdminParse::kNeedMore;
    *status = 431;
    return AdminParse::kBad;
  }
  const size_t line_end = input.find("\r\n");
  *request = AdminRequest{};
  std::optional<size_t> length;
  *status = ParseRequestLine(input.substr(0, line_end), request);
  if (*status == 0) {
    *status = ParseFields(input.substr(line_end + 2, end - line_end), request, &length);
  }
  if (*status != 0) return AdminParse::kBad;
  const std::string_view rest = input.substr(end + 4);
  if (rest.size() < length.value_or(0)) return AdminParse::kNeedMore;
  request->body = rest.substr(0, length.value_or(0));
  return AdminParse::kComplete;
}

class AdminListener::Connection {
 public:
  Connection(AdminListener& owner, int fd, std::string peer)
      : owner_(owner), fd_(fd), peer_(std::move(peer)), deadline_([this] { OnDeadline(); }) {
    watch_.Start(owner_.loop_, fd_, EV_READ, &Connection::OnReady, this);
    owner_.loop_.SetTimer(deadline_, kDeadlineMs);
  }
  ~Connection() {
    watch_.Stop();
    ::close(fd_);
  }

 private:
  enum class State : uint8_t { kReading, kAnswering, kWriting, kLingering };

  static void OnReady(int, short what, void* self) {
    auto* connection = static_cast<Connection*>(self);
    if ((what & EV_WRITE) != 0) {
      connection->Write();
    } else {
      connection->ReadSome();
    }
  }

  void ReadSome() {
    char buffer[4096];
    const ssize_t n = ::recv(fd_, buffer, sizeof(buffer), 0);
    if (n < 0 && (errno == EAGAIN || errno == EINTR)) return;
    if (n <= 0) {
      Close();
      return;
    }
    if (state_ != State::kReading) return;  // dropped: only the end is waited for
    input_.append(buffer, static_cast<size_t>(n));
    AdminRequest request;
    int status = 0;
    switch (ParseAdminRequest(input_, &request, &status)) {
      case AdminParse::kNeedMore:
        return;
      case AdminParse::kBad:
        Answer(Problem(status, "the request could not be understood"), false);
        return;
      case AdminParse::kComplete:
        request.peer = peer_;
        const bool head_only = request.method == "HEAD";
        state_ = State::kAnswering;
        request.respond = [weak = std::weak_ptr(self_), head_only](const AdminReply& reply) {
          const auto self = weak.lock();
          if (self && (*self)->state_ == State::kAnswering) (*self)->Answer(reply, head_only);
        };
        if (const auto reply = owner_.handler_(request)) Answer(*reply, head_only);
    }
  }

  void Answer(const AdminReply& reply, bool head_only) {
    output_ = "HTTP/1.1 " + std::to_string(reply.status) + " ";
    output_ += StatusText(reply.status);
    output_ += "\r\nContent-Type: " + reply.type +
               "\r\nContent-Length: " + std::to_string(reply.body.size()) +
               "\r\nCache-Control: no-store\r\nX-Content-Type-Options: nosniff"
               "\r\nConnection: close\r\n";
    for (const auto& [name, value] : reply.headers) output_ += name + ": " + value + "\r\n";
    output_ += "\r\n";
    if (!head_only) output_ += reply.body;
    state_ = State::kWriting;
    Write();
  }

  void Write() {
    while (sent_ < output_.size()) {
      const ssize_t n =
          ::send(fd_, output_.data() + sent_, output_.size() - sent_, MSG_NOSIGNAL);
      if (n >= 0) {
        sent_ += static_cast<size_t>(n);
      } else if (errno == EAGAIN) {
        watch_.Watch(EV_WRITE);
        return;
      } else if (errno != EINTR) {
        Close();
        return;
      }
    }
    // Closing with input unread would reset the connection and take the answer with it.
    ::shutdown(fd_, SHUT_WR);
    state_ = State::kLingering;
    watch_.Watch(EV_READ);
  }

  void OnDeadline() {
    if (state_ == State::kReading && !input_.empty()) {
      owner_.loop_.SetTimer(deadline_, kDeadlineMs);
      Answer(Problem(408, "the request took too long"), false);
      return;
    }
    Close();
  }

  void Close() {
    watch_.Stop();
    deadline_.Cancel();
    owner_.Remove(this);
  }

  AdminListener& owner_;
  int fd_;
  std::string peer_;
  State state_ = State::kReading;
  std::string input_;  // at most kMaxHead + kMaxBody and one read
  std::string output_;
  size_t sent_ = 0;
  const std::shared_ptr<Connection*> self_ = std::make_shared<Connection*>(this);
  net::IoWatch watch_;
  net::Timer deadline_;
};

Result<std::unique_ptr<AdminListener>> AdminListener::Open(net::EventLoop& loop,
                                                           const rules::Endpoint& address,
                                                           Handler handler) {
  auto socket = OpenListenSocket(address, false);
  if (!socket) return std::unexpected(std::move(socket.error()));
  return std::unique_ptr<AdminListener>(
      new AdminListener(loop, socket->fd, socket->bound, std::move(handler)));
}

AdminListener::AdminListener(net::EventLoop& loop, int fd, net::Address bound, Handler handler)
    : loop_(loop),
      fd_(fd),
      bound_(bound),
      handler_(std::move(handler)),
      again_([this] { acceptable_.Watch(EV_READ); }) {
  acceptable_.Start(loop_, fd_, EV_READ, &AdminListener::OnAcceptable, this);
}

AdminListener::~AdminListener() {
  StopAccepting();
  connections_.clear();
}

void AdminListener::StopAccepting() {
  if (fd_ < 0) return;
  again_.Cancel();
  acceptable_.Stop();
  ::close(fd_);
  fd_ = -1;
}

void AdminListener::OnAcceptable(int, short, void* self) {
  static_cast<AdminListener*>(self)->Accept();
}

void AdminListener::Accept() {
  while (connections_.size() < kMaxConnections) {
    net::Address peer;
    peer.size = sizeof(peer.storage);
    const int fd = ::accept4(fd_, peer.raw(), &peer.size, SOCK_NONBLOCK | SOCK_CLOEXEC);
    if (fd >= 0) {
      auto connection = std::make_unique<Connection>(*this, fd, peer.IpText());
      connections_.emplace(connection.get(), std::move(connection));
      continue;
    }
    if (errno == EINTR || errno == ECONNABORTED) continue;
    if (errno != EAGAIN) {
      // Out of descriptors or memory: level-triggered readiness would spin.
      constexpr int64_t kPauseMs = 100;
      acceptable_.Watch(0);
      loop_.SetTimer(again_, kPauseMs);
    }
    return;
  }
  acceptable_.Watch(0);  // until one has gone
}

void AdminListener::Remove(Connection* connection) {
  const auto found = connections_.find(connection);
  if (found == connections_.end()) return;
  loop_.DeleteLater(std::move(found->second));
  connections_.erase(found);
  if (fd_ >= 0 && !again_.armed()) acceptable_.Watch(EV_READ);
}

}  // namespace satchel::proxy
