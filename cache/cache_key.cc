#include "cache/cache_key.h"

#include <algorithm>
#include <atomic>

#include "cache/base/text.h"
#include "cache/base/xxh3.h"
#include "cache/http/fields.h"
#include "cache/http/query.h"

namespace satchel::cache {
namespace {

std::atomic<uint64_t> g_hash_seed{0x5a7c4e1d2b90f386};

// '*' stands for any text. Linear but for backtracking to the last star.
bool GlobMatches(std::string_view glob, std::string_view text) {
  size_t g = 0;
  size_t t = 0;
  size_t star = std::string_view::npos;
  size_t star_text = 0;
  while (t < text.size()) {
    if (g < glob.size() && glob[g] == '*') {
      star = g++;
      star_text = t;
    } else if (g < glob.size() && glob[g] == text[t]) {
      ++g;
      ++t;
    } else if (star != std::string_view::npos) {
      g = star + 1;
      t = ++star_text;
    } else {
      return false;
    }
  }
  while (g < glob.size() && glob[g] == '*') ++g;
  return g == glob.size();
}

bool AnyMatches(const std::vector<std::string>& globs, std::string_view text) {
  return std::any_of(globs.begin(), globs.end(),
                     [&](const std::string& glob) { return GlobMatches(glob, text); });
}

struct Parameter {
  std::string name;       // decoded
  std::string_view text;  // as received
};

bool Stays(const Parameter& parameter, const KeyRule& rule) {
  // Some origins split at ';' too: what follows it would be hidden from the key.
  if (parameter.text.find(';') != std::string_view::npos) return true;
  if (!rule.query_allow.empty() && !AnyMatches(rule.query_allow, parameter.name)) return false;
  return !AnyMatches(rule.query_deny, parameter.name);
}

void AppendQuery(std::string& out, std::string_view query, const KeyRule& rule) {
  std::vector<Parameter> parameters;
  QueryReader reader(query);
  for (std::string_view text; reader.Next(text);) {
    // An escape must not hide a name from a rule: it counts as the origin reads it.
    Parameter parameter{DecodeFormText(SplitParameter(text).name), text};
    if (Stays(parameter, rule)) parameters.push_back(std::move(parameter));
  }
  // Values of one name keep their order: it may mean something.
  if (rule.query_sort) {
    std::stable_sort(parameters.begin(), parameters.end(),
                     [](const Parameter& a, const Parameter& b) { return a.name < b.name; });
  }
  char separator = '?';
  for (const Parameter& parameter : parameters) {
    out.push_back(separator);
    out.append(parameter.text);
    separator = '&';
  }
}

// One further part on its own line, its length before it: no value can imitate another part. A
// target has no line feed, so the parts can't imitate a target either.
void AppendPart(std::string& out, char kind, std::string_view name,
                const std::optional<std::string>& value) {
  out.push_back('\n');
  out.push_back(kind);
  for (const char c : name) out.push_back(kind == 'h' ? ToLowerAscii(c) : c);
  if (!value) {
    out.push_back('!');
    return;
  }
  out.push_back('=');
  out.append(std::to_string(value->size())).push_back(':');
  out.append(*value);
}

// All values of a cookie, in order (RFC 6265 5.4).
std::optional<std::string> CookieValue(const HeaderMap& fields, std::string_view name) {
  std::optional<std::string> out;
  for (const HeaderMap::Field field : fields) {
    if (field.id != FieldId::kCookie) continue;
    std::string_view rest = field.value;
    while (!rest.empty()) {
      const size_t end = std::min(rest.find(';'), rest.size());
      const std::string_view pair = TrimOws(rest.substr(0, end));
      const size_t equals = pair.find('=');
      if (equals != std::string_view::npos && TrimOws(pair.substr(0, equals)) == name) {
        const std::string_view value = TrimOws(pair.substr(equals + 1));
        if (out)
          out->append(";").append(value);
        else
          out.emplace(value);
      }
      rest.remove_prefix(std::min(end + 1, rest.size()));
    }
  }
  return out;
}

}  // namespace

CacheKey::CacheKey(std::string text) : text_(std::move(text)) { Seal(); }

void CacheKey::Seal() { hash_ = XXH3_64bits_withSeed(text_.data(), text_.size(), HashSeed()); }

void CacheKey::BuildUri(std::string_view scheme, std::string_view authority,
                        std::string_view target) {
  const size_t size = scheme.size() + 3 + authority.size() + target.size();
  text_.resize_and_overwrite(size, [&](char* data, size_t) {
    CharWriter writer(data);
    writer.Text(scheme);
    writer.Text("://");
    writer.Text(authority);
    writer.Text(target);
    return size;
  });
  Seal();
}

void CacheKey::Build(const RequestHead& request, const KeyRule& rule) {
  if (rule.plain()) {
    BuildUri(request.scheme, request.authority, request.target);
    return;
  }
  text_.clear();
  if (rule.scheme) text_.append(request.scheme);
  text_.append("://");
  if (rule.host) text_.append(request.authority);
  const bool shaped = !rule.query_allow.empty() || !rule.query_deny.empty() || rule.query_sort;
  if (!shaped) {
    text_.append(request.target);
  } else {
    const std::string_view path = request.path();
    text_.append(path);
    if (path.size() < request.target.size()) AppendQuery(text_, request.query(), rule);
  }
  if (rule.version != 1) AppendPart(text_, 'v', "", std::to_string(rule.version));
  for (const std::string& name : rule.headers) {
    AppendPart(text_, 'h', name, request.fields.Joined(name));
  }
  for (const std::string& name : rule.cookies) {
    AppendPart(text_, 'c', name, CookieValue(request.fields, name));
  }
  Seal();
}

void CacheKey::AddBody(const RequestHead& request, const BodyIdentity& body) {
  AppendPart(text_, 'm', request.method_text, std::nullopt);
  for (const FieldId id :
       {FieldId::kContentType, FieldId::kContentEncoding, FieldId::kContentLanguage}) {
    AppendPart(text_, 'r', FieldName(id), request.fields.Joined(id));
  }
  // Equal canonical texts may come from bodies of different lengths.
  AppendPart(text_, body.canonical ? 'j' : 'b',
             body.canonical ? std::string() : std::to_string(body.length), body.digest);
  Seal();
}

uint64_t HashSeed() { return g_hash_seed.load(std::memory_order_relaxed); }

void SetHashSeed(uint64_t seed) { g_hash_seed.store(seed, std::memory_order_relaxed); }

}  // namespace satchel::cache
