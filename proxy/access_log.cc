#include "proxy/access_log.h"

#include <algorithm>
#include <charconv>
#include <cstring>
#include <ctime>
#include <utility>

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
class LineBuilder {
 public:
  LineBuilder(char* at, const AccessLogOptions& options) : at_(at), options_(options) {}

  template <size_t N>
  void Raw(const char (&text)[N]) {
    std::memcpy(at_, text, N - 1);
    at_ += N - 1;
  }
  void Raw(std::string_view text) {
    std::memcpy(at_, text.data(), text.size());
    at_ += text.size();
  }
  template <typename T>
  void Number(T value) {
    at_ = std::to_chars(at_, at_ + 24, value).ptr;
  }
  void Hex(uint64_t value) {
    constexpr char kDigits[] = "0123456789abcdef";
    for (int shift = 60; shift >= 0; shift -= 4) *at_++ = kDigits[value >> shift & 15];
  }
  void Text(std::string_view text) {
    if (text.size() <= AccessLog::kMaxString) [[likely]] {
      at_ = WriteEscaped(at_, text);
      return;
    }
    at_ = WriteEscaped(at_, text.substr(0, CutUtf8(text, AccessLog::kMaxString)));
    Raw(kCutMark);
    truncated_ = true;
  }
  // A quoted member behind its name; nothing if the value is empty.
  template <size_t N>
  void Member(const char (&name)[N], std::string_view value) {
    if (value.empty()) return;
    Raw(name);
    Text(value);
    Raw("\"");
  }
  // A path or address with a query, without the values of redacted parameters.
  void Target(std::string_view text) {
    const size_t query = options_.redact.empty() ? std::string_view::npos : text.find('?');
    if (query == std::string_view::npos) {
      Text(text);
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
      if (equals != std::string_view::npos && Redacted(parameter.substr(0, equals))) {
        Text(text.substr(from, start + equals + 1 - from));
        Raw(kRedacted);
        from = end;
      }
      start = end + 1;
    }
    if (from < text.size()) Text(text.substr(from));
    if (cut) {
      Raw(kCutMark);
      truncated_ = true;
    }
  }
  bool Redacted(std::string_view name) const {
    for (const std::string& word : options_.redact) {
      if (IsParameter(name, word)) return true;
    }
    return false;
  }

  char* at() const { return at_; }
  bool truncated() const { return truncated_; }

 private:
  char* at_;
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
  out.Raw(std::string_view(CivilSecondOf(millis / 1000).iso, 19));
  const auto rest = static_cast<int>(millis % 1000);
  const char fraction[] = {'.', static_cast<char>('0' + rest / 100),
                           static_cast<char>('0' + rest / 10 % 10),
                           static_cast<char>('0' + rest % 10), 'Z'};
  out.Raw(std::string_view(fraction, 5));
}

void WriteJson(LineBuilder& out, const AccessRecord& r, bool hide_agent, bool hide_referer) {
  out.Raw("{\"time\":\"");
  WriteIsoTime(out, r.time);
  out.Raw("\"");
  out.Member(",\"client\":\"", r.client);
  out.Member(",\"listener\":\"", r.listener);
  out.Member(",\"method\":\"", r.method);
  out.Member(",\"scheme\":\"", r.scheme);
  out.Member(",\"host\":\"", r.host);
  if (!r.target.empty()) {
    out.Raw(",\"target\":\"");
    out.Target(r.target);
    out.Raw("\"");
  }
  out.Member(",\"protocol\":\"", r.protocol);
  out.Raw(",\"status\":");
  out.Number(r.status);
  out.Raw(",\"bytes_in\":");
  out.Number(r.bytes_in);
  out.Raw(",\"bytes_out\":");
  out.Number(r.bytes_out);
  out.Raw(",\"duration_us\":");
  out.Number(r.duration_us);
  if (r.first_byte_us >= 0) {
    out.Raw(",\"first_byte_us\":");
    out.Number(r.first_byte_us);
  }
  out.Member(",\"rule\":\"", r.rule);
  out.Raw(",\"cache\":\"");
  out.Raw(OutcomeWord(r.outcome));
  out.Raw("\"");
  if (r.reason != cache::Reason::kNone) {
    out.Raw(",\"reason\":\"");
    out.Raw(cache::ReasonWord(r.reason));
    out.Raw("\"");
  }
  out.Member(",\"tier\":\"", r.tier);
  if (r.age_s >= 0) {
    out.Raw(",\"age\":");
    out.Number(r.age_s);
  }
  if (r.key_hash != 0) {
    out.Raw(",\"key_hash\":\"");
    out.Hex(r.key_hash);
    out.Raw("\"");
  }
  out.Member(",\"upstream\":\"", r.upstream);
  out.Member(",\"upstream_address\":\"", r.upstream_address);
  if (r.upstream_us >= 0) {
    out.Raw(",\"upstream_us\":");
    out.Number(r.upstream_us);
  }
  if (r.upstream_attempts > 0) {
    out.Raw(",\"upstream_attempts\":");
    out.Number(r.upstream_attempts);
  }
  if (r.upstream_status != 0) {
    out.Raw(",\"upstream_status\":");
    out.Number(r.upstream_status);
  }
  if (r.limit != LimitOutcome::kNone) {
    out.Member(",\"limit\":\"", r.limit_policy);
    out.Raw(",\"limit_verdict\":\"");
    out.Raw(LimitOutcomeWord(r.limit));
    out.Raw("\"");
    if (!r.limit_identity.empty()) out.Member(",\"limit_identity\":\"", r.limit_identity);
  }
  out.Member(",\"request_id\":\"", r.request_id);
  if (!r.user_agent.empty()) {
    out.Raw(",\"user_agent\":\"");
    out.Text(hide_agent ? kRedacted : r.user_agent);
    out.Raw("\"");
  }
  if (!r.referer.empty()) {
    out.Raw(",\"referer\":\"");
    if (hide_referer) {
      out.Raw(kRedacted);
    } else {
      out.Target(r.referer);
    }
    out.Raw("\"");
  }
  out.Member(",\"error\":\"", r.error);
  out.Raw("}\n");
}

void TextOrDash(LineBuilder& out, std::string_view text) { out.Text(text.empty() ? "-" : text); }

// The combined log format that many tools read, then what is ours as name=value.
void WriteText(LineBuilder& out, const AccessRecord& r, bool hide_agent, bool hide_referer) {
  TextOrDash(out, r.client);
  out.Raw(" - - [");
  const int64_t millis = std::max<int64_t>(0, r.time.time_since_epoch().count());
  char time[40];
  out.Raw(std::string_view(time, std::strftime(time, sizeof(time), "%d/%b/%Y:%H:%M:%S +0000",
                                               &CivilSecondOf(millis / 1000).fields)));
  out.Raw("] \"");
  TextOrDash(out, r.method);
  out.Raw(" ");
  out.Target(r.target.empty() ? "-" : r.target);
  out.Raw(" ");
  TextOrDash(out, r.protocol);
  out.Raw("\" ");
  out.Number(r.status);
  out.Raw(" ");
  out.Number(r.bytes_out);
  out.Raw(" \"");
  if (hide_referer && !r.referer.empty()) {
    out.Raw(kRedacted);
  } else {
    out.Target(r.referer.empty() ? "-" : r.referer);
  }
  out.Raw("\" \"");
  TextOrDash(out, hide_agent && !r.user_agent.empty() ? kRedacted : r.user_agent);
  out.Raw("\" host=\"");
  out.Text(r.host);
  out.Raw("\" cache=");
  out.Raw(OutcomeWord(r.outcome));
  if (r.reason != cache::Reason::kNone) {
    out.Raw(" reason=");
    out.Raw(cache::ReasonWord(r.reason));
  }
  out.Raw(" us=");
  out.Number(r.duration_us);
  if (!r.rule.empty()) {
    out.Raw(" rule=\"");
    out.Text(r.rule);
    out.Raw("\"");
  }
  if (!r.upstream_address.empty()) {
    out.Raw(" upstream=");
    out.Text(r.upstream_address);
  }
  if (r.limit != LimitOutcome::kNone) {
    out.Raw(" limit=");
    out.Raw(LimitOutcomeWord(r.limit));
  }
  if (!r.error.empty()) {
    out.Raw(" error=\"");
    out.Text(r.error);
    out.Raw("\"");
  }
  out.Raw("\n");
}

// Enough for every string of the record with every byte escaped, each once.
size_t MostBytes(const AccessRecord& r) {
  size_t bytes = 0;
  for (const std::string_view text :
       {r.client, r.listener, r.method, r.scheme, r.host, r.protocol, r.request_id, r.user_agent,
        r.rule, r.tier, r.upstream, r.upstream_address, r.limit_policy, r.error}) {
    bytes += std::min(text.size(), AccessLog::kMaxString);
  }
  // A redacted value may be shorter than what stands for it: "?a=&a=" grows by ten for three.
  for (const std::string_view text : {r.target, r.referer}) {
    bytes += std::min(text.size(), AccessLog::kMaxString);
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
  bool hide_agent = false;
  bool hide_referer = false;
  for (const std::string& name : options.redact) {
    hide_agent = hide_agent || IsParameter(name, "user-agent");
    hide_referer = hide_referer || IsParameter(name, "referer");
  }
  const size_t before = out.size();
  out.resize_and_overwrite(before + MostBytes(record), [&](char* data, size_t) {
    LineBuilder line(data + before, options);
    if (options.format == AccessLogOptions::Format::kText) {
      WriteText(line, record, hide_agent, hide_referer);
    } else {
      WriteJson(line, record, hide_agent, hide_referer);
    }
    *truncated = line.truncated();
    return static_cast<size_t>(line.at() - data);
  });
}

}  // namespace satchel::proxy
