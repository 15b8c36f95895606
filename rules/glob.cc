#include "rules/glob.h"

#include <re2/re2.h>

#include <algorithm>
#include <utility>

#include "cache/http/field_id.h"

namespace satchel::rules {
namespace {

constexpr std::string_view kRegexPrefix = "regex:";

bool IsNameChar(char c) {
  return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '_';
}

}  // namespace

Glob::Glob(Glob&&) noexcept = default;
Glob& Glob::operator=(Glob&&) noexcept = default;
Glob::~Glob() = default;

std::expected<Glob, std::string> Glob::Compile(std::string_view pattern, Kind kind) {
  if (pattern.size() > kMaxLength) {
    return std::unexpected("is longer than 1024 characters; split it");
  }
  Glob glob;
  glob.pattern_ = pattern;
  glob.separator_ = kind == Kind::kPath ? '/' : kind == Kind::kHost ? '.' : '\0';
  if (pattern.starts_with(kRegexPrefix)) {
    std::string expression(pattern.substr(kRegexPrefix.size()));
    if (kind == Kind::kHost) expression.insert(0, "(?i)");
    if (auto compiled = glob.CompileRegex(expression, kind == Kind::kPath); !compiled) {
      return std::unexpected(compiled.error());
    }
    return glob;
  }
  if (kind == Kind::kHost) {
    for (char& c : glob.pattern_) c = cache::ToLowerAscii(c);
  }
  if (kind == Kind::kPath && !pattern.starts_with('/') && !pattern.starts_with("**")) {
    return std::unexpected("does not begin with /; write " +
                           (pattern == "*" ? "/**" : "/" + std::string(pattern)));
  }
  if (auto tokens = glob.Tokenize(kind); !tokens) return std::unexpected(tokens.error());
  if (!glob.tokens_.empty() && glob.tokens_[0].op == Op::kLiteral) {
    glob.prefix_ = glob.tokens_[0].text;
  }
  glob.literal_ = glob.tokens_.empty() || (glob.tokens_.size() == 1 && !glob.prefix_.empty());
  if (kind == Kind::kHost && glob.tokens_.size() == 2 && glob.tokens_[0].op == Op::kRest &&
      glob.tokens_[1].op == Op::kLiteral) {
    glob.suffix_only_ = true;
    glob.suffix_ = glob.tokens_[1].text;
    return glob;
  }
  // Anything after a rest wildcard needs more than one step back: RE2 does that in linear time.
  const auto rest = std::find_if(glob.tokens_.begin(), glob.tokens_.end(), [](const Token& token) {
    return token.op == Op::kRest || token.op == Op::kRestOfPath;
  });
  if (rest != glob.tokens_.end() && rest + 1 != glob.tokens_.end()) {
    if (auto compiled = glob.CompileRegex(glob.ToRegex(), false); !compiled) {
      return std::unexpected(compiled.error());
    }
  }
  return glob;
}

std::expected<void, std::string> Glob::Tokenize(Kind kind) {
  const std::string_view text = pattern_;
  std::string literal;
  const auto flush = [&] {
    if (literal.empty()) return;
    tokens_.push_back({Op::kLiteral, false, -1, std::move(literal)});
    literal.clear();
  };
  const auto push_wildcard = [&](bool rest, int8_t capture, size_t begin, size_t end) {
    const bool at_start = begin == 0 || text[begin - 1] == separator_;
    const bool at_end = end == text.size() || text[end] == separator_;
    if (rest && kind == Kind::kPath && begin > 0 && at_start && at_end && !literal.empty()) {
      literal.pop_back();  // "/x/**" matches "/x" too: the slash belongs to the rest
      flush();
      tokens_.push_back({Op::kRestOfPath, false, capture, {}});
      return;
    }
    flush();
    const bool whole = at_start && at_end && separator_ != 0;
    tokens_.push_back({rest ? Op::kRest : Op::kStar, whole || capture >= 0, capture, {}});
  };
  for (size_t i = 0; i < text.size(); ++i) {
    const char c = text[i];
    if (c == '\\') {
      if (++i == text.size()) return std::unexpected("ends with a backslash; write \\\\ for one");
      literal += text[i];
    } else if (c == '*') {
      size_t end = i + 1;
      while (end < text.size() && text[end] == '*') ++end;
      if (end - i > 2 && kind != Kind::kValue) {
        return std::unexpected("has more than two stars in a row; write * or **");
      }
      push_wildcard(kind == Kind::kValue || end - i == 2, -1, i, end);
      if (kind == Kind::kValue) tokens_.back() = {Op::kStar, false, -1, {}};
      i = end - 1;
    } else if (c == '{' && kind == Kind::kPath) {
      const size_t close = text.find('}', i);
      if (close == std::string_view::npos) {
        return std::unexpected("has { without }; write {name}, or \\{ for the character");
      }
      std::string_view name = text.substr(i + 1, close - i - 1);
      const bool rest = name.ends_with("**");
      if (rest) name.remove_suffix(2);
      if (name.empty() || !std::all_of(name.begin(), name.end(), IsNameChar)) {
        return std::unexpected("has a bad name in {}; write {name} or {name**} with a-z, 0-9, _");
      }
      if (std::find(names_.begin(), names_.end(), name) != names_.end()) {
        return std::unexpected("captures {" + std::string(name) + "} twice; name them apart");
      }
      if (names_.size() == kMaxCaptures) {
        return std::unexpected("captures more than 8 names; use * for the others");
      }
      names_.emplace_back(name);
      push_wildcard(rest, static_cast<int8_t>(names_.size() - 1), i, close + 1);
      if (rest) tokens_.back().one_or_more = false;
      i = close;
    } else {
      literal += c;
    }
  }
  flush();
  if (std::count_if(tokens_.begin(), tokens_.end(),
                    [](const Token& token) { return token.op != Op::kLiteral; }) > 16) {
    return std::unexpected("has more than 16 wildcards; write a simpler pattern");
  }
  return {};
}

std::string Glob::ToRegex() const {
  const std::string one = separator_ == 0 ? "(?s:.)" : std::string("[^") + separator_ + "]";
  std::string regex;
  for (const Token& token : tokens_) {
    std::string part;
    switch (token.op) {
      case Op::kLiteral:
        regex += re2::RE2::QuoteMeta(token.text);
        continue;
      case Op::kStar:
        part = one + (token.one_or_more ? "+?" : "*?");
        break;
      case Op::kRest:
        part = token.one_or_more ? "(?s:.)+?" : "(?s:.)*?";
        break;
      case Op::kRestOfPath:
        regex += token.capture >= 0 ? "(?:/((?s:.)*?))?" : "(?:/(?s:.)*?)?";
        continue;
    }
    regex += token.capture >= 0 ? "(" + part + ")" : part;
  }
  return regex;
}

std::expected<void, std::string> Glob::CompileRegex(const std::string& expression, bool captures) {
  re2::RE2::Options options;
  options.set_log_errors(false);
  options.set_encoding(re2::RE2::Options::EncodingLatin1);  // bytes, whatever the client sends
  options.set_max_mem(1 << 20);
  auto regex = std::make_unique<re2::RE2>(expression, options);
  if (!regex->ok()) {
    return std::unexpected("is not a regular expression: " + regex->error() + "; write RE2 syntax");
  }
  if (captures) {
    for (const auto& [number, name] : regex->CapturingGroupNames()) {
      if (number > static_cast<int>(kMaxCaptures)) {
        return std::unexpected("captures more than 8 groups; use (?:...) for the others");
      }
      names_.resize(static_cast<size_t>(number));
      names_.back() = name;
    }
  }
  regex_ = std::move(regex);
  return {};
}

bool Glob::Match(std::string_view text, Spans* spans) const {
  if (regex_ != nullptr) return text.starts_with(prefix_) && MatchRegex(text, spans);
  if (literal_) return text == prefix_;
  if (suffix_only_) return text.size() > suffix_.size() && text.ends_with(suffix_);
  return text.starts_with(prefix_) && MatchTokens(text, spans);
}

bool Glob::MatchRegex(std::string_view text, Spans* spans) const {
  const re2::StringPiece subject(text.data(), text.size());
  if (spans == nullptr || names_.empty()) return re2::RE2::FullMatch(subject, *regex_);
  std::array<re2::StringPiece, kMaxCaptures + 1> groups;
  const int count = static_cast<int>(names_.size()) + 1;
  if (!regex_->Match(subject, 0, subject.size(), re2::RE2::ANCHOR_BOTH, groups.data(), count)) {
    return false;
  }
  for (size_t i = 0; i < names_.size(); ++i) {
    const re2::StringPiece& group = groups[i + 1];
    (*spans)[i] = group.data() == nullptr ? Span{0, 0}
                                          : Span{static_cast<uint32_t>(group.data() - text.data()),
                                                 static_cast<uint32_t>(group.size())};
  }
  return true;
}

// One step back is enough: a star can't leave its segment, and within one a later star can give
// whatever an earlier one could. A rest wildcard is the last token here.
bool Glob::MatchTokens(std::string_view text, Spans* spans) const {
  size_t token = 0;
  size_t at = 0;
  size_t star = tokens_.size();  // the token to go back to
  size_t star_end = 0;           // where it ends now
  const auto capture = [&](const Token& of, size_t begin, size_t end) {
    if (spans == nullptr || of.capture < 0) return;
    (*spans)[static_cast<size_t>(of.capture)] = {static_cast<uint32_t>(begin),
                                                 static_cast<uint32_t>(end - begin)};
  };
  size_t star_begin = 0;
  while (true) {
    bool good = true;
    if (token == tokens_.size()) {
      if (at == text.size()) {
        if (star < tokens_.size()) capture(tokens_[star], star_begin, star_end);
        return true;
      }
      good = false;
    } else {
      const Token& now = tokens_[token];
      switch (now.op) {
        case Op::kLiteral:
          good = text.substr(at).starts_with(now.text);
          if (good) {
            at += now.text.size();
            ++token;
          }
          break;
        case Op::kStar:
          if (star < tokens_.size()) capture(tokens_[star], star_begin, star_end);
          star = token++;
          star_begin = at;
          star_end = at;
          if (now.one_or_more) {
            if (at == text.size() || text[at] == separator_) return false;
            star_end = ++at;
          }
          break;
        case Op::kRest:
          good = !now.one_or_more || at < text.size();
          break;
        case Op::kRestOfPath:
          good = at == text.size() || text[at] == separator_;
          break;
      }
      if (good && (now.op == Op::kRest || now.op == Op::kRestOfPath)) {
        if (star < tokens_.size()) capture(tokens_[star], star_begin, star_end);
        const bool slash = now.op == Op::kRestOfPath && at < text.size();
        capture(now, at + (slash ? 1 : 0), text.size());
        return true;
      }
    }
    if (good) continue;
    // Lengthen the last star by one character and try again from there.
    if (star == tokens_.size() || star_end == text.size() ||
        (separator_ != 0 && text[star_end] == separator_)) {
      return false;
    }
    at = ++star_end;
    token = star + 1;
  }
}

bool Glob::Covers(const Glob& other) const {
  if (pattern_ == other.pattern_) return true;
  if (regex_ != nullptr || other.regex_ != nullptr) return false;
  if (other.literal_) return Matches(other.prefix_);
  // Everything below a literal folder.
  if (suffix_only_) {
    return (other.suffix_only_ && other.suffix_.ends_with(suffix_)) ||
           (other.tokens_.back().op == Op::kLiteral &&
            other.tokens_.back().text.ends_with(suffix_));
  }
  if (tokens_.size() == 1 && tokens_[0].op == Op::kRestOfPath) {
    return other.tokens_[0].op != Op::kRest;  // "**" also matches "*", which is no path
  }
  if (tokens_.size() == 1 && tokens_[0].op == Op::kStar && separator_ == 0) return true;
  if (tokens_.size() == 2 && tokens_[0].op == Op::kLiteral) {
    if (tokens_[1].op == Op::kRest) return other.prefix_.starts_with(prefix_);
    if (tokens_[1].op == Op::kRestOfPath) {
      return other.prefix_.starts_with(prefix_ + "/") ||
             (other.prefix_ == prefix_ && other.tokens_.size() == 2 &&
              other.tokens_[1].op == Op::kRestOfPath);
    }
  }
  // The same shape but for the names of captures.
  if (tokens_.size() != other.tokens_.size()) return false;
  for (size_t i = 0; i < tokens_.size(); ++i) {
    const Token& mine = tokens_[i];
    const Token& theirs = other.tokens_[i];
    if (mine.op != theirs.op || mine.text != theirs.text) return false;
    if (mine.one_or_more && !theirs.one_or_more) return false;
  }
  return true;
}

}  // namespace satchel::rules
