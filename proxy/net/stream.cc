#include "proxy/net/stream.h"

#include <openssl/err.h>
#include <openssl/ssl.h>
#include <sys/sendfile.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <utility>

namespace satchel::net {

Stream::Stream(Stream&& other) noexcept
    : fd_(std::exchange(other.fd_, -1)),
      handshake_error_(other.handshake_error_),
      ssl_(std::exchange(other.ssl_, nullptr)),
      wants_write_(other.wants_write_),
      held_back_(other.held_back_) {}

Stream& Stream::operator=(Stream&& other) noexcept {
  if (this != &other) {
    Close();
    fd_ = std::exchange(other.fd_, -1);
    ssl_ = std::exchange(other.ssl_, nullptr);
    wants_write_ = other.wants_write_;
    held_back_ = other.held_back_;
    handshake_error_ = other.handshake_error_;
  }
  return *this;
}

IoStatus Stream::TlsStatus(int result) {
  const int error = SSL_get_error(ssl_, result);
  wants_write_ = error == SSL_ERROR_WANT_WRITE;
  switch (error) {
    case SSL_ERROR_WANT_READ:
    case SSL_ERROR_WANT_WRITE:
      return IoStatus::kAgain;
    case SSL_ERROR_ZERO_RETURN:
      return IoStatus::kEof;
    default:
      ERR_clear_error();
      return IoStatus::kError;
  }
}

IoStatus Stream::Handshake(bool as_client) {
  ERR_clear_error();
  const int result = as_client ? SSL_connect(ssl_) : SSL_accept(ssl_);
  if (result == 1) return IoStatus::kOk;
  handshake_error_ = static_cast<uint32_t>(ERR_peek_error());
  return TlsStatus(result);
}

std::string Stream::HandshakeError() const {
  const char* reason = handshake_error_ == 0 ? nullptr : ERR_reason_error_string(handshake_error_);
  if (reason == nullptr) return "the connection ended";
  std::string text = reason;
  if (ssl_ != nullptr && ERR_GET_LIB(handshake_error_) == ERR_LIB_SSL &&
      ERR_GET_REASON(handshake_error_) == SSL_R_CERTIFICATE_VERIFY_FAILED) {
    text.append(": ").append(X509_verify_cert_error_string(SSL_get_verify_result(ssl_)));
  }
  return text;
}

IoResult Stream::Read(char* into, size_t size) {
  if (ssl_ != nullptr) {
    ERR_clear_error();
    size_t got = 0;
    const int result = SSL_read_ex(ssl_, into, size, &got);
    if (result == 1) return {IoStatus::kOk, got};
    return {TlsStatus(result), 0};
  }
  for (;;) {
    const ssize_t n = recv(fd_, into, size, 0);
    if (n > 0) return {IoStatus::kOk, static_cast<size_t>(n)};
    if (n == 0) return {IoStatus::kEof, 0};
    if (errno == EINTR) continue;
    wants_write_ = false;
    if (errno == EAGAIN || errno == EWOULDBLOCK) return {IoStatus::kAgain, 0};
    return {IoStatus::kError, 0};
  }
}

[[gnu::always_inline]] inline IoResult Stream::WritePlain(std::span<const iovec> pieces,
                                                           int flags) {
  // The kernel takes one piece sooner than several: what is small is put together here.
  constexpr size_t kGather = 4096;
  char gathered[kGather];
  size_t total = 0;
  for (const iovec& piece : pieces) total += piece.iov_len;
  if (total <= kGather) {
    char* end = gathered;
    for (const iovec& piece : pieces) {
      if (piece.iov_len == 0) continue;  // a base that may be null
      end = std::copy_n(static_cast<const char*>(piece.iov_base), piece.iov_len, end);
    }
  }
  msghdr message{};
  message.msg_iov = const_cast<iovec*>(pieces.data());
  message.msg_iovlen = pieces.size();
  for (;;) {
    const ssize_t n =
        total <= kGather ? send(fd_, gathered, total, flags) : sendmsg(fd_, &message, flags);
    if (n >= 0) return {IoStatus::kOk, static_cast<size_t>(n)};
    if (errno == EINTR) continue;
    wants_write_ = true;
    if (errno == EAGAIN || errno == EWOULDBLOCK) return {IoStatus::kAgain, 0};
    return {IoStatus::kError, 0};
  }
}

// What stands before the piece from the file waits in the kernel for it, and leaves with it.
IoResult Stream::WriteFile(std::span<const iovec> pieces, FilePlace file) {
  size_t total = 0;
  const iovec body = pieces.back();
  pieces = pieces.first(pieces.size() - 1);
  if (!pieces.empty()) {
    const IoResult head = WritePlain(pieces, MSG_NOSIGNAL | MSG_MORE);
    if (head.status != IoStatus::kOk) return head;
    total = head.bytes;
    size_t wanted = 0;
    for (const iovec& piece : pieces) wanted += piece.iov_len;
    if (total < wanted) return head;
  }
  auto offset = static_cast<off_t>(file.offset);
  for (;;) {
    const ssize_t n = sendfile(fd_, file.fd, &offset, body.iov_len);
    if (n > 0) return {IoStatus::kOk, total + static_cast<size_t>(n)};
    if (n < 0 && errno == EINTR) continue;
    wants_write_ = true;
    if (n < 0 && (errno == EAGAIN || errno == EWOULDBLOCK)) {
      return {total > 0 ? IoStatus::kOk : IoStatus::kAgain, total};
    }
    return {IoStatus::kError, total};
  }
}

IoResult Stream::Write(std::span<const iovec> pieces, bool last, FilePlace file) {
  if (ssl_ == nullptr) {
    held_back_ = last && file.fd < 0;
    if (file.fd >= 0) return WriteFile(pieces, file);
    return WritePlain(pieces, last ? MSG_NOSIGNAL | MSG_MORE : MSG_NOSIGNAL);
  }
  // One TLS record holds at most 16 KiB: small pieces are gathered into one record instead of
  // paying a record each; a large body is written from where it lies.
  constexpr size_t kRecord = 16 * 1024;
  char record[kRecord];
  size_t total = 0;
  size_t at = 0;
  size_t offset = 0;
  while (at < pieces.size()) {
    if (pieces[at].iov_len == offset) {
      ++at;
      offset = 0;
      continue;
    }
    const char* data = static_cast<const char*>(pieces[at].iov_base) + offset;
    size_t size = std::min(pieces[at].iov_len - offset, kRecord);
    if (size < kRecord && at + 1 < pieces.size()) {
      size_t filled = 0;
      size_t from = at;
      size_t skip = offset;
      while (from < pieces.size() && filled < kRecord) {
        const size_t n = std::min(pieces[from].iov_len - skip, kRecord - filled);
        if (n > 0)
          memcpy(record + filled, static_cast<const char*>(pieces[from].iov_base) + skip, n);
        filled += n;
        ++from;
        skip = 0;
      }
      data = record;
      size = filled;
    }
    ERR_clear_error();
    size_t written = 0;
    const int result = SSL_write_ex(ssl_, data, size, &written);
    if (result != 1) {
      IoStatus status = TlsStatus(result);
      // After the peer's close_notify OpenSSL reports a broken socket as an orderly end.
      if (status == IoStatus::kEof) status = IoStatus::kError;
      if (total > 0 && status == IoStatus::kAgain) return {IoStatus::kOk, total};
      return {status, total};
    }
    total += written;
    for (size_t left = written; left > 0;) {
      const size_t n = std::min(pieces[at].iov_len - offset, left);
      offset += n;
      left -= n;
      if (offset == pieces[at].iov_len) {
        ++at;
        offset = 0;
      }
    }
  }
  return {IoStatus::kOk, total};
}

bool Stream::HasPending() const { return ssl_ != nullptr && SSL_pending(ssl_) > 0; }

void Stream::ShutdownWrite() {
  if (ssl_ != nullptr) {
    ERR_clear_error();
    SSL_shutdown(ssl_);
  }
  shutdown(fd_, SHUT_WR);
}

void Stream::ResetOnClose() {
  held_back_ = false;
  const linger reset{1, 0};
  setsockopt(fd_, SOL_SOCKET, SO_LINGER, &reset, sizeof reset);
  if (ssl_ != nullptr) SSL_set_quiet_shutdown(ssl_, 1);
}

void Stream::Close() {
  if (ssl_ != nullptr) {
    ERR_clear_error();
    if (SSL_is_init_finished(ssl_)) SSL_shutdown(ssl_);
    SSL_free(ssl_);
    ssl_ = nullptr;
  }
  if (fd_ >= 0) {
    // Were there input that nobody read, close() alone would drop what is held back.
    if (std::exchange(held_back_, false)) shutdown(fd_, SHUT_WR);
    close(fd_);
    fd_ = -1;
  }
}

}  // namespace satchel::net
