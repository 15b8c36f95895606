#include "cache/http/date.h"

#include <algorithm>
#include <array>

#include "cache/http/field_id.h"

namespace satchel::cache {
namespace {

using std::chrono::floor;
using std::chrono::seconds;

constexpr std::array<std::string_view, 7> kDays = {"Sunday",   "Monday", "Tuesday", "Wednesday",
                                                   "Thursday", "Friday", "Saturday"};
constexpr std::array<std::string_view, 12> kMonths = {"Jan", "Feb", "Mar", "Apr", "May", "Jun",
                                                      "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"};

// Three letters in lower case as one number.
constexpr uint32_t Letters(std::string_view text) {
  uint32_t word = 0;
  for (size_t i = 0; i < 3; ++i) {
    word = word << 8 | static_cast<unsigned char>(ToLowerAscii(text[i]));
  }
  return word;
}

// The name that begins with these letters, -1 if there is none.
template <size_t N>
int IndexOf(const std::array<std::string_view, N>& names, std::string_view text) {
  const uint32_t letters = Letters(text);
  for (size_t i = 0; i < N; ++i) {
    if (Letters(names[i]) == letters) return static_cast<int>(i);
  }
  return -1;
}

// Reads a date from left to right; the first thing that does not fit makes all that follows fail.
class Scanner {
 public:
  explicit Scanner(std::string_view text) : rest_(text) {}

  bool ok() const { return ok_; }
  bool AtEnd() const { return ok_ && rest_.empty(); }

  void Expect(std::string_view literal) {
    if (rest_.size() < literal.size() ||
        !EqualsIgnoreCase(rest_.substr(0, literal.size()), literal)) {
      ok_ = false;
      return;
    }
    rest_.remove_prefix(literal.size());
  }

  void Expect(char c) {
    if (!Accept(c)) ok_ = false;
  }

  bool Accept(char c) {
    if (!ok_ || rest_.empty() || rest_.front() != c) return false;
    rest_.remove_prefix(1);
    return true;
  }

  int Number(size_t digits) {
    int value = 0;
    if (rest_.size() < digits) ok_ = false;
    for (size_t i = 0; ok_ && i < digits; ++i) {
      if (rest_[i] < '0' || rest_[i] > '9') ok_ = false;
      value = value * 10 + (rest_[i] - '0');
    }
    if (!ok_) return 0;
    rest_.remove_prefix(digits);
    return value;
  }

  unsigned Month() {
    const int index = rest_.size() < 3 ? -1 : IndexOf(kMonths, rest_);
    if (index < 0) {
      ok_ = false;
      return 0;
    }
    rest_.remove_prefix(3);
    return static_cast<unsigned>(index) + 1;
  }

 private:
  std::string_view rest_;
  bool ok_ = true;
};

struct Civil {
  int year = 0;
  unsigned month = 0;
  int day = 0;
  int hour = 0;
  int minute = 0;
  int second = 0;
};

void ReadTimeOfDay(Scanner& in, Civil& out) {
  out.hour = in.Number(2);
  in.Expect(':');
  out.minute = in.Number(2);
  in.Expect(':');
  out.second = in.Number(2);
}

std::optional<Time> ToTime(const Civil& c) {
  const std::chrono::year_month_day date(std::chrono::year(c.year), std::chrono::month(c.month),
                                         std::chrono::day(static_cast<unsigned>(c.day)));
  // A leap second is written as 60.
  if (!date.ok() || c.hour > 23 || c.minute > 59 || c.second > 60) return std::nullopt;
  return Time(std::chrono::sys_days(date)) + std::chrono::hours(c.hour) +
         std::chrono::minutes(c.minute) + seconds(c.second);
}

// "Sun, 06 Nov 1994 08:49:37 GMT", `text` after the comma.
std::optional<Time> ParseFixdate(std::string_view text) {
  Scanner in(text);
  Civil c;
  in.Expect(' ');
  c.day = in.Number(2);
  in.Expect(' ');
  c.month = in.Month();
  in.Expect(' ');
  c.year = in.Number(4);
  in.Expect(' ');
  ReadTimeOfDay(in, c);
  in.Expect(" GMT");
  if (!in.AtEnd()) return std::nullopt;
  return ToTime(c);
}

// `text` from its day of the week on. Responses that come close together bear the same dates: the
// last few are kept.
std::optional<Time> FixdateOf(std::string_view text) {
  struct Known {
    std::array<char, 29> text{};
    std::optional<Time> time;
  };
  thread_local std::array<Known, 8> known_dates;
  if (text.size() != 29) return ParseFixdate(text.substr(4));
  // By the units of day, minute and second.
  Known& known = known_dates[static_cast<unsigned char>(text[6] + text[21] + text[24]) % 8];
  if (text != std::string_view(known.text.data(), known.text.size())) {
    known.time = ParseFixdate(text.substr(4));
    std::copy(text.begin(), text.end(), known.text.begin());
  }
  return known.time;
}

// "Sunday, 06-Nov-94 08:49:37 GMT", `text` after the comma.
std::optional<Time> ParseRfc850(std::string_view text, Time now) {
  Scanner in(text);
  Civil c;
  in.Expect(' ');
  c.day = in.Number(2);
  in.Expect('-');
  c.month = in.Month();
  in.Expect('-');
  const int two_digits = in.Number(2);
  in.Expect(' ');
  ReadTimeOfDay(in, c);
  in.Expect(" GMT");
  if (!in.AtEnd()) return std::nullopt;

  const std::chrono::year_month_day today(floor<std::chrono::days>(now));
  const int this_year = static_cast<int>(today.year());
  // The latest year with these digits that is not more than 50 years ahead.
  c.year = this_year + 50 - (this_year + 50 - two_digits) % 100;
  if (c.year < 0) return std::nullopt;
  if (c.year == this_year + 50) {
    Civil limit = c;
    limit.year = this_year;
    const std::optional<Time> same_day_now = ToTime(limit);
    if (same_day_now && *same_day_now > now) c.year -= 100;
  }
  return ToTime(c);
}

// "Sun Nov  6 08:49:37 1994", `text` after the weekday.
std::optional<Time> ParseAsctime(std::string_view text) {
  Scanner in(text);
  Civil c;
  in.Expect(' ');
  c.month = in.Month();
  in.Expect(' ');
  c.day = in.Accept(' ') ? in.Number(1) : in.Number(2);
  in.Expect(' ');
  ReadTimeOfDay(in, c);
  in.Expect(' ');
  c.year = in.Number(4);
  if (!in.AtEnd()) return std::nullopt;
  return ToTime(c);
}

}  // namespace

std::optional<Time> ParseHttpDate(std::string_view text, Time now) {
  if (text.size() < 4) return std::nullopt;
  const int index = IndexOf(kDays, text);
  if (index < 0) return std::nullopt;
  if (text[3] == ',') return FixdateOf(text);
  if (text[3] == ' ') return ParseAsctime(text.substr(3));
  const std::string_view day = kDays[static_cast<size_t>(index)];
  if (text.size() > day.size() && text[day.size()] == ',' &&
      EqualsIgnoreCase(text.substr(0, day.size()), day)) {
    return ParseRfc850(text.substr(day.size() + 1), now);
  }
  return std::nullopt;
}

void AppendHttpDate(std::string& out, Time time) {
  constexpr std::chrono::sys_days kFirst{std::chrono::year(0) / 1 / 1};
  constexpr std::chrono::sys_days kEnd{std::chrono::year(10000) / 1 / 1};
  std::chrono::sys_seconds whole = floor<seconds>(time);
  if (whole < kFirst) whole = kFirst;
  if (whole >= kEnd) whole = std::chrono::sys_seconds(kEnd) - seconds(1);

  const std::chrono::sys_days day = floor<std::chrono::days>(whole);
  const std::chrono::year_month_day date(day);
  const std::chrono::hh_mm_ss clock(whole - day);
  const auto number = [&out](int64_t value, int64_t unit) {
    for (; unit != 0; unit /= 10) out.push_back(static_cast<char>('0' + value / unit % 10));
  };
  out.append(kDays[std::chrono::weekday(day).c_encoding()].substr(0, 3));
  out.append(", ");
  number(static_cast<unsigned>(date.day()), 10);
  out.push_back(' ');
  out.append(kMonths[static_cast<unsigned>(date.month()) - 1]);
  out.push_back(' ');
  number(static_cast<int>(date.year()), 1000);
  out.push_back(' ');
  number(clock.hours().count(), 10);
  out.push_back(':');
  number(clock.minutes().count(), 10);
  out.push_back(':');
  number(clock.seconds().count(), 10);
  out.append(" GMT");
}

std::string FormatHttpDate(Time time) {
  std::string out;
  out.reserve(29);
  AppendHttpDate(out, time);
  return out;
}

}  // namespace satchel::cache
