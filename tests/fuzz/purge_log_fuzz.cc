// What reading the purge log brings, as Redis sends it. A broken server, or one that somebody else
// writes to, may say anything.
#include <cstdint>
#include <string_view>

#include "cache/purges.h"
#include "proxy/redis/purge_log.h"
#include "proxy/redis/resp.h"
#include "tests/fuzz/require.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace satchel;
  constexpr size_t kRecords = 16;
  redis::ReplyReader reader({.max_bytes = 1 << 20, .max_elements = 1 << 16});
  reader.Feed(std::string_view(reinterpret_cast<const char*>(data), size));
  redis::Reply reply;
  cache::Purges purges(kRecords);
  while (reader.Read(reply) == redis::ReplyReader::Next::kReply) {
    const auto part = redis::ParsePurgeLog(reply);
    if (!part) continue;
    // What is beyond it no script could count on from.
    constexpr uint64_t kMost = uint64_t{1} << 53;
    Require(part->head <= kMost && part->born <= kMost && part->floor <= kMost);
    uint64_t last = 0;
    size_t names = 0;
    for (const auto& batch : part->batches) {
      Require(&batch == &part->batches.front() || batch.sequence > last);
      Require(batch.sequence <= kMost);
      last = batch.sequence;
      names += batch.records.size();
      const uint64_t before = purges.head();
      const uint64_t given = purges.Apply(batch.records, batch.sequence);
      Require(batch.records.empty() || (given > before && purges.head() >= given));
    }
    Require(2 * names + 4 <= reply.items.size());
    Require(purges.stats().records <= kRecords);
  }
  return 0;
}
