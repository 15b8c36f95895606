#pragma once

#include <cstddef>
#include <cstdint>
#include <initializer_list>
#include <string>
#include <string_view>
#include <vector>

#include "cache/base/clock.h"
#include "cache/reason.h"
#include "proxy/log_output.h"
#include "proxy/metrics.h"
#include "proxy/net/event_loop.h"

namespace satchel::proxy {

// One exchange as the log tells it. Views are read during Write() only. Empty strings, negative
// numbers and kNone mean "does not apply" and are left out.
struct AccessRecord {
  cache::Time time{};            // when the request's head was complete
  std::string_view client;       // address, as trusted
  std::string_view listener;
  std::string_view method;
  std::string_view scheme;
  std::string_view host;
  std::string_view target;       // path and query; values of redacted parameters are cut out here
  std::string_view protocol;     // "HTTP/1.1"
  std::string_view request_id;
  std::string_view user_agent;
  std::string_view referer;
  uint16_t status = 0;           // 0: ended without an answer
  uint64_t bytes_in = 0;         // on the wire, head and body
  uint64_t bytes_out = 0;
  int64_t duration_us = 0;       // head complete to last byte handed to the kernel
  int64_t first_byte_us = -1;
  std::string_view rule;
  Outcome outcome = Outcome::kMiss;
  cache::Reason reason = cache::Reason::kNone;
  std::string_view tier;         // "l1", "l2"
  int64_t age_s = -1;
  uint64_t key_hash = 0;         // 0: no key
  std::string_view upstream;     // its name
  std::string_view upstream_address;
  int64_t upstream_us = -1;      // request written to response head
  int upstream_attempts = 0;
  uint16_t upstream_status = 0;
  std::string_view limit_policy;
  LimitOutcome limit = LimitOutcome::kNone;
  std::string_view limit_identity;  // its hash
  std::string_view error;        // what went wrong, in words; never a secret
};

// Names whose values never reach the log: header fields that are logged (User-Agent, Referer) and
// query parameters of target and referer. Compared without case.
class RedactedNames {
 public:
  RedactedNames() = default;
  RedactedNames(std::initializer_list<std::string> names) {
    for (const std::string& name : names) Add(name);
  }
  void Add(std::string name);

  bool agent() const { return agent_; }
  bool referer() const { return referer_; }
  bool HasParameter(std::string_view encoded) const;  // percent-encoded as it may be
  const std::vector<std::string>& all() const { return names_; }

 private:
  std::vector<std::string> names_;
  bool agent_ = false;
  bool referer_ = false;
};

struct AccessLogOptions {
  enum class Format : uint8_t { kOff, kJson, kText };
  Format format = Format::kJson;
  RedactedNames redact;
};

// The access log of one worker: formats a line into a buffer and hands batches to the output's
// asynchronous logger, at 32 KiB or after 100 ms, so that a slow or blocked stdout costs lines and
// never a worker's time. Belongs to the worker's thread.
class AccessLog {
 public:
  static constexpr size_t kBatchBytes = size_t{32} << 10;
  static constexpr int64_t kBatchMs = 100;
  static constexpr size_t kMaxString = 4096;  // bytes of one string in a line

  // All must outlive the log. `worker` numbers the log at its output.
  AccessLog(net::EventLoop& loop, LogOutput& output, WorkerMetrics& metrics, uint32_t worker);
  ~AccessLog();  // hands over what is left
  AccessLog(const AccessLog&) = delete;
  AccessLog& operator=(const AccessLog&) = delete;

  void Configure(AccessLogOptions options);
  bool enabled() const { return options_.format != AccessLogOptions::Format::kOff; }

  void Write(const AccessRecord& record);
  void Flush();

  // Appends one line with its newline. No allocation beyond `out`'s own.
  static void AppendLine(std::string& out, const AccessRecord& record,
                         const AccessLogOptions& options, bool* truncated);

 private:
  net::EventLoop& loop_;
  LogOutput& output_;
  WorkerMetrics& metrics_;
  AccessLogOptions options_;
  std::string buffer_;
  LogBatch batch_;
  net::Timer timer_;
};

}  // namespace satchel::proxy
