#include "proxy/redis/connection.h"

#include <fcntl.h>
#include <netinet/tcp.h>
#include <sys/socket.h>
#include <sys/uio.h>
#include <unistd.h>

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
                       Hooks hooks)
    : loop_(loop),
      limits_(limits),
      hooks_(std::move(hooks)),
      reader_(limits.reply),
      self_(std::make_shared<Connection*>(this)) {
  stall_timer_.OnFire([this] { OnStallTimer(); });
  fd_ = socket(address.family(), SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
  if (fd_ < 0) {
    Close(SystemError("socket", errno));
    return;
  }
  const int on = 1;
  if (address.is_ip()) {
    setsockopt(fd_, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
    setsockopt(fd_, SOL_SOCKET, SO_KEEPALIVE, &on, sizeof on);
  }
  if (connect(fd_, address.raw(), address.size) != 0 && errno != EINPROGRESS) {
    Close(SystemError("connect", errno));
    return;
  }
  // A connect that succeeded at once is seen as writable in the next turn.
  watch_.Start(
      loop_, fd_, EV_WRITE,
      [](void* self, short what) { static_cast<Connection*>(self)->OnIo(what); }, this);
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
  if (fd_ >= 0) close(fd_);
}

bool Connection::Fits(const Command& command) const {
  return !closed_ && waiting() < limits_.max_calls &&
         unsent_ + command.bytes() <= limits_.max_unsent;
}

bool Connection::Send(Command command, std::shared_ptr<CallState> call) {
  if (!Fits(command)) return false;
  if (open_) {
    Enqueue(std::move(command), std::move(call));
  } else {
    unsent_ += command.bytes();
    held_.push_back({std::move(command), std::move(call)});
  }
  return true;
}

bool Connection::SendGreeting(Command command, std::shared_ptr<CallState> call) {
  if (!Fits(command)) return false;
  Enqueue(std::move(command), std::move(call));
  return true;
}

void Connection::Open() {
  open_ = true;
  for (Held& held : std::exchange(held_, {})) {
    unsent_ -= held.command.bytes();
    if (held.call->done) Enqueue(std::move(held.command), std::move(held.call));
  }
}

void Connection::Enqueue(Command command, std::shared_ptr<CallState> call) {
  const int64_t now = loop_.now_ms();
  queue_.push_back({std::move(call), now});
  if (!stall_timer_.armed()) loop_.SetTimer(stall_timer_, limits_.stall_ms);
  const size_t strings = out_.size();
  const size_t last = strings == 0 ? 0 : out_.back().size();
  std::move(command).WriteTo(out_);
  if (strings != 0) unsent_ += out_[strings - 1].size() - last;
  for (size_t i = strings; i < out_.size(); ++i) unsent_ += out_[i].size();
  ScheduleFlush();
}

void Connection::ScheduleFlush() {
  if (flush_scheduled_ || !connected_) return;
  flush_scheduled_ = true;
  loop_.AtTurnEnd([self = self_] {
    if (*self == nullptr) return;
    (*self)->flush_scheduled_ = false;
    (*self)->Flush();
  });
}

void Connection::OnIo(short what) {
  if (!connected_) {
    OnConnected();
    return;
  }
  if ((what & EV_WRITE) != 0) Flush();
  if ((what & EV_READ) != 0 && !closed_) ReadSome();
}

void Connection::OnConnected() {
  int error = 0;
  socklen_t size = sizeof error;
  getsockopt(fd_, SOL_SOCKET, SO_ERROR, &error, &size);
  if (error != 0) {
    Close(SystemError("connect", error));
    return;
  }
  connected_ = true;
  watch_.Watch(EV_READ);
  if (hooks_.on_connected) hooks_.on_connected();
  if (!closed_ && unsent_ != 0) ScheduleFlush();
}

void Connection::Flush() {
  if (closed_ || !connected_) return;
  while (out_index_ < out_.size()) {
    std::array<iovec, kMaxIov> pieces;
    size_t count = 0;
    for (size_t i = out_index_; i < out_.size() && count < kMaxIov; ++i) {
      const size_t skip = i == out_index_ ? out_offset_ : 0;
      if (out_[i].size() > skip) pieces[count++] = {out_[i].data() + skip, out_[i].size() - skip};
    }
    if (count == 0) break;
    msghdr message{};
    message.msg_iov = pieces.data();
    message.msg_iovlen = count;
    const ssize_t sent = sendmsg(fd_, &message, MSG_NOSIGNAL);
    if (sent < 0) {
      if (errno == EINTR) continue;
      if (errno == EAGAIN || errno == EWOULDBLOCK) {
        watch_.Watch(EV_READ | EV_WRITE);
        return;
      }
      Close(SystemError("write", errno));
      return;
    }
    ++totals_.writes;
    Written(static_cast<size_t>(sent));
  }
  // All is written. One string keeps its memory for the next turn.
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
  watch_.Watch(EV_READ);
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
    const ssize_t size = recv(fd_, buffer.data(), buffer.size(), 0);
    if (size < 0) {
      if (errno == EINTR) continue;
      if (errno != EAGAIN && errno != EWOULDBLOCK) Close(SystemError("read", errno));
      return;
    }
    if (size == 0) {
      Close("closed by the server");
      return;
    }
    totals_.bytes_in += static_cast<uint64_t>(size);
    last_read_ms_ = loop_.now_ms();
    reader_.Feed({buffer.data(), static_cast<size_t>(size)});
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
    if (static_cast<size_t>(size) < buffer.size()) return;
  }
}

void Connection::OnReply(Reply reply) {
  if (queue_.empty()) {
    Close("protocol: a reply nobody asked for");
    return;
  }
  const std::shared_ptr<CallState> call = std::move(queue_.front().call);
  queue_.pop_front();
  if (hooks_.on_outcome) hooks_.on_outcome(*call, &reply);
  if (!call->done || closed_) {
    if (call->done) call->Finish(Fail(ErrorSource::kStore, "connection closed"));
    return;
  }
  if (!reply.IsError()) {
    call->Finish(std::move(reply));
    return;
  }
  if (call->script != nullptr && reply.ErrorCode() == "NOSCRIPT") {
    const Script& script = *std::exchange(call->script, nullptr);
    if (Send(call->arguments.Eval(script), call)) return;
  }
  call->Finish(Fail(ErrorSource::kStore, std::move(reply.text)));
}

void Connection::Close(std::string reason) {
  if (closed_) return;
  closed_ = true;
  open_ = false;
  watch_.Stop();
  stall_timer_.Cancel();
  if (fd_ >= 0) close(fd_);
  fd_ = -1;
  out_.clear();
  out_index_ = out_offset_ = unsent_ = 0;
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
