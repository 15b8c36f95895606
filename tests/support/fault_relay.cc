#include "tests/support/fault_relay.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <poll.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <charconv>
#include <vector>

namespace satchel::testing {
namespace {

using Clock = std::chrono::steady_clock;
constexpr size_t kPiece = 64 << 10;

void NonBlocking(int fd) { fcntl(fd, F_SETFL, fcntl(fd, F_GETFL) | O_NONBLOCK); }

// The number behind `text[at]` up to the end of the line; moves `at` behind it.
std::optional<size_t> Number(const std::string& text, size_t* at) {
  const size_t end = text.find("\r\n", *at);
  size_t number = 0;
  if (end == std::string::npos) return std::nullopt;
  std::from_chars(text.data() + *at + 1, text.data() + end, number);
  *at = end + 2;
  return number;
}

// Length of the command that `text` begins with, and its name; nothing while it is not whole.
std::optional<size_t> WholeCommand(const std::string& text, std::string* name) {
  size_t at = 0;
  const auto count = Number(text, &at);
  if (!count) return std::nullopt;
  for (size_t i = 0; i < *count; ++i) {
    const auto size = Number(text, &at);
    if (!size || text.size() < at + *size + 2) return std::nullopt;
    if (i == 0) *name = text.substr(at, *size);
    at += *size + 2;
  }
  return at;
}

std::string Bulk(const std::string& text) {
  return "$" + std::to_string(text.size()) + "\r\n" + text + "\r\n";
}

// A command that the server answers with this error, in its turn.
std::string ErrorCommand(const std::string& error) {
  return "*4\r\n" + Bulk("EVAL") + Bulk("return redis.error_reply(ARGV[1])") + Bulk("0") +
         Bulk(error);
}

}  // namespace

FaultRelay::FaultRelay(const std::string& to)
    : to_(to), listen_(ListenOn("127.0.0.1:0")), wake_(eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC)) {
  address_ = "127.0.0.1:" + std::to_string(BoundPort(listen_.get()));
  thread_ = std::thread([this] { Run(); });
}

FaultRelay::~FaultRelay() {
  {
    const std::lock_guard lock(mutex_);
    stop_ = true;
  }
  eventfd_write(wake_.get(), 1);
  thread_.join();
}

void FaultRelay::Set(Faults faults) {
  {
    const std::lock_guard lock(mutex_);
    faults_ = std::move(faults);
    for (Link& link : links_) link.replied = 0;
  }
  eventfd_write(wake_.get(), 1);
}

void FaultRelay::ResetAll() {
  {
    const std::lock_guard lock(mutex_);
    reset_all_ = true;
  }
  eventfd_write(wake_.get(), 1);
}

size_t FaultRelay::accepted() const {
  const std::lock_guard lock(mutex_);
  return accepted_;
}

size_t FaultRelay::commands(const std::string& name) const {
  const std::lock_guard lock(mutex_);
  const auto found = commands_.find(name);
  return found == commands_.end() ? 0 : found->second;
}

size_t FaultRelay::cuts() const {
  const std::lock_guard lock(mutex_);
  return cuts_;
}

void FaultRelay::Run() {
  for (;;) {
    std::vector<pollfd> polls;
    int wait = -1;
    {
      const std::lock_guard lock(mutex_);
      if (stop_) return;
      polls.push_back({wake_.get(), POLLIN, 0});
      polls.push_back({listen_.get(), POLLIN, 0});
      const auto now = Clock::now();
      for (const Link& link : links_) {
        // Held bytes stay in the kernel: that is what a stopped server looks like.
        const short reads = faults_.hold ? 0 : POLLIN;
        const bool due = !link.down.empty() && link.down.front().due <= now;
        if (!link.down.empty() && !due && !faults_.hold) {
          const auto left =
              std::chrono::ceil<std::chrono::milliseconds>(link.down.front().due - now);
          wait = wait < 0 ? static_cast<int>(left.count())
                          : std::min(wait, static_cast<int>(left.count()));
        }
        polls.push_back({link.client.get(),
                         static_cast<short>(reads | (due && !faults_.hold ? POLLOUT : 0)), 0});
        polls.push_back(
            {link.server_gone ? -1 : link.server.get(),
             static_cast<short>(reads | (link.up.empty() || faults_.hold ? 0 : POLLOUT)), 0});
      }
    }
    poll(polls.data(), polls.size(), wait);
    const std::lock_guard lock(mutex_);
    eventfd_t ignored;
    eventfd_read(wake_.get(), &ignored);
    size_t i = 2;
    for (Link& link : links_) {
      if (i + 1 >= polls.size()) break;
      const short client = polls[i++].revents;
      const short server = polls[i++].revents;
      if (faults_.hold) {
        if (((client | server) & (POLLERR | POLLHUP)) != 0) link.dead = true;
        continue;
      }
      if ((client & (POLLIN | POLLHUP | POLLERR)) != 0) FromClient(link);
      if ((server & (POLLIN | POLLHUP | POLLERR)) != 0) FromServer(link);
      Flush(link);
    }
    if (reset_all_) {
      for (Link& link : links_) {
        ResetConnection(&link.client);
        link.dead = true;
      }
      reset_all_ = false;
    }
    links_.remove_if([](const Link& link) { return link.dead; });
    if ((polls[1].revents & POLLIN) != 0) Accept();
  }
}

void FaultRelay::Accept() {
  UniqueFd client(accept4(listen_.get(), nullptr, nullptr, SOCK_CLOEXEC));
  if (!client) return;
  ++accepted_;
  if (faults_.refuse) {
    ResetConnection(&client);
    return;
  }
  UniqueFd server = ConnectTo(to_, Deadline::In(std::chrono::seconds(5)));
  if (!server) {
    ResetConnection(&client);
    return;
  }
  NonBlocking(client.get());
  NonBlocking(server.get());
  links_.push_back({std::move(client), std::move(server)});
}

void FaultRelay::FromClient(Link& link) {
  char buffer[kPiece];
  const ssize_t size = recv(link.client.get(), buffer, sizeof buffer, 0);
  if (size < 0 && (errno == EAGAIN || errno == EINTR)) return;
  if (size <= 0) {
    link.dead = true;
    return;
  }
  link.in.append(buffer, static_cast<size_t>(size));
  Forward(link);
}

void FaultRelay::Forward(Link& link) {
  std::string name;
  while (const auto size = WholeCommand(link.in, &name)) {
    std::transform(name.begin(), name.end(), name.begin(),
                   [](unsigned char c) { return static_cast<char>(std::toupper(c)); });
    ++commands_[name];
    const auto error = faults_.error ? faults_.error(name) : std::nullopt;
    link.up += error ? ErrorCommand(*error) : link.in.substr(0, *size);
    link.in.erase(0, *size);
  }
}

void FaultRelay::FromServer(Link& link) {
  char buffer[kPiece];
  const ssize_t size = recv(link.server.get(), buffer, sizeof buffer, 0);
  if (size < 0 && (errno == EAGAIN || errno == EINTR)) return;
  if (size <= 0) {
    link.server_gone = true;
    return;
  }
  std::string bytes(buffer, static_cast<size_t>(size));
  if (faults_.flip_every) {
    for (size_t i = 0; i < bytes.size(); ++i) {
      if ((link.replied + i + 1) % *faults_.flip_every == 0) bytes[i] ^= 4;
    }
  }
  link.replied += bytes.size();
  if (faults_.cut_after && link.replied > *faults_.cut_after) {
    bytes.resize(bytes.size() - std::min(bytes.size(), link.replied - *faults_.cut_after));
    link.server_gone = true;
    ++cuts_;
  }
  link.down.push_back({Clock::now() + faults_.delay, std::move(bytes)});
}

void FaultRelay::Flush(Link& link) {
  if (!link.up.empty() && !link.server_gone) {
    const ssize_t sent = send(link.server.get(), link.up.data(), link.up.size(), MSG_NOSIGNAL);
    if (sent > 0) link.up.erase(0, static_cast<size_t>(sent));
    if (sent < 0 && errno != EAGAIN) link.server_gone = true;
  }
  while (!link.down.empty() && link.down.front().due <= Clock::now()) {
    std::string& bytes = link.down.front().bytes;
    if (!bytes.empty()) {
      const ssize_t sent = send(link.client.get(), bytes.data(), bytes.size(), MSG_NOSIGNAL);
      if (sent < 0) {
        if (errno != EAGAIN) link.dead = true;
        return;
      }
      bytes.erase(0, static_cast<size_t>(sent));
      if (!bytes.empty()) return;
    }
    link.down.pop_front();
  }
  if (link.server_gone && link.down.empty()) {
    ResetConnection(&link.client);
    link.dead = true;
  }
}

}  // namespace satchel::testing
