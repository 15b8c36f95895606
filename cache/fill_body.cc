// The bytes of a Fill: where they are written, read and let go of.
#include <algorithm>
#include <cstring>
#include <utility>

#include "cache/fill_core.h"

namespace satchel::cache {
namespace {

constexpr size_t kFirstSegment = size_t{4} << 10;
constexpr size_t kSecondSegment = size_t{64} << 10;
constexpr size_t kSegment = size_t{256} << 10;
constexpr size_t kPassSegment = size_t{64} << 10;
// Of an announced length only this much is charged before the bytes are there. The memory behind
// it is address space that nobody has touched.
constexpr size_t kChargeStep = size_t{1} << 20;
// StoredResponse copies bodies up to this size into its own allocation.
constexpr size_t kEmbedLimit = 4096;
// A last segment that is emptier than this is copied to its true size.
constexpr size_t kTailWaste = size_t{16} << 10;

}  // namespace

size_t Fill::MaxBody() const { return std::min(store_->options.max_object, store_->admitted()); }

void Fill::Append(std::string_view bytes) {
  if (bytes.empty() || state_ != FillState::kStreaming) return;
  if (!pass_ && committed_ + bytes.size() > MaxBody()) BecomePass();
  Write(bytes);
  Wakeups wakeups;
  {
    const std::lock_guard lock(mutex_);
    if (pass_ && readers_.empty()) {
      // Nobody will ever ask for these bytes.
      DropSegmentsLocked();
      tail_ = nullptr;
      room_ = 0;
      trimmed_ = committed_;
    }
    ChangedLocked(wakeups);
  }
  Run(wakeups);
}

void Fill::Write(std::string_view bytes) {
  while (!bytes.empty()) {
    if (room_ == 0) MakeRoom(bytes.size());
    const size_t n = std::min(room_, bytes.size());
    std::memcpy(tail_, bytes.data(), n);
    tail_ += n;
    room_ -= n;
    bytes.remove_prefix(n);
    const std::lock_guard lock(mutex_);
    committed_ += n;
  }
}

void Fill::MakeRoom(size_t wanted) {
  if (uncharged_ > 0) {
    const size_t step = std::min(uncharged_, kChargeStep);
    if (!store_->ReserveForFill(step, shard())) {
      BecomePass();  // which lends the rest of the segment
      return;
    }
    room_ = step;
    uncharged_ -= step;
    const std::lock_guard lock(mutex_);
    charged_ += step;
    return;
  }
  size_t capacity = kPassSegment;
  size_t charge = 0;
  if (!pass_) {
    if (segments_.empty() && length_.value_or(0) > 0) {
      capacity = *length_;
    } else {
      const size_t steps[] = {kFirstSegment, kSecondSegment, kSegment};
      capacity = std::max(steps[std::min<size_t>(segments_.size(), 2)], std::min(wanted, kSegment));
    }
    charge = std::min(capacity, kChargeStep);
    if (!store_->ReserveForFill(charge, shard())) {
      BecomePass();
      capacity = kPassSegment;
      charge = 0;
    }
  }
  auto bytes = std::make_shared_for_overwrite<char[]>(capacity);
  tail_ = bytes.get();
  room_ = pass_ ? capacity : charge;
  uncharged_ = capacity - room_;
  const std::lock_guard lock(mutex_);
  segments_.push_back({std::move(bytes), committed_, capacity});
  charged_ += charge;
  if (pass_) {
    pass_charged_ += capacity;
    store_->pass_bytes.fetch_add(capacity, std::memory_order_relaxed);
  }
}

void Fill::BecomePass() {
  store_->Unlist(*this);
  store_->rejected_too_large.fetch_add(1, std::memory_order_relaxed);
  size_t given_back = 0;
  {
    const std::lock_guard lock(mutex_);
    pass_ = true;
    given_back = std::exchange(charged_, 0);
    for (const Segment& segment : segments_) pass_charged_ += segment.capacity;
    store_->pass_bytes.fetch_add(pass_charged_, std::memory_order_relaxed);
    TrimLocked();
  }
  room_ += std::exchange(uncharged_, 0);
  store_->UnreserveForFill(given_back);
}

// Copied are bodies that would waste memory otherwise; a body of announced length lies in one
// allocation of the right size already.
bool Fill::WouldCopy() const {
  if (committed_ <= kEmbedLimit) return true;
  const bool exact = segments_.size() == 1 && segments_[0].capacity == committed_;
  return !exact && committed_ <= kCompactLimit;
}

Body Fill::MakeBody(bool copy) const {
  Body body;
  if (copy && committed_ > kEmbedLimit) {
    auto whole = std::make_shared_for_overwrite<char[]>(committed_);
    for (const Segment& segment : segments_) {
      std::memcpy(whole.get() + segment.start, segment.bytes.get(),
                  std::min<uint64_t>(segment.capacity, committed_ - segment.start));
    }
    body.AppendSegment(std::move(whole), committed_);
    return body;
  }
  for (const Segment& segment : segments_) {
    const size_t used = std::min<uint64_t>(segment.capacity, committed_ - segment.start);
    if (!copy && segment.capacity - used >= kTailWaste) {
      auto trimmed = std::make_shared_for_overwrite<char[]>(used);
      std::memcpy(trimmed.get(), segment.bytes.get(), used);
      body.AppendSegment(std::move(trimmed), used);
    } else {
      body.AppendSegment(segment.bytes, used);
    }
  }
  return body;
}

std::string Fill::CopyBody(size_t limit) const {
  std::string body;
  if (pass_ || committed_ > limit) return body;
  for (const Segment& segment : segments_) {
    const auto used = std::min<uint64_t>(segment.capacity, committed_ - segment.start);
    body.append(segment.bytes.get(), used);
  }
  return body;
}

Body Fill::Committed() const { return pass_ ? Body() : MakeBody(/*copy=*/false); }

size_t Fill::Gather(uint64_t position, std::span<iovec> out) const {
  const std::lock_guard lock(mutex_);
  if (position >= committed_ || segments_.empty()) return 0;
  auto segment = std::upper_bound(segments_.begin(), segments_.end(), position,
                                  [](uint64_t at, const Segment& s) { return at < s.start; });
  if (segment == segments_.begin()) return 0;  // was never this reader's
  --segment;
  size_t used = 0;
  for (; used < out.size() && segment != segments_.end() && position < committed_; ++segment) {
    const uint64_t skip = position - segment->start;
    if (skip >= segment->capacity) break;
    const uint64_t take = std::min<uint64_t>(segment->capacity - skip, committed_ - position);
    out[used++] = {segment->bytes.get() + skip, take};
    position += take;
  }
  return used;
}

void Fill::Consume(Slot& slot, uint64_t position) {
  Wake resume;
  {
    const std::lock_guard lock(mutex_);
    slot.position = std::min(position, committed_);
    if (!pass_) return;
    TrimLocked();
    resume = TakeResumeLocked();
  }
  if (resume) resume();
}

uint64_t Fill::BacklogLocked() const {
  if (!pass_ || readers_.empty()) return 0;
  uint64_t slowest = committed_;
  for (const auto& slot : readers_) slowest = std::min(slowest, slot->position);
  return committed_ - slowest;
}

void Fill::TrimLocked() {
  const uint64_t slowest = committed_ - BacklogLocked();
  while (!segments_.empty() && segments_.front().start + segments_.front().capacity <= slowest) {
    trimmed_ = segments_.front().start + segments_.front().capacity;
    pass_charged_ -= segments_.front().capacity;
    store_->pass_bytes.fetch_sub(segments_.front().capacity, std::memory_order_relaxed);
    segments_.erase(segments_.begin());
  }
}

void Fill::DropSegmentsLocked() {
  segments_.clear();
  store_->UnreserveForFill(std::exchange(charged_, 0));
  store_->pass_bytes.fetch_sub(std::exchange(pass_charged_, 0), std::memory_order_relaxed);
}

uint64_t Fill::Backlog() const {
  const std::lock_guard lock(mutex_);
  return BacklogLocked();
}

Wake Fill::TakeResumeLocked() {
  if (!resume_ || BacklogLocked() >= resume_below_) return nullptr;
  return std::exchange(resume_, nullptr);
}

void Fill::NotifyBelow(uint64_t low, Wake resume) {
  Wake due;
  {
    const std::lock_guard lock(mutex_);
    resume_below_ = std::max<uint64_t>(low, 1);
    resume_ = std::move(resume);
    due = TakeResumeLocked();
  }
  // Readers were quicker than the caller. It is a message all the same.
  if (due) due();
}

bool Fill::has_readers() const {
  const std::lock_guard lock(mutex_);
  return !readers_.empty();
}

bool Fill::is_pass() const {
  const std::lock_guard lock(mutex_);
  return pass_;
}

}  // namespace satchel::cache
