#include "proxy/redis/redis_search.h"

#include <algorithm>
#include <utility>

#include "cache/store.h"
#include "proxy/redis/record_names.h"

namespace satchel::redis {
namespace {

using cache::CacheKey;
using cache::Millis;
using cache::Note;
using cache::SearchVariance;

constexpr std::string_view kSuffix = ":q";
constexpr size_t kMaxField = 1024;    // bytes of No-Vary-Search
constexpr size_t kMaxPointer = 2048;  // bytes of a key
constexpr Millis kLongest = std::chrono::hours(24);

// What notes stand under: no key of a response begins like that.
std::string PathText(std::string_view key) { return "path " + cache::PathOfKey(key); }
std::string PointerText(std::string_view key, const SearchVariance& variance) {
  return "equivalents " + cache::EquivalentText(key, variance);
}

uint64_t PathHash(std::string_view key) { return CacheKey(cache::PathOfKey(key)).hash(); }

}  // namespace

RedisStore::SearchCall::SearchCall(RedisStore& store, const CacheKey& key,
                                   const cache::RequestHead& request,
                                   const cache::Overrides& overrides, EquivalentDone done)
    : store_(store.self_),
      key_(key),
      request_(request),
      overrides_(overrides),
      deadline_ms_(store.loop_.now_ms() + store.options_.deadline_ms),
      done_(std::move(done)) {}

void RedisStore::SearchCall::Get(const std::string& text, OnNote on_note,
                                 std::function<void()> on_nothing) {
  RedisStore& store = **store_.lock();
  const std::string redis_key = store.PlainKey(text) + std::string(kSuffix);
  reply_ = store.client_.Call(
      redis_key, {"GET", redis_key}, std::max<int64_t>(1, deadline_ms_ - store.loop_.now_ms()),
      [this, text, on_note = std::move(on_note),
       on_nothing = std::move(on_nothing)](const cache::Result<Reply>& reply) {
        const auto self = store_.lock();
        if (!self || !reply) {
          Finish({});
          return;
        }
        if (!reply->IsString()) {
          on_nothing();
          return;
        }
        RedisStore& that = **self;
        that.counters_->bytes_read.Add(reply->text.size());
        cache::Result<Note> note = cache::OpenNote(reply->text, text, that.keys_.get());
        // Somebody else's, perhaps: what stands here in the clear is not to be believed.
        if (overrides_.encrypt && !cache::IsEncrypted(reply->text)) {
          note = cache::Fail(cache::ErrorSource::kStore, "not to be decrypted");
        }
        if (!note) {
          that.counters_->bad_records.Add();
          that.counters_->bad_causes[static_cast<size_t>(cache::CauseOf(note.error().message))]
              .Add();
          on_nothing();
          return;
        }
        on_note(*note);
      });
}

void RedisStore::SearchCall::AskPath() {
  Get(
      PathText(key_.text()),
      [this](const Note& note) {
        cache::HeaderMap fields;
        fields.Add(cache::FieldId::kNoVarySearch, note.text);
        const SearchVariance variance = cache::ParseNoVarySearch(fields);
        if (variance.byte_for_byte()) {
          Finish({});
        } else {
          AskPointer(variance);
        }
      },
      [this] {
        if (const auto self = store_.lock()) {
          (*self)->silent_paths_.Remember(PathHash(key_.text()), (*self)->loop_.now_ms());
        }
        Finish({});
      });
}

void RedisStore::SearchCall::AskPointer(const SearchVariance& variance) {
  Get(
      PointerText(key_.text(), variance), [this](const Note& note) { OnPointer(note); },
      [this] { Finish({}); });
}

void RedisStore::SearchCall::OnPointer(const Note& pointer) {
  // Under its own key there was nothing.
  if (pointer.text == key_.text() || pointer.text.size() > kMaxPointer) {
    Finish({});
    return;
  }
  RedisStore& store = **store_.lock();
  lookup_ = store.Lookup(CacheKey(pointer.text), request_, overrides_,
                         [this, asked = pointer.sequence](cache::Result<cache::StoredPtr> found) {
                           OnRecord(found ? std::move(*found) : nullptr, asked);
                         });
}

void RedisStore::SearchCall::OnRecord(cache::StoredPtr found, uint64_t asked) {
  const auto self = store_.lock();
  if (!self || !found) {
    Finish({});
    return;
  }
  RedisStore& store = **self;
  static const cache::Purges kNone;
  const cache::Purges& purges = store.purges_ != nullptr ? *store.purges_ : kNone;
  if (!cache::Store::Answers(*found, key_.text(), asked, purges)) {
    Finish({});
    return;
  }
  store.counters_->equivalents.Add();
  Finish({std::move(found), asked});
}

void RedisStore::SearchCall::Finish(Equivalent found) {
  const EquivalentDone done = std::move(done_);
  done(std::move(found));
}

std::unique_ptr<cache::RemoteStore::Pending> RedisStore::LookupEquivalent(
    const CacheKey& key, const cache::RequestHead& request, const cache::Overrides& overrides,
    const std::shared_ptr<const SearchVariance>& known, EquivalentDone done) {
  const std::string_view text = key.text();
  // Most paths have no query at all: of these only what is known is looked for.
  const bool has_query = text.substr(0, text.find('\n')).find('?') != std::string_view::npos;
  if (!available() || text.size() > kMaxPointer ||
      (known == nullptr &&
       (!has_query || silent_paths_.Contains(PathHash(text), loop_.now_ms())))) {
    return nullptr;
  }
  counters_->searches.Add();
  auto call = std::make_unique<SearchCall>(*this, key, request, overrides, std::move(done));
  if (known != nullptr) {
    call->AskPointer(*known);
  } else {
    call->AskPath();
  }
  return call;
}

void RedisStore::PutEquivalent(const cache::StoredResponse& response,
                               const cache::Overrides& overrides, uint64_t asked) {
  const std::string field = response.Fields().Joined(cache::FieldId::kNoVarySearch).value_or("");
  const SearchVariance variance = cache::ParseNoVarySearch(response.Fields());
  const cache::Time now = std::chrono::time_point_cast<Millis>(std::chrono::system_clock::now());
  const Millis left = std::min(response.facts().lifetime - response.facts().AgeAt(now), kLongest);
  const std::string key(response.key());
  if (variance.byte_for_byte() || field.size() > kMaxField || key.size() > kMaxPointer ||
      left <= Millis(0) || response.facts().partial || (overrides.encrypt && keys_ == nullptr)) {
    return;
  }
  silent_paths_.Forget(PathHash(key));
  const cache::RecordCipher* const cipher = overrides.encrypt ? keys_.get() : nullptr;
  const auto set = [&](const std::string& text, std::string said) {
    std::string note = cache::SealNote(text, {std::move(said), asked}, cipher);
    if (note.empty()) return;
    const std::string redis_key = PlainKey(text) + std::string(kSuffix);
    counters_->bytes_written.Add(note.size());
    Command command{"SET", redis_key};
    command.Payload(std::move(note)).Arg("PX").Arg(left.count());
    client_.Send(redis_key, std::move(command), options_.put_deadline_ms, {}, Lane::kStore);
  };
  set(PathText(key), field);
  set(PointerText(key, variance), key);
}

}  // namespace satchel::redis
