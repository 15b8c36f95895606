#pragma once

#include <sys/uio.h>

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>

typedef struct ssl_st SSL;

namespace satchel::net {

enum class IoStatus : uint8_t {
  kOk,
  kAgain,  // nothing now; wait for wants()
  kEof,    // the peer ended in order (TLS: close_notify)
  kError,  // reset, or a TLS end without close_notify
};

struct IoResult {
  IoStatus status = IoStatus::kOk;
  size_t bytes = 0;
};

// Where in a file the bytes of a piece lie too, so that the kernel can send them without copying.
struct FilePlace {
  int fd = -1;  // -1: in none
  uint64_t offset = 0;
  FilePlace Behind(uint64_t bytes) const { return {fd, offset + bytes}; }
};

// A connected, non-blocking socket, plain or under TLS. Owns the descriptor and the TLS state.
// OpenSSL works on the descriptor directly.
class Stream {
 public:
  Stream() = default;
  explicit Stream(int fd, SSL* ssl = nullptr) : fd_(fd), ssl_(ssl) {}
  ~Stream() { Close(); }
  Stream(Stream&& other) noexcept;
  Stream& operator=(Stream&& other) noexcept;

  int fd() const { return fd_; }
  bool open() const { return fd_ >= 0; }
  SSL* ssl() const { return ssl_; }

  IoResult Read(char* into, size_t size);
  // Writes as much as the socket takes of all pieces, in one system call where possible. `last`: if
  // all is taken, Close() or ShutdownWrite() follows at once, and the end travels with the bytes
  // instead of in a packet of its own.
  // `file`: of the last piece, which must not be empty then.
  IoResult Write(std::span<const iovec> pieces, bool last = false, FilePlace file = {});

  // TLS only: kOk when done, kAgain while under way.
  IoStatus Handshake(bool as_client);
  // Why Handshake() failed, for a log: "certificate verify failed: hostname mismatch".
  std::string HandshakeError() const;
  // After kAgain: the direction to wait for, EV_READ or EV_WRITE. Plain streams wait for what
  // they asked.
  bool wants_write() const { return wants_write_; }
  // TLS has decrypted bytes that epoll does not know of.
  bool HasPending() const;

  void ShutdownWrite();
  // Makes Close() send a reset, so that the peer can't take a cut message for a whole one.
  void ResetOnClose();
  void Close();

 private:
  IoStatus TlsStatus(int result);
  IoResult WritePlain(std::span<const iovec> pieces, int flags);
  IoResult WriteFile(std::span<const iovec> pieces, FilePlace file);

  int fd_ = -1;
  uint32_t handshake_error_ = 0;  // OpenSSL's code, which has 32 bits
  SSL* ssl_ = nullptr;
  bool wants_write_ = false;
  bool held_back_ = false;  // by the kernel, for the end of the stream
};

}  // namespace satchel::net
