#include "proxy/access_log.h"

#include <algorithm>
#include <cstring>
#include <ctime>
#include <utility>

#include "cache/base/append.h"
#include "proxy/json_escape.h"

namespace satchel::proxy {
namespace {

constexpr std::string_view kRedacted = "[redacted]";
constexpr std::string_view kCutMark = "...";
// Room for member names, numbers and the time; strings are counted on top.
constexpr size_t kFixedBytes = 1536;

constexpr char LowerAscii(char c) { return c >= 'A' && c <= 'Z' ? static_cast<char>(c + 32) : c; }

int HexValue(char c) {
  if (c >= '0' && c <= '9') return c - '0';
  c = LowerAscii(c);
  return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

// Compares the name of a query parameter, percent-encoded as it may be, without case.
bool IsParameter(std::string_view encoded, std::string_view name) {
  size_t matched = 0;
  for (size_t i = 0; i < encoded.size(); ++i) {
    char c = encoded[i];
    if (c == '%' && i + 2 < encoded.size()) {
      const int high = HexValue(encoded[i + 1]);
      const int low = HexValue(encoded[i + 2]);
      if (high >= 0 && low >= 0) {
        c = static_cast<char>(high << 4 | low);
        i += 2;
      }
    } else if (c == '+') {
      c = ' ';
    }
    if (matched == name.size() || LowerAscii(c) != LowerAscii(name[matched])) return false;
    ++matched;
  }
  return matched == name.size();
}

// Writes one line into memory that is large enough.
class LineBuilder : public cache::CharWriter {
 public:
  LineBuilder(char* at, const AccessLogOptions& options) : CharWriter(at), options_(options) {}

  void Escaped(std::string_view text) {
    if (text.size() <= AccessLog::kMaxString) [[likely]] {
      MoveTo(WriteEscaped(at(), text));
      return;
    }
    MoveTo(WriteEscaped(at(), text.substr(0, CutUtf8(text, AccessLog::kMaxString))));
    Text(kCutMark);
    truncated_ = true;
  }
  // A quoted member behind its name; nothing if the value is empty.
  template <size_t N>
  void Member(const char (&name)[N], std::string_view value) {
    if (value.empty()) return;
    Text(name);
    Escaped(value);
    Text("\"");
  }
  // The same for an address or a word of ours: short, and nothing to escape.
  template <size_t N>
  void Word(const char (&name)[N], std::string_view value) {
    if (value.empty()) return;
    Text(name);
    Text(value);
    Text("\"");
  }
  // A path or address with a query, without the values of redacted parameters.
  void Target(std::string_view text) {
    const size_t query = options_.redact.all().empty() ? std::string_view::npos : text.find('?');
    if (query == std::string_view::npos) {
      Escaped(text);
      return;
    }
    const bool cut = text.size() > AccessLog::kMaxString;
    if (cut) text = text.substr(0, CutUtf8(text, AccessLog::kMaxString));
    size_t from = 0;  // not yet written
    size_t start = query + 1;
    while (start < text.size()) {
      size_t end = text.find_first_of("&;", start);
      if (end == std::string_view::npos) end = text.size();
      const std::string_view parameter = text.substr(start, end - start);
      const size_t equals = parameter.find('=');
      if (equals != std::string_view::npos &&
          options_.redact.HasParameter(parameter.substr(0, equals))) {
        Escaped(text.substr(from, start + equals + 1 - from));
        Text(kRedacted);
        from = end;
      }
      start = end + 1;
    }
    if (from < text.size()) Escaped(text.substr(from));
    if (cut) {
      Text(kCutMark);
      truncated_ = true;
    }
  }
  bool truncated() const { return truncated_; }

 private:
  const AccessLogOptions& options_;
  bool truncated_ = false;
};

struct CivilSecond {
  int64_t second = -1;
  tm fields{};
  char iso[20] = {};  // 2026-11-21T04:03:11
};

// Most lines fall into the second of the line before.
const CivilSecond& CivilSecondOf(int64_t second) {
  thread_local CivilSecond last;
  if (last.second != second) {
    last.second = second;
    const auto seconds = static_cast<time_t>(second);
    gmtime_r(&seconds, &last.fields);
    if (std::strftime(last.iso, sizeof(last.iso), "%Y-%m-%dT%H:%M:%S", &last.fields) != 19) {
      std::memcpy(last.iso, "9999-12-31T23:59:59", 20);
    }
  }
  return last;
}

void WriteIsoTime(LineBuilder& out, cache::Time time) {
  const int64_t millis = std::max<int64_t>(0, time.time_since_epoch().count());
  out.Text(std::string_view(CivilSecondOf(millis / 1000).iso, 19));
  const auto rest = static_cast<int>(millis % 1000);
  const char fraction[] = {'.', static_cast<char>('0' + rest / 100),
                           static_cast<char>('0' + rest / 10 % 10),
                           static_cast<char>('0' + rest % 10), 'Z'};
  out.Text(std::string_view(fraction, 5));
}

void WriteJson(LineBuilder& out, const AccessRecord& r, const AccessLogOptions& options) {
  out.Text("{\"time\":\"");
  WriteIsoTime(out, r.time);
  out.Text("\"");
  out.Word(",\"client\":\"", r.client);
  out.Member(",\"listener\":\"", r.listener);
  out.Member(",\"method\":\"", r.method);
  out.Word(",\"scheme\":\"", r.scheme);
  out.Member(",\"host\":\"", r.host);
  if (!r.target.empty()) {
    out.Text(",\"target\":\"");
    out.Target(r.target);
    out.Text("\"");
  }
  out.Word(",\"protocol\":\"", r.protocol);
  out.Text(",\"status\":");
  out.Number(r.status);
  out.Text(",\"bytes_in\":");
  out.Number(r.bytes_in);
  out.Text(",\"bytes_out\":");
  out.Number(r.bytes_out);
  out.Text(",\"duration_us\":");
  out.Number(r.duration_us);
  if (r.first_byte_us >= 0) {
    out.Text(",\"first_byte_us\":");
    out.Number(r.first_byte_us);
  }
  out.Member(",\"rule\":\"", r.rule);
  out.Text(",\"cache\":\"");
  out.Text(OutcomeWord(r.outcome));
  out.Text("\"");
  if (r.reason != cache::Reason::kNone) {
    out.Text(",\"reason\":\"");
    out.Text(cache::ReasonWord(r.reason));
    out.Text("\"");
  }
  out.Word(",\"tier\":\"", r.tier);
  if (r.age_s >= 0) {
    out.Text(",\"age\":");
    out.Number(r.age_s);
  }
  if (r.key_hash != 0) {
    out.Text(",\"key_hash\":\"");
    out.Hex(r.key_hash);
    out.Text("\"");
  }
  out.Member(",\"upstream\":\"", r.upstream);
  out.Member(",\"upstream_address\":\"", r.upstream_address);
  if (r.upstream_us >= 0) {
    out.Text(",\"upstream_us\":");
    out.Number(r.upstream_us);
  }
  if (r.upstream_attempts > 0) {
    out.Text(",\"upstream_attempts\":");
    out.Number(r.upstream_attempts);
  }
  if (r.upstream_status != 0) {
    out.Text(",\"upstream_status\":");
    out.Number(r.upstream_status);
  }
  if (r.limit != LimitOutcome::kNone) {
    out.Member(",\"limit\":\"", r.limit_policy);
    out.Text(",\"limit_verdict\":\"");
    out.Text(LimitOutcomeWord(r.limit));
    out.Text("\"");
    if (!r.limit_identity.empty()) out.Member(",\"limit_identity\":\"", r.limit_identity);
  }
  out.Member(",\"request_id\":\"", r.request_id);
  if (!r.user_agent.empty()) {
    out.Text(",\"user_agent\":\"");
    out.Escaped(options.redact.agent() ? kRedacted : r.user_agent);
    out.Text("\"");
  }
  if (!r.referer.empty()) {
    out.Text(",\"referer\":\"");
    if (options.redact.referer()) {
      out.Text(kRedacted);
    } else {
      out.Target(r.referer);
    }
    out.Text("\"");
  }
  out.Member(",\"error\":\"", r.error);
  out.Text("}\n");
}

void TextOrDash(LineBuilder& out, std::string_view text) {
  out.Escaped(text.empty() ? "-" : text);
}

// The combined log format that many tools read, then what is ours as name=value.
void WriteText(LineBuilder& out, const AccessRecord& r, const AccessLogOptions& options) {
  TextOrDash(out, r.client);
  out.Text(" - - [");
  const int64_t millis = std::max<int64_t>(0, r.time.time_since_epoch().count());
  char time[40];
  out.Text(std::string_view(time, std::strftime(time, sizeof(time), "%d/%b/%Y:%H:%M:%S +0000",
                                               &CivilSecondOf(millis / 1000).fields)));
  out.Text("] \"");
  TextOrDash(out, r.method);
  out.Text(" ");
  out.Target(r.target.empty() ? "-" : r.target);
  out.Text(" ");
  TextOrDash(out, r.protocol);
  out.Text("\" ");
  out.Number(r.status);
  out.Text(" ");
  out.Number(r.bytes_out);
  out.Text(" \"");
  if (options.redact.referer() && !r.referer.empty()) {
    out.Text(kRedacted);
  } else {
    out.Target(r.referer.empty() ? "-" : r.referer);
  }
  out.Text("\" \"");
  TextOrDash(out, options.redact.agent() && !r.user_agent.empty() ? kRedacted : r.user_agent);
  out.Text("\" host=\"");
  out.Escaped(r.host);
  out.Text("\" cache=");
  out.Text(OutcomeWord(r.outcome));
  if (r.reason != cache::Reason::kNone) {
    out.Text(" reason=");
    out.Text(cache::ReasonWord(r.reason));
  }
  out.Text(" us=");
  out.Number(r.duration_us);
  if (!r.rule.empty()) {
    out.Text(" rule=\"");
    out.Escaped(r.rule);
    out.Text("\"");
  }
  if (!r.upstream_address.empty()) {
    out.Text(" upstream=");
    out.Escaped(r.upstream_address);
  }
  if (r.limit != LimitOutcome::kNone) {
    out.Text(" limit=");
    out.Text(LimitOutcomeWord(r.limit));
  }
  if (!r.error.empty()) {
    out.Text(" error=\"");
    out.Escaped(r.error);
    out.Text("\"");
  }
  out.Text("\n");
}

// Enough for every string of the record with every byte escaped, each once. A redacted value may be
// shorter than what stands for it: "?a=&a=" grows by ten for three.
size_t MostBytes(const AccessRecord& r) {
  const std::string_view texts[] = {r.client,     r.listener,   r.method,       r.scheme,
                                    r.host,       r.protocol,   r.request_id,   r.user_agent,
                                    r.rule,       r.tier,       r.upstream,     r.upstream_address,
                                    r.error,      r.target,     r.limit_policy, r.limit_identity,
                                    r.referer};
  size_t bytes = 0;
  for (const std::string_view text : texts) bytes += text.size();
  if (bytes > AccessLog::kMaxString) {
    bytes = 0;
    for (const std::string_view text : texts) bytes += std::min(text.size(), AccessLog::kMaxString);
  }
  return kFixedBytes + bytes * kMaxEscaped;
}

}  // namespace

AccessLog::AccessLog(net::EventLoop& loop, LogOutput& output, WorkerMetrics& metrics,
                     uint32_t worker)
    : loop_(loop), output_(output), metrics_(metrics), timer_([this] { Flush(); }) {
  batch_.writer = worker;
  buffer_.reserve(kBatchBytes + kBatchBytes / 2);
}

AccessLog::~AccessLog() { Flush(); }

void RedactedNames::Add(std::string name) {
  agent_ = agent_ || IsParameter(name, "user-agent");
  referer_ = referer_ || IsParameter(name, "referer");
  names_.push_back(std::move(name));
}

bool RedactedNames::HasParameter(std::string_view encoded) const {
  return std::any_of(names_.begin(), names_.end(),
                     [&](const std::string& name) { return IsParameter(encoded, name); });
}

void AccessLog::Configure(AccessLogOptions options) { options_ = std::move(options); }

void AccessLog::Write(const AccessRecord& record) {
  if (!enabled()) return;
  if (buffer_.empty()) {
    buffer_.assign(sizeof(LogBatch), '\0');  // filled in by Flush()
    loop_.SetTimer(timer_, kBatchMs);
  }
  bool truncated = false;
  AppendLine(buffer_, record, options_, &truncated);
  ++batch_.lines;
  Add(metrics_.log_lines);
  if (truncated) Add(metrics_.log_truncated);
  if (buffer_.size() >= kBatchBytes) Flush();
}

void AccessLog::Flush() {
  timer_.Cancel();
  if (batch_.lines == 0) return;
  std::memcpy(buffer_.data(), &batch_, sizeof(batch_));
  output_.Submit(buffer_);
  batch_.lines_before += batch_.lines;
  batch_.lines = 0;
  buffer_.clear();
  if (buffer_.capacity() > 4 * kBatchBytes) {  // after lines of monstrous strings
    buffer_.shrink_to_fit();
    buffer_.reserve(kBatchBytes + kBatchBytes / 2);
  }
}

void AccessLog::AppendLine(std::string& out, const AccessRecord& record,
                           const AccessLogOptions& options, bool* truncated) {
  cache::AppendWritten(out, MostBytes(record), [&](char* at) {
    LineBuilder line(at, options);
    if (options.format == AccessLogOptions::Format::kText) {
      WriteText(line, record, options);
    } else {
      WriteJson(line, record, options);
    }
    *truncated = line.truncated();
    return line.at();
  });
}

}  // namespace satchel::proxy
