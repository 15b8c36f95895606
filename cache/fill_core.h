#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "cache/cache_key.h"
#include "cache/fill.h"
#include "cache/store_impl.h"
#include "cache/vary.h"

namespace satchel::cache {

struct FillReader::Slot {
  Wake wake;
  // Guarded by the fill's mutex:
  bool own = false;  // the leader's own reader: never an heir
  bool armed = false;
  bool promoted = false;  // the heir, until it takes the permit or goes
  bool dropped = false;   // its own fetch failed and an heir took over
  uint64_t seen = 0;      // version at the last View()
  uint64_t position = 0;
};

// A growing response. One writer (the holder of the permit) and any number of readers, on any
// threads. The writer copies bytes into the tail of the last segment without a lock; committing
// them, and everything else, happens under `mutex_`. A shard's lock is taken before it, never
// after; wake functions run under neither.
class Fill : public std::enable_shared_from_this<Fill> {
 public:
  using Slot = FillReader::Slot;

  enum class Sharing : uint8_t {
    kJoinable,  // others may read along
    kAlone,     // others fetch for themselves, but no refresh starts beside it
  };

  // `spec` and `values`: what was known of Vary at the start. `part`: the range that is fetched, as
  // it was asked for, empty for the whole; a part is nobody's business who asks for anything else.
  Fill(std::shared_ptr<Store::Impl> store, const CacheKey& key, VarySpec spec, std::string values,
       size_t vary_limit, Sharing sharing, std::string part);
  ~Fill();
  Fill(const Fill&) = delete;
  Fill& operator=(const Fill&) = delete;

  static constexpr size_t kOverhead = 1024;  // bytes charged for a fill without a body
  static constexpr size_t kMaxReaders = 65536;
  // A finished body up to this size becomes one allocation of its own.
  static constexpr size_t kCompactLimit = size_t{256} << 10;

  const CacheKey& key() const { return key_; }

  // Guarded by the shard's mutex: is in its table; began before a purge.
  bool listed = false;
  bool doomed = false;

  // May the request follow this fill? Adds a reader if so.
  std::shared_ptr<Slot> TryJoin(const CacheKey& key, const RequestHead& request,
                                const Overrides& overrides, std::string_view part, Wake wake);
  // Is it fetching what the request asks for, whether or not others may read along? `vary`: what the
  // answer to the request is known to be selected by, or null. A fill that doesn't know this yet may
  // bring another variant, and covers nothing then.
  bool Covers(const CacheKey& key, const RequestHead& request, const Overrides& overrides,
              const VarySpec* vary) const;

  // Writer.
  uint64_t MarkAsked();
  void MarkAskedAt(uint64_t sequence);
  bool Publish(StoredPtr head, std::optional<uint64_t> length);
  std::shared_ptr<Slot> AddOwnReader(Wake wake, uint64_t& position);
  void Append(std::string_view bytes);
  uint64_t Backlog() const;
  void NotifyBelow(uint64_t low, Wake resume);
  bool has_readers() const;
  bool is_pass() const;
  bool is_part() const { return !part_.empty(); }
  Body Committed() const;
  StoredPtr Finish(std::string trailers, const std::vector<TagId>* tags, uint8_t fetch_time);
  std::string CopyBody(size_t limit) const;
  bool CompleteWith(StoredPtr response, bool insert, Reason why);
  void Release(Reason reason);
  void Fail(Error error);
  void FailKeeping(const StoredPtr& part, Error error);

  // Readers.
  FillView View(Slot& slot) const;
  bool Arm(Slot& slot) const;
  size_t Gather(uint64_t position, std::span<iovec> out) const;
  void Consume(Slot& slot, uint64_t position);
  void Leave(const std::shared_ptr<Slot>& slot);
  bool TakePermit(Slot& slot);

 private:
  struct Segment {
    std::shared_ptr<char[]> bytes;
    uint64_t start;  // offset in the body
    size_t capacity;
  };
  using Wakeups = std::vector<std::shared_ptr<Slot>>;

  bool CoversLocked(const CacheKey& key, const RequestHead& request,
                    const Overrides& overrides) const;
  // Nothing that was purged since the origin was asked is known to concern the answer. Before its
  // head is there its tags are not known: Publish() looks again.
  bool UnpurgedLocked() const;
  Shard& shard() const { return store_->ShardOf(key_.hash()); }
  // Changes, under mutex_: everybody armed is to be woken.
  void ChangedLocked(Wakeups& wakeups);
  static void Run(Wakeups& wakeups);
  bool PromoteLocked(Wakeups& wakeups);
  void ConcludeLocked(FillState state, Wakeups& wakeups);
  void Conclude(FillState state);  // leaves the table, then ConcludeLocked

  // Writer: makes room at the tail for some of `wanted` bytes.
  void MakeRoom(size_t wanted);
  void BecomePass();
  void Write(std::string_view bytes);
  bool WouldCopy() const;
  Body MakeBody(bool copy) const;
  bool IsDoomed() const;
  size_t MaxBody() const;

  uint64_t BacklogLocked() const;
  void TrimLocked();        // pass: frees what every reader has consumed
  Wake TakeResumeLocked();  // the writer's wake, if it is due
  void DropSegmentsLocked();

  const std::shared_ptr<Store::Impl> store_;
  const CacheKey key_;
  const VarySpec spec_;
  const std::string values_;
  const size_t vary_limit_;
  const Sharing sharing_;
  const std::string part_;

  // Writer only.
  char* tail_ = nullptr;
  size_t room_ = 0;       // that may be written at tail_
  size_t uncharged_ = 0;  // of the last segment, behind the room

  mutable std::mutex mutex_;
  FillState state_ = FillState::kWaiting;  // never kPromoted: that is a reader's
  uint64_t version_ = 1;
  StoredPtr head_;
  StoredPtr complete_;
  uint64_t sequence_;  // the last purge known when the origin was asked
  bool asked_ = false;
  std::optional<uint64_t> length_;
  Reason reason_ = Reason::kNone;
  Error error_;
  std::string trailers_;
  bool pass_ = false;
  int promotions_ = 0;
  uint64_t committed_ = 0;
  uint64_t trimmed_ = 0;  // offset of the first byte kept
  std::vector<Segment> segments_;
  size_t charged_ = 0;  // of the store's budget, for the segments
  size_t pass_charged_ = 0;
  std::vector<std::shared_ptr<Slot>> readers_;
  uint64_t resume_below_ = 0;
  Wake resume_;
};

}  // namespace satchel::cache
