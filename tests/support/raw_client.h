#pragma once

// A client that sends exactly the bytes it is given and reads what comes back with the tests' own
// parser. Every wait has a deadline.

#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "tests/support/http_message.h"
#include "tests/support/net_io.h"

namespace satchel::testing {

struct Response {
  int status = 0;  // 0: no response; see error
  std::string version;
  std::string reason;
  std::string raw_head;
  Fields fields;
  std::vector<Head> interim;  // 1xx heads before it
  std::string body;
  uint64_t body_size = 0;
  Fields trailers;
  bool chunked = false;
  bool complete = false;  // the body ended as its framing promised
  std::string error;

  std::string Get(std::string_view name) const { return fields.Get(name); }
};

// What a test prints when a response is not what it should be.
std::string Describe(const Response& response);

// "GET /x HTTP/1.1\r\nHost: test\r\n...\r\n" with Content-Length when there is a body.
std::string Request(std::string_view method, std::string_view target, const Fields& fields = {},
                    std::string_view body = {});

class RawClient {
 public:
  // Connects; connected() tells whether it worked.
  explicit RawClient(const std::string& address, int receive_buffer = 0);

  bool connected() const { return static_cast<bool>(fd_); }
  // False when the peer is gone or takes nothing within the deadline.
  bool Send(std::string_view bytes, std::chrono::milliseconds patience = kPatience);
  void ShutdownWrite();
  void Reset() { ResetConnection(&fd_); }
  void Close() { fd_.Reset(); }

  // One whole final response with the interim ones before it. `method` is what was asked.
  Response Read(std::string_view method = "GET", std::chrono::milliseconds patience = kPatience);
  // The same in steps: the head, then as much of the body as wanted, then the rest.
  Response ReadHead(std::string_view method = "GET",
                    std::chrono::milliseconds patience = kPatience);
  bool ReadBodyUntil(Response* response, uint64_t size,
                     std::chrono::milliseconds patience = kPatience);
  bool ReadBody(Response* response, std::chrono::milliseconds patience = kPatience);
  // Bodies longer than this are counted, not kept.
  void KeepAtMost(size_t bytes) { keep_ = bytes; }

  Response Get(std::string_view target, const Fields& fields = {});
  Response Exchange(std::string_view method, std::string_view target, const Fields& fields = {},
                    std::string_view body = {});

  // Raw bytes, for tunnels: exactly `count`, fewer when the peer ends or the deadline passes.
  std::string ReadBytes(size_t count, std::chrono::milliseconds patience = kPatience);
  // Everything until the peer ends.
  std::string ReadToEnd(std::chrono::milliseconds patience = kPatience);
  // True when the peer closes (or resets) with nothing more to read.
  bool ClosedByPeer(std::chrono::milliseconds patience = kPatience);
  // True when nothing arrives and nobody closes within `quiet`.
  bool Silent(std::chrono::milliseconds quiet);

  int fd() const { return fd_.get(); }

 private:
  UniqueFd fd_;
  ByteReader in_;
  BodyReader body_;
  size_t keep_ = std::numeric_limits<size_t>::max();
};

// One request on a connection of its own.
Response Fetch(const std::string& address, std::string_view target, const Fields& fields = {});
Response Fetch(const std::string& address, std::string_view method, std::string_view target,
               const Fields& fields, std::string_view body = {});

}  // namespace satchel::testing
