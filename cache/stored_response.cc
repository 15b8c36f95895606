#include "cache/stored_response.h"

#include <algorithm>
#include <charconv>
#include <cstring>
#include <new>
#include <utility>

#include "cache/base/append.h"
#include "cache/cache_key.h"

namespace satchel::cache {
namespace {

// Bodies up to this size are copied into the allocation of their response.
constexpr size_t kEmbedLimit = 4096;
// Control block of the shared_ptr and the allocator's own header.
constexpr size_t kAllocation = 16 + 16;

// Room behind the object that the next allocation of this thread gets. The allocator itself must
// stay empty: a member would lie in every control block.
thread_local size_t extra_bytes = 0;

template <typename T>
struct TrailingAllocator {
  using value_type = T;
  TrailingAllocator() = default;
  template <typename U>
  TrailingAllocator(const TrailingAllocator<U>&) {}  // NOLINT(google-explicit-constructor)
  T* allocate(size_t n) { return static_cast<T*>(::operator new(n * sizeof(T) + extra_bytes)); }
  void deallocate(T* p, size_t) { ::operator delete(static_cast<void*>(p)); }
  bool operator==(const TrailingAllocator&) const { return true; }
};

// RFC 9110 8.6: no Content-Length in 1xx and 204; in a 304 it would describe another response.
bool StatusHasLength(uint16_t status) { return status >= 200 && status != 204 && status != 304; }

void AppendLine(std::string& out, std::string_view name, std::string_view value) {
  AppendAll(out, {name, ": ", value, "\r\n"});
}

void AppendNumber(std::string& out, uint64_t number) {
  char digits[20];
  const auto end = std::to_chars(digits, digits + sizeof digits, number).ptr;
  out.append(digits, end);
}

// Fields that are written anew at every sending.
constexpr FieldSet kDynamic{FieldId::kAge, FieldId::kCacheStatus, FieldId::kConnection};

// `length`: of a complete body; nullopt keeps the Content-Length that was given.
void WriteBlock(std::string& out, uint16_t status, std::string_view reason, const HeaderMap& fields,
                std::optional<uint64_t> length) {
  out.clear();
  out.append("HTTP/1.1 ");
  AppendNumber(out, status);
  out.append(" ").append(reason).append("\r\n");
  const bool has_length = StatusHasLength(status);
  bool written = false;
  for (const HeaderMap::Field& field : fields) {
    if (kDynamic.Contains(field.id)) continue;
    if (field.id == FieldId::kContentLength) {
      if (!has_length || length || written) continue;
      written = true;
    }
    AppendLine(out, field.name, field.value);
  }
  if (length && has_length) {
    out.append("Content-Length: ");
    AppendNumber(out, *length);
    out.append("\r\n");
  }
}

// Does the block say already that the body has `length` bytes?
bool SaysLength(std::string_view block, uint64_t length) {
  constexpr std::string_view kLine = "\r\nContent-Length: ";
  const size_t at = block.find(kLine);
  if (at == std::string_view::npos) return false;
  char digits[22];
  char* end = std::to_chars(digits, digits + 20, length).ptr;
  *end++ = '\r';
  *end++ = '\n';
  return block.substr(at + kLine.size()).starts_with(std::string_view(digits, end));
}

std::string_view StatusLineReason(std::string_view block) {
  const size_t end = block.find('\r');
  const size_t start = block.find(' ', sizeof "HTTP/1.1 " - 1);
  if (end == std::string_view::npos || start == std::string_view::npos || start >= end) return {};
  return block.substr(start + 1, end - start - 1);
}

// The block is built here and then copied to its place; the memory stays for the next one.
std::string& Scratch() {
  thread_local std::string scratch;
  if (scratch.capacity() > 65536) std::string().swap(scratch);
  return scratch;
}

}  // namespace

const VarySpec StoredResponse::kNoVary;
const ByteRange StoredResponse::kNoRange;

StoredPtr StoredResponse::Build(std::string_view key, std::string_view block,
                                const ResponseFacts& facts, const Extras* extras, Body body,
                                bool complete, uint64_t sequence) {
  const bool embed = !body.empty() && body.size() <= kEmbedLimit;
  extra_bytes = key.size() + block.size() + (embed ? body.size() : 0);
  const auto made =
      std::allocate_shared<StoredResponse>(TrailingAllocator<StoredResponse>(), Token());
  extra_bytes = 0;
  made->facts_ = facts;
  made->key_size_ = static_cast<uint32_t>(key.size());
  made->block_size_ = static_cast<uint32_t>(block.size());
  made->complete_ = complete ? 1 : 0;
  made->sequence_.store(sequence, std::memory_order_relaxed);
  if (extras != nullptr) made->extras_ = std::make_unique<const Extras>(*extras);
  char* at = made->text();
  at = std::copy(key.begin(), key.end(), at);
  at = std::copy(block.begin(), block.end(), at);
  if (!embed) {
    static_cast<Body&>(*made) = std::move(body);
    return made;
  }
  made->Embed(at, body.size());
  iovec pieces[8];
  for (uint64_t done = 0; done < body.size();) {
    const size_t count = body.Gather(done, body.size() - done, pieces);
    for (size_t i = 0; i < count; ++i) {
      std::memcpy(at + done, pieces[i].iov_base, pieces[i].iov_len);
      done += pieces[i].iov_len;
    }
  }
  return made;
}

StoredPtr StoredResponse::Make(Parts parts) {
  const bool complete = parts.complete || !parts.body.empty();
  std::optional<uint64_t> length;
  if (complete) length = parts.body.size();
  std::string& block = Scratch();
  WriteBlock(block, parts.facts.status, parts.reason, parts.fields, length);
  const bool plain = parts.vary.empty() && parts.vary_values.empty() && parts.tags.empty() &&
                     !parts.facts.partial && parts.complete_length == 0;
  if (plain) {
    return Build(parts.key, block, parts.facts, nullptr, std::move(parts.body), complete,
                 parts.purge_sequence);
  }
  parts.tags.shrink_to_fit();
  const Extras extras{std::move(parts.vary), std::move(parts.vary_values), std::move(parts.tags),
                      parts.partial_range, parts.complete_length};
  return Build(parts.key, block, parts.facts, &extras, std::move(parts.body), complete,
               parts.purge_sequence);
}

StoredPtr StoredResponse::WithBody(const StoredResponse& head, Body body,
                                   const std::vector<TagId>* tags, uint8_t fetch_time) {
  ResponseFacts facts = head.facts();
  if (fetch_time != 0) facts.fetch_time = fetch_time;
  const Extras* extras = head.extras_.get();
  Extras tagged;
  if (tags != nullptr && !(tags->empty() && extras == nullptr)) {
    if (extras != nullptr) tagged = *extras;
    tagged.tags = *tags;
    extras = &tagged;
  }
  if (SaysLength(head.header_block(), body.size())) {
    return Build(head.key(), head.header_block(), facts, extras, std::move(body), true,
                 head.purge_sequence());
  }
  std::string& block = Scratch();
  WriteBlock(block, facts.status, head.reason(), head.Fields(), body.size());
  return Build(head.key(), block, facts, extras, std::move(body), true, head.purge_sequence());
}

StoredPtr StoredResponse::WithFields(const StoredResponse& old, const HeaderMap& fields,
                                     const ResponseFacts& facts) {
  return WithFields(old, fields, facts, {.more_tags = {}, .purge_sequence = old.purge_sequence()});
}

StoredPtr StoredResponse::WithFields(const StoredResponse& old, const HeaderMap& fields,
                                     const ResponseFacts& facts, Update update) {
  std::optional<uint64_t> length;
  if (old.complete()) length = old.body().size();
  std::string& block = Scratch();
  WriteBlock(block, facts.status, old.reason(), fields, length);
  const Extras* extras = old.extras_.get();
  Extras changed;
  if (!update.more_tags.empty() || update.vary) {
    if (extras != nullptr) changed = *extras;
    TagSet tags;
    for (const TagId tag : changed.tags) tags.AddId(tag);
    for (const TagId tag : update.more_tags) tags.AddId(tag);
    changed.tags = tags.Take();
    if (update.vary) {
      changed.vary = std::move(*update.vary);
      changed.vary_values = std::move(update.vary_values);
    }
    extras = &changed;
  }
  return Build(old.key(), block, facts, extras, old.body(), old.complete(), update.purge_sequence);
}

StoredPtr StoredResponse::WithFacts(const StoredResponse& old, const ResponseFacts& facts,
                                    uint64_t purge_sequence) {
  return Build(old.key(), old.header_block(), facts, old.extras_.get(), old.body(), old.complete(),
               purge_sequence);
}

void StoredResponse::LowerPurgeSequence(uint64_t sequence) const {
  uint64_t have = purge_sequence();
  while (have > sequence &&
         !sequence_.compare_exchange_weak(have, sequence, std::memory_order_relaxed)) {
  }
}

void StoredResponse::RaisePurgeSequence(uint64_t sequence) const {
  uint64_t have = purge_sequence();
  while (have < sequence &&
         !sequence_.compare_exchange_weak(have, sequence, std::memory_order_relaxed)) {
  }
}

uint64_t StoredResponse::key_hash() const { return CacheKey(std::string(key())).hash(); }

bool StoredResponse::HoldsRangeOf(const RequestHead& request) const {
  return facts_.partial &&
         EvaluateStoredPart(request, Fields(), partial_range(), complete_length()).kind ==
             RangeVerdict::Kind::kPartial;
}

std::string_view StoredResponse::reason() const { return StatusLineReason(header_block()); }

HeaderMap StoredResponse::Fields() const {
  HeaderMap fields;
  std::string_view rest = header_block();
  rest.remove_prefix(std::min(rest.size(), rest.find("\r\n") + 2));
  while (!rest.empty()) {
    const size_t end = rest.find("\r\n");
    const std::string_view line = rest.substr(0, end);
    const size_t colon = line.find(':');
    if (colon != std::string_view::npos) {
      fields.Add(line.substr(0, colon), TrimOws(line.substr(colon + 1)));
    }
    if (end == std::string_view::npos) break;
    rest.remove_prefix(end + 2);
  }
  return fields;
}

size_t StoredResponse::charge() const {
  size_t bytes = kAllocation + sizeof(StoredResponse) + key_size_ + block_size_;
  if (body().kind_ == Kind::kEmbedded) {
    bytes += body().size();
  } else {
    bytes += body().MemoryUse();
  }
  if (extras_) {
    bytes += sizeof(Extras) + 16 + extras_->vary_values.capacity();
    for (const std::string& name : extras_->vary.names)
      bytes += sizeof(std::string) + name.capacity();
    if (!extras_->tags.empty()) bytes += extras_->tags.capacity() * sizeof(TagId) + 16;
  }
  return bytes;
}

}  // namespace satchel::cache
