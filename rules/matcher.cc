#include "rules/matcher.h"

#include <algorithm>
#include <cstring>
#include <utility>

#include "cache/base/text.h"
#include "rules/path.h"
#include "rules/request_fields.h"

namespace satchel::rules {

RequestView::RequestView(const cache::RequestHead& head, std::string_view normal_path)
    : request(&head), path(normal_path), host(head.authority), host_port(head.authority) {
  if (!cache::AnyByte(host, [](cache::ByteLanes b) { return b == ':'; })) return;
  const size_t colon = host.rfind(':');
  // In "[::1]" the last colon belongs to the address.
  if (host.find(']', colon) == std::string_view::npos) host = host.substr(0, colon);
}

PathHead::PathHead(std::string_view path) {
  cache::PutText(reinterpret_cast<char*>(words), path.substr(0, sizeof(words)));
}

QuickFilter Matcher::MakeFilter() const {
  QuickFilter filter;
  if (!method_texts_.empty()) {
    filter.methods = methods_;
    if (!other_methods_.empty()) filter.methods |= MethodBit(cache::Method::kOther);
  }
  if (paths_.size() == 1) {
    const std::string_view prefix = std::string_view(paths_[0].prefix()).substr(0, 16);
    std::memcpy(filter.head, prefix.data(), prefix.size());
    std::memset(filter.mask, 0xff, prefix.size());
  }
  return filter;
}

std::expected<std::vector<Matcher::Condition>, std::string> Matcher::CompileConditions(
    const std::vector<FieldCondition>& from, const char* kind) {
  std::vector<Condition> conditions;
  for (const FieldCondition& spec : from) {
    Condition condition;
    condition.name = spec.name;
    condition.id = cache::FindFieldId(spec.name);
    for (const std::string& value : spec.values) {
      auto glob = Glob::Compile(value, Glob::Kind::kValue);
      if (!glob) return std::unexpected(std::string(kind) + " \"" + value + "\" " + glob.error());
      condition.values.push_back(std::move(*glob));
    }
    conditions.push_back(std::move(condition));
  }
  return conditions;
}

std::expected<Matcher, std::string> Matcher::Compile(const MatchSpec& spec) {
  Matcher matcher;
  for (const std::string& text : spec.methods) {
    const cache::Method method = cache::ParseMethod(text);
    if (method == cache::Method::kOther) {
      matcher.other_methods_.push_back(text);
    } else {
      matcher.methods_ |= MethodBit(method);
    }
  }
  matcher.method_texts_ = spec.methods;
  for (const std::string& host : spec.hosts) {
    auto glob = Glob::Compile(host, Glob::Kind::kHost);
    if (!glob) return std::unexpected("host \"" + host + "\" " + glob.error());
    const bool regex = host.starts_with("regex:");
    const size_t colon = host.rfind(':');
    const bool with_port =
        !regex && colon != std::string::npos && host.find(']', colon) == std::string::npos;
    matcher.hosts_.push_back({std::move(*glob), with_port});
  }
  for (const std::string& path : spec.paths) {
    auto glob = Glob::Compile(path, Glob::Kind::kPath);
    if (!glob) return std::unexpected("path \"" + path + "\" " + glob.error());
    matcher.paths_.push_back(std::move(*glob));
  }
  auto headers = CompileConditions(spec.headers, "header");
  auto queries = CompileConditions(spec.queries, "query");
  auto cookies = CompileConditions(spec.cookies, "cookie");
  if (!headers) return std::unexpected(headers.error());
  if (!queries) return std::unexpected(queries.error());
  if (!cookies) return std::unexpected(cookies.error());
  matcher.headers_ = std::move(*headers);
  matcher.queries_ = std::move(*queries);
  matcher.cookies_ = std::move(*cookies);
  return matcher;
}

bool Matcher::Condition::Accepts(std::string_view value) const {
  if (values.empty()) return true;
  return std::any_of(values.begin(), values.end(),
                     [&](const Glob& glob) { return glob.Matches(value); });
}

bool Matcher::MethodMatches(const cache::RequestHead& request) const {
  if (method_texts_.empty()) return true;
  if (request.method != cache::Method::kOther) {
    return (methods_ & MethodBit(request.method)) != 0;
  }
  return std::find(other_methods_.begin(), other_methods_.end(), request.method_text) !=
         other_methods_.end();
}

bool Matcher::HostMatches(const RequestView& view) const {
  if (hosts_.empty()) return true;
  return std::any_of(hosts_.begin(), hosts_.end(), [&](const HostPattern& host) {
    return host.glob.Matches(host.with_port ? view.host_port : view.host);
  });
}

const Glob* Matcher::FindPath(const RequestView& view, Glob::Spans* spans) const {
  for (const Glob& path : paths_) {
    if (path.Match(view.path, spans)) return &path;
  }
  return nullptr;
}

bool Matcher::HeaderMatches(const Condition& condition, const cache::RequestHead& request) {
  if (condition.id != cache::FieldId::kOther && !request.fields.Has(condition.id)) return false;
  for (const auto field : request.fields) {
    if (field.id != condition.id) continue;
    if (field.id == cache::FieldId::kOther &&
        !cache::EqualsIgnoreCase(field.name, condition.name)) {
      continue;
    }
    if (condition.Accepts(field.value)) return true;
  }
  return false;
}

bool Matcher::QueryMatches(const Condition& condition, const cache::RequestHead& request) {
  return ForEachQueryValue(request, condition.name, [&](std::string_view value) {
    return !condition.Accepts(value);  // go on until one is accepted
  });
}

bool Matcher::CookieMatches(const Condition& condition, const cache::RequestHead& request) {
  return ForEachCookieValue(request, condition.name,
                            [&](std::string_view value) { return !condition.Accepts(value); });
}

bool Matcher::Matches(const RequestView& view, Glob::Spans* spans, const Glob** path) const {
  const cache::RequestHead& request = *view.request;
  if (!MethodMatches(request)) return false;
  if (!paths_.empty()) {
    const Glob* found = FindPath(view, spans);
    if (found == nullptr) return false;
    if (path != nullptr) *path = found;
  }
  if (!HostMatches(view)) return false;
  for (const Condition& condition : headers_) {
    if (!HeaderMatches(condition, request)) return false;
  }
  for (const Condition& condition : queries_) {
    if (!QueryMatches(condition, request)) return false;
  }
  for (const Condition& condition : cookies_) {
    if (!CookieMatches(condition, request)) return false;
  }
  return true;
}

namespace {

std::string Quote(std::string_view text) { return "\"" + std::string(text) + "\""; }

template <typename Range, typename TextOf>
std::string Alternatives(const Range& range, TextOf text_of) {
  std::string text;
  for (const auto& item : range) {
    if (!text.empty()) text += " or ";
    text += Quote(text_of(item));
  }
  return text;
}

}  // namespace

std::string Matcher::WhyNot(const RequestView& view) const {
  const cache::RequestHead& request = *view.request;
  const auto pattern_of = [](const Glob& glob) -> const std::string& { return glob.pattern(); };
  if (!MethodMatches(request)) {
    return "method " + Quote(request.method_text) + " is not " +
           Alternatives(method_texts_, [](const std::string& text) { return text; });
  }
  if (!paths_.empty() && FindPath(view, nullptr) == nullptr) {
    return "path " + Quote(view.path) + " does not match " + Alternatives(paths_, pattern_of);
  }
  if (!HostMatches(view)) {
    return "host " + Quote(view.host_port) + " does not match " +
           Alternatives(hosts_, [](const HostPattern& host) { return host.glob.pattern(); });
  }
  // Values are not shown: they may be secrets.
  const auto unmet = [&](const std::vector<Condition>& conditions, const char* kind,
                         bool (*matches)(const Condition&, const cache::RequestHead&)) {
    for (const Condition& condition : conditions) {
      if (matches(condition, request)) continue;
      std::string why = kind + std::string(" ") + Quote(condition.name);
      const Condition present{condition.name, condition.id, {}};
      if (!matches(present, request)) return why + " is absent";
      return why + " does not match " + Alternatives(condition.values, pattern_of);
    }
    return std::string();
  };
  std::string why = unmet(headers_, "header", &HeaderMatches);
  if (why.empty()) why = unmet(queries_, "query parameter", &QueryMatches);
  if (why.empty()) why = unmet(cookies_, "cookie", &CookieMatches);
  return why;
}

bool Matcher::Covers(const Matcher& other) const {
  if (!method_texts_.empty()) {
    if (other.method_texts_.empty() || (other.methods_ & ~methods_) != 0) return false;
    for (const std::string& method : other.other_methods_) {
      if (std::find(other_methods_.begin(), other_methods_.end(), method) == other_methods_.end()) {
        return false;
      }
    }
  }
  if (!paths_.empty()) {
    if (other.paths_.empty()) return false;
    for (const Glob& theirs : other.paths_) {
      if (std::none_of(paths_.begin(), paths_.end(),
                       [&](const Glob& mine) { return mine.Covers(theirs); })) {
        return false;
      }
    }
  }
  if (!hosts_.empty()) {
    if (other.hosts_.empty()) return false;
    for (const HostPattern& theirs : other.hosts_) {
      if (std::none_of(hosts_.begin(), hosts_.end(), [&](const HostPattern& mine) {
            return mine.with_port == theirs.with_port && mine.glob.Covers(theirs.glob);
          })) {
        return false;
      }
    }
  }
  // Each condition of ours must be implied by one of theirs on the same name.
  const auto implied = [](const std::vector<Condition>& mine, const std::vector<Condition>& theirs,
                          bool ignore_case) {
    return std::all_of(mine.begin(), mine.end(), [&](const Condition& want) {
      return std::any_of(theirs.begin(), theirs.end(), [&](const Condition& have) {
        const bool same =
            ignore_case ? cache::EqualsIgnoreCase(want.name, have.name) : want.name == have.name;
        if (!same) return false;
        if (want.values.empty()) return true;
        return !have.values.empty() &&
               std::all_of(have.values.begin(), have.values.end(), [&](const Glob& value) {
                 return std::any_of(want.values.begin(), want.values.end(),
                                    [&](const Glob& glob) { return glob.Covers(value); });
               });
      });
    });
  };
  return implied(headers_, other.headers_, true) && implied(queries_, other.queries_, false) &&
         implied(cookies_, other.cookies_, false);
}

}  // namespace satchel::rules
