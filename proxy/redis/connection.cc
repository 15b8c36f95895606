#include "proxy/redis/connection.h"

#include <netinet/tcp.h>
#include <openssl/ssl.h>
#include <sys/socket.h>
#include <sys/uio.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstring>
#include <utility>

namespace satchel::redis {
namespace {

using cache::ErrorSource;
using cache::Fail;

constexpr size_t kReadSize = 64 << 10;
constexpr int kReadsPerTurn = 16;  // then others get their turn
constexpr size_t kMaxIov = 64;
constexpr size_t kKeepCapacity = 64 << 10;

std::string SystemError(const char* what, int error) {
  return std::string(what) + ": " + std::strerror(error);
}

}  // namespace

PendingReply& PendingReply::operator=(PendingReply&& other) noexcept {
  if (this != &other) {
    Cancel();
    call_ = std::move(other.call_);
  }
  return *this;
}

void PendingReply::Cancel() {
  if (call_ == nullptr) return;
  const auto call = std::move(call_);
  call->done = nullptr;
  call->deadline.Cancel();
}

bool PendingReply::waiting() const { return call_ != nullptr && call_->done != nullptr; }

void CallState::Finish(cache::Result<Reply> result) {
  deadline.Cancel();
  if (const Connection::Done call = std::exchange(done, nullptr)) call(std::move(result));
}

Connection::Connection(net::EventLoop& loop, const net::Address& address, Limits limits,
                       Hooks hooks, TlsTo tls)
    : loop_(loop),
      limits_(limits),
      hooks_(std::move(hooks)),
      tls_(std::move(tls)),
      reader_(limits.reply),
      self_(std::make_shared<Connection*>(this)) {
  stall_timer_.OnFire([this] { OnStallTimer(); });
  const int fd = socket(address.family(), SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
  if (fd < 0) {
    Close(SystemError("socket", errno));
    return;
  }
  SSL* const ssl = tls_.context == nullptr ? nullptr : tls_.context->NewSession(tls_.host);
  stream_ = net::Stream(fd, ssl);
  if (tls_.context != nullptr && (ssl == nullptr || SSL_set_fd(ssl, fd) != 1)) {
    Close("cannot begin a TLS session");
    return;
  }
  const int on = 1;
  if (address.is_ip()) {
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
    setsockopt(fd, SOL_SOCKET, SO_KEEPALIVE, &on, sizeof on);
  }
  if (connect(fd, address.raw(), address.size) != 0 && errno != EINPROGRESS) {
    Close(SystemError("connect", errno));
    return;
  }
  // A connect that succeeded at once is seen as writable in the next turn.
  watch_.Start(
      loop_, fd, EV_WRITE,
      [](int, short what, void* self) { static_cast<Connection*>(self)->OnIo(what); }, this);
}

Connection::~Connection() {
  *self_ = nullptr;
  const auto forget = [](CallState& call) {
    call.done = nullptr;
    call.deadline.Cancel();
  };
  for (const Slot& slot : queue_) forget(*slot.call);
  for (const Held& held : held_) forget(*held.call);
  watch_.Stop();
}

void Connection::Gone(CallState& call) const {
  if (hooks_.on_gone) hooks_.on_gone(call);
}

bool Connection::MakeRoom(size_t bytes) {
  if (closed_ || bytes > limits_.max_unsent) return false;
  const auto fits = [&] {
    return waiting() < limits_.max_calls && unsent_ + bytes <= limits_.max_unsent;
  };
  while (!fits()) {
    const auto oldest = std::find_if(held_.begin(), held_.end(),
                                     [](const Held& held) { return held.call->droppable; });
    if (oldest == held_.end()) return false;
    const std::shared_ptr<CallState> call = std::move(oldest->call);
    unsent_ -= oldest->command.bytes();
    held_bytes_ -= oldest->command.bytes();
    held_.erase(oldest);
    Gone(*call);
    if (hooks_.on_dropped) hooks_.on_dropped(*call);
    // Not now: another's call is on the stack.
    loop_.AtTurnEnd([call] { call->Finish(Fail(ErrorSource::kStore, "dropped: queue full")); });
  }
  return true;
}

bool Connection::Send(Command command, std::shared_ptr<CallState> call) {
  if (!MakeRoom(command.bytes())) return false;
  if (open_ && held_.empty() && in_wire_form() < limits_.ahead) {
    Enqueue(std::move(command), std::move(call));
  } else {
    unsent_ += command.bytes();
    held_bytes_ += command.bytes();
    held_.push_back({std::move(command), std::move(call)});
  }
  return true;
}

bool Connection::SendGreeting(Command command, std::shared_ptr<CallState> call) {
  if (!MakeRoom(command.bytes())) return false;
  Enqueue(std::move(command), std::move(call));
  return true;
}

bool Connection::SendUnanswered(Command command) {
  if (!MakeRoom(command.bytes())) return false;
  Write(std::move(command));
  return true;
}

void Connection::Open() {
  open_ = true;
  Pump();
}

void Connection::Pump() {
  while (open_ && !held_.empty() && in_wire_form() < limits_.ahead) {
    Held held = std::move(held_.front());
    held_.pop_front();
    unsent_ -= held.command.bytes();
    held_bytes_ -= held.command.bytes();
    if (held.call->done) {
      Enqueue(std::move(held.command), std::move(held.call));
    } else {
      Gone(*held.call);
    }
  }
}

void Connection::Enqueue(Command command, std::shared_ptr<CallState> call) {
  if (call->asking) {
    queue_.push_back({std::make_shared<CallState>(), loop_.now_ms()});
    queue_.back().call->greeting = true;
    Write({"ASKING"});
  }
  queue_.push_back({std::move(call), loop_.now_ms()});
  if (!stall_timer_.armed()) loop_.SetTimer(stall_timer_, limits_.stall_ms);
  Write(std::move(command));
}

void Connection::Write(Command command) {
  const size_t strings = out_.size();
  const size_t last = strings == 0 ? 0 : out_.back().size();
  std::move(command).WriteTo(out_);
  if (strings != 0) unsent_ += out_[strings - 1].size() - last;
  for (size_t i = strings; i < out_.size(); ++i) unsent_ += out_[i].size();
  ScheduleFlush();
}

void Connection::ScheduleFlush() {
  if (flush_scheduled_ || !connected_ || write_blocked_) return;
  flush_scheduled_ = true;
  loop_.AtTurnEnd([self = self_] {
    if (*self == nullptr) return;
    (*self)->flush_scheduled_ = false;
    (*self)->Flush();
  });
}

void Connection::OnIo(short what) {
  if (!reached_) {
    OnConnected();
    return;
  }
  if (!connected_) {
    ContinueHandshake();
    return;
  }
  // Under TLS a write may have to wait until something can be read.
  if ((what & EV_WRITE) != 0 || write_blocked_) Flush();
  if ((what & EV_READ) != 0 && !closed_) ReadSome();
}

void Connection::OnConnected() {
  int error = 0;
  socklen_t size = sizeof error;
  getsockopt(stream_.fd(), SOL_SOCKET, SO_ERROR, &error, &size);
  if (error != 0) {
    Close(SystemError("connect", error));
    return;
  }
  reached_ = true;
  ContinueHandshake();
}

void Connection::ContinueHandshake() {
  if (stream_.ssl() != nullptr) {
    switch (stream_.Handshake(/*as_client=*/true)) {
      case net::IoStatus::kOk:
        break;
      case net::IoStatus::kAgain:
        watch_.Watch(stream_.wants_write() ? EV_WRITE : EV_READ);
        return;
      default:
        Close("TLS: " + stream_.HandshakeError());
        return;
    }
  }
  connected_ = true;
  watch_.Watch(EV_READ);
  if (hooks_.on_connected) hooks_.on_connected();
  if (!closed_ && unsent_ != 0) ScheduleFlush();
}

void Connection::Flush() {
  while (!closed_ && connected_) {
    if (in_wire_form() == 0) {
      ForgetWritten();
      Pump();
      if (in_wire_form() == 0) break;
    }
    std::array<iovec, kMaxIov> pieces;
    size_t count = 0;
    for (size_t i = out_index_; i < out_.size() && count < kMaxIov; ++i) {
      const size_t skip = i == out_index_ ? out_offset_ : 0;
      if (out_[i].size() > skip) pieces[count++] = {out_[i].data() + skip, out_[i].size() - skip};
    }
    errno = 0;
    const net::IoResult sent = stream_.Write({pieces.data(), count});
    if (sent.status == net::IoStatus::kAgain) {
      write_blocked_ = true;
      watch_.Watch(static_cast<short>(EV_READ | (stream_.wants_write() ? EV_WRITE : 0)));
      return;
    }
    if (sent.status != net::IoStatus::kOk) {
      Close(errno == 0 ? "write failed" : SystemError("write", errno));
      return;
    }
    ++totals_.writes;
    Written(sent.bytes);
  }
  write_blocked_ = false;
  if (!closed_) watch_.Watch(EV_READ);
}

void Connection::ForgetWritten() {
  // One string keeps its memory for the next turn.
  if (!out_.empty()) {
    out_.resize(1);
    if (out_[0].capacity() > 2 * kKeepCapacity) {
      out_.clear();
    } else {
      out_[0].clear();
    }
  }
  out_index_ = 0;
  out_offset_ = 0;
}

void Connection::Written(size_t bytes) {
  totals_.bytes_out += bytes;
  unsent_ -= bytes;
  while (bytes != 0) {
    std::string& front = out_[out_index_];
    const size_t left = front.size() - out_offset_;
    if (bytes < left) {
      out_offset_ += bytes;
      return;
    }
    bytes -= left;
    if (front.size() > kKeepCapacity) front = std::string();  // not kept while the rest waits
    ++out_index_;
    out_offset_ = 0;
  }
  if (out_index_ >= kMaxIov && out_index_ < out_.size()) {
    out_.erase(out_.begin(), out_.begin() + static_cast<std::ptrdiff_t>(out_index_));
    out_index_ = 0;
  }
}

void Connection::ReadSome() {
  thread_local std::array<char, kReadSize> buffer;
  const auto self = self_;
  for (int round = 0; round < kReadsPerTurn; ++round) {
    errno = 0;
    const net::IoResult read = stream_.Read(buffer.data(), buffer.size());
    switch (read.status) {
      case net::IoStatus::kOk:
        break;
      case net::IoStatus::kAgain:
        return;
      case net::IoStatus::kEof:
        Close("closed by the server");
        return;
      case net::IoStatus::kError:
        Close(errno == 0 ? "read failed" : SystemError("read", errno));
        return;
    }
    totals_.bytes_in += read.bytes;
    last_read_ms_ = loop_.now_ms();
    reader_.Feed({buffer.data(), read.bytes});
    Reply reply;
    ReplyReader::Next next;
    while ((next = reader_.Read(reply)) == ReplyReader::Next::kReply) {
      OnReply(std::move(reply));
      // The caller may have closed or even destroyed this.
      if (*self == nullptr || closed_) return;
      reply = Reply();
    }
    if (next == ReplyReader::Next::kError) {
      Close("protocol: " + reader_.error());
      return;
    }
    if (read.bytes < buffer.size() && !stream_.HasPending()) return;
  }
}

void Connection::OnReply(Reply reply) {
  if (queue_.empty()) {
    if (hooks_.on_push) {
      hooks_.on_push(std::move(reply));
    } else {
      Close("protocol: a reply nobody asked for");
    }
    return;
  }
  const std::shared_ptr<CallState> call = std::move(queue_.front().call);
  queue_.pop_front();
  if (hooks_.on_outcome) hooks_.on_outcome(*call, &reply);
  if (call->done && !closed_ && reply.IsError()) {
    if (call->script != nullptr && !call->with_text && reply.ErrorCode() == "NOSCRIPT") {
      call->with_text = true;
      if (Send(call->arguments.Eval(*call->script), call)) return;
    } else if (hooks_.on_error && hooks_.on_error(call, reply)) {
      Gone(*call);
      return;
    }
  }
  Gone(*call);
  if (!call->done) return;
  if (closed_) {
    call->Finish(Fail(ErrorSource::kStore, "connection closed"));
  } else if (reply.IsError()) {
    call->Finish(Fail(ErrorSource::kStore, std::move(reply.text)));
  } else {
    call->Finish(std::move(reply));
  }
}

void Connection::Close(std::string reason) {
  if (closed_) return;
  closed_ = true;
  open_ = false;
  watch_.Stop();
  stall_timer_.Cancel();
  stream_.Close();
  out_.clear();
  out_index_ = out_offset_ = unsent_ = held_bytes_ = 0;
  loop_.AtTurnEnd([self = self_, reason = std::move(reason)] {
    if (*self == nullptr) return;
    (*self)->FailAll(reason);
    if (*self != nullptr && (*self)->hooks_.on_closed) (*self)->hooks_.on_closed(reason);
  });
}

void Connection::FailAll(const std::string& reason) {
  const auto self = self_;
  while (*self != nullptr && waiting() != 0) {
    std::shared_ptr<CallState> call;
    if (!queue_.empty()) {
      call = std::move(queue_.front().call);
      queue_.pop_front();
    } else {
      call = std::move(held_.front().call);
      held_.pop_front();
    }
    Gone(*call);
    if (!call->done) continue;
    if (hooks_.on_outcome) hooks_.on_outcome(*call, nullptr);
    call->Finish(Fail(ErrorSource::kStore, "connection lost: " + reason));
  }
}

void Connection::OnStallTimer() {
  if (queue_.empty()) return;
  const int64_t now = loop_.now_ms();
  const int64_t oldest = queue_.front().since_ms;
  const int64_t quiet_until = std::max(oldest, last_read_ms_) + limits_.stall_ms;
  const int64_t bound = oldest + 5 * limits_.stall_ms;
  const int64_t due = std::min(quiet_until, bound);
  if (now >= due) {
    Close("no reply for " + std::to_string(now - oldest) + " ms");
    return;
  }
  loop_.SetTimer(stall_timer_, due - now);
}

}  // namespace satchel::redis
