#include "cache/fill_core.h"

#include <algorithm>
#include <utility>

namespace satchel::cache {
namespace {

constexpr int kMaxPromotions = 2;

}  // namespace

Fill::Fill(std::shared_ptr<Store::Impl> store, const CacheKey& key, VarySpec spec,
           std::string values, size_t vary_limit, Sharing sharing, std::string part)
    : store_(std::move(store)),
      key_(key),
      spec_(std::move(spec)),
      values_(std::move(values)),
      vary_limit_(vary_limit),
      sharing_(sharing),
      part_(std::move(part)),
      sequence_(store_->purges.head()) {}

Fill::~Fill() {
  store_->UnreserveForFill(charged_ + kOverhead);
  store_->pass_bytes.fetch_sub(pass_charged_, std::memory_order_relaxed);
  store_->fills.fetch_sub(1, std::memory_order_relaxed);
}

void Fill::ChangedLocked(Wakeups& wakeups) {
  ++version_;
  for (const auto& slot : readers_) {
    if (!slot->armed) continue;
    slot->armed = false;
    if (slot->wake) wakeups.push_back(slot);
  }
}

void Fill::Run(Wakeups& wakeups) {
  for (const auto& slot : wakeups) slot->wake();
  wakeups.clear();
}

// ---- Who may read along

bool Fill::CoversLocked(const CacheKey& key, const RequestHead& request,
                        const Overrides& overrides) const {
  if (pass_ || key.text() != key_.text()) return false;
  if (state_ != FillState::kWaiting && state_ != FillState::kStreaming) return false;
  const VarySpec& vary = head_ ? head_->vary() : spec_;
  const std::string_view values = head_ ? head_->vary_values() : std::string_view(values_);
  if (vary.star) return false;
  return (vary.empty() || VaryValues(vary, request, overrides) == values) && UnpurgedLocked();
}

bool Fill::UnpurgedLocked() const {
  const Purges& purges = store_->purges;
  if (sequence_ >= purges.head()) return true;
  if (!head_) return purges.Judge({key_.text(), {}, 0}, sequence_).fate == Fate::kValid;
  return purges.Judge(SubjectOf(*head_), head_->purge_sequence()).fate == Fate::kValid;
}

bool Fill::Covers(const CacheKey& key, const RequestHead& request, const Overrides& overrides,
                  const VarySpec* vary) const {
  const std::lock_guard lock(mutex_);
  if (vary != nullptr && !vary->empty() && !head_ && spec_.empty()) return false;
  return part_.empty() && CoversLocked(key, request, overrides);
}

std::shared_ptr<Fill::Slot> Fill::TryJoin(const CacheKey& key, const RequestHead& request,
                                          const Overrides& overrides, std::string_view part,
                                          Wake wake) {
  const std::lock_guard lock(mutex_);
  if (sharing_ != Sharing::kJoinable || part != part_ || readers_.size() >= kMaxReaders) {
    return nullptr;
  }
  if (!CoversLocked(key, request, overrides)) return nullptr;
  auto slot = std::make_shared<Slot>();
  slot->wake = std::move(wake);
  readers_.push_back(slot);
  return slot;
}

std::shared_ptr<Fill::Slot> Fill::AddOwnReader(Wake wake, uint64_t& position) {
  auto slot = std::make_shared<Slot>();
  slot->wake = std::move(wake);
  slot->own = true;
  const std::lock_guard lock(mutex_);
  position = slot->position = trimmed_;
  readers_.push_back(slot);
  return slot;
}

// ---- Conclusions

uint64_t Fill::MarkAsked() {
  const std::lock_guard lock(mutex_);
  sequence_ = store_->purges.head();
  asked_ = true;
  return sequence_;
}

void Fill::MarkAskedAt(uint64_t sequence) {
  const std::lock_guard lock(mutex_);
  sequence_ = sequence;
  asked_ = true;
}

bool Fill::Publish(StoredPtr head, std::optional<uint64_t> length) {
  const bool too_large = length.value_or(0) > MaxBody();
  Wakeups wakeups;
  {
    const std::lock_guard lock(mutex_);
    if (state_ != FillState::kWaiting) return false;
    // Whoever joined did not know the tags. The lock keeps those who come now until it is decided.
    if (store_->purges.Judge(SubjectOf(*head), head->purge_sequence()).fate != Fate::kValid) {
      return false;
    }
    head_ = std::move(head);
    length_ = length;
    state_ = FillState::kStreaming;
    ChangedLocked(wakeups);
  }
  if (too_large) BecomePass();
  Run(wakeups);
  return true;
}

void Fill::ConcludeLocked(FillState state, Wakeups& wakeups) {
  state_ = state;
  resume_ = nullptr;
  if (readers_.empty()) DropSegmentsLocked();
  ChangedLocked(wakeups);
}

void Fill::Conclude(FillState state) {
  store_->Unlist(*this);
  Wakeups wakeups;
  {
    const std::lock_guard lock(mutex_);
    ConcludeLocked(state, wakeups);
  }
  Run(wakeups);
}

StoredPtr Fill::Finish(std::string trailers, const std::vector<TagId>* tags, uint8_t fetch_time) {
  if (!trailers.empty()) {
    const std::lock_guard lock(mutex_);
    trailers_ = std::move(trailers);
  }
  if (!head_ || (length_ && *length_ != committed_)) {
    Fail({ErrorSource::kUpstream, "the body does not have the announced length"});
    return nullptr;
  }
  if (pass_) {
    Conclude(FillState::kComplete);
    return nullptr;
  }
  // The copy that a small body becomes is reserved before it is made; a large one takes over what
  // was reserved while it grew.
  const uint64_t size = committed_;
  size_t reserved = 0;
  const bool copies = WouldCopy();
  const size_t estimate = Store::Impl::EntryCharge(head_->charge() + size + 64);
  if (copies && store_->Admits(estimate) && store_->Reserve(estimate, shard())) {
    reserved = estimate;
  }
  StoredPtr complete = StoredResponse::WithBody(*head_, MakeBody(copies), tags, fetch_time);
  // Purged while it grew: those who read it asked for it before, nobody else may have it.
  const StoredPtr kept = store_->purges.Check(complete);
  const size_t charge = Store::Impl::EntryCharge(complete->charge());
  if (!copies) {
    const std::lock_guard lock(mutex_);
    reserved = std::exchange(charged_, 0);
    store_->fill_bytes.fetch_sub(reserved, std::memory_order_relaxed);
  }
  bool purged = kept == nullptr;
  if (purged) {
    store_->Unlist(*this);
    store_->Unreserve(reserved);
  } else if (!store_->Insert(key_, kept, charge, reserved, vary_limit_, this)) {
    purged = IsDoomed();
  }
  Wakeups wakeups;
  {
    const std::lock_guard lock(mutex_);
    complete_ = complete;
    ConcludeLocked(FillState::kComplete, wakeups);
  }
  Run(wakeups);
  return purged ? nullptr : kept;
}

bool Fill::IsDoomed() const {
  const std::lock_guard lock(shard().mutex);
  return doomed;
}

bool Fill::CompleteWith(StoredPtr response, bool insert, Reason why) {
  {
    const std::lock_guard lock(mutex_);
    const Fate fate = store_->purges.Judge(SubjectOf(*response), response->purge_sequence()).fate;
    if (fate == Fate::kGone || (insert && fate != Fate::kValid)) return false;
    // From here on who joins is judged by it.
    if (!head_) head_ = response;
  }
  // What the shared tier has may be too large for this memory.
  const bool too_large = insert && response->body().size() > MaxBody();
  if (insert && !too_large) {
    const size_t charge = Store::Impl::EntryCharge(response->charge());
    store_->Insert(key_, response, charge, 0, vary_limit_, this);
  } else {
    store_->Unlist(*this);
    if (too_large) store_->rejected_too_large.fetch_add(1, std::memory_order_relaxed);
  }
  Wakeups wakeups;
  {
    const std::lock_guard lock(mutex_);
    reason_ = why;
    complete_ = std::move(response);
    ConcludeLocked(FillState::kComplete, wakeups);
  }
  Run(wakeups);
  return true;
}

void Fill::Release(Reason reason) {
  {
    const std::lock_guard lock(mutex_);
    reason_ = reason;
  }
  Conclude(FillState::kReleased);
}

void Fill::Fail(Error error) {
  Wakeups wakeups;
  {
    Shard& home = shard();
    const std::lock_guard shard_lock(home.mutex);
    const std::lock_guard lock(mutex_);
    error_ = std::move(error);
    if (!head_ && promotions_ < kMaxPromotions && PromoteLocked(wakeups)) {
      ++promotions_;
    } else {
      store_->UnlistLocked(home, *this);
      ConcludeLocked(FillState::kFailed, wakeups);
    }
  }
  Run(wakeups);
}

void Fill::FailKeeping(const StoredPtr& part, Error error) {
  const StoredPtr kept = part ? store_->purges.Check(part) : nullptr;
  if (kept) {
    const size_t charge = Store::Impl::EntryCharge(kept->charge());
    store_->Insert(key_, kept, charge, 0, vary_limit_, this);
  }
  Fail(std::move(error));
}

// The first reader that waits becomes the heir; readers of the failed leader itself get the error.
// The others sleep on.
bool Fill::PromoteLocked(Wakeups& wakeups) {
  Slot* heir = nullptr;
  for (const auto& slot : readers_) {
    if (!slot->own && heir == nullptr) {
      heir = slot.get();
      heir->promoted = true;
    } else if (slot->own) {
      slot->dropped = true;
    } else {
      continue;
    }
    if (slot->armed && slot->wake) wakeups.push_back(slot);
    slot->armed = false;
  }
  if (heir == nullptr) return false;
  ++version_;
  return true;
}

bool Fill::TakePermit(Slot& slot) {
  const std::lock_guard lock(mutex_);
  if (!slot.promoted) return false;
  slot.promoted = false;
  slot.own = true;
  return true;
}

// ---- Readers

FillView Fill::View(Slot& slot) const {
  const std::lock_guard lock(mutex_);
  slot.seen = version_;
  FillView view;
  view.state = state_;
  if (slot.promoted) view.state = FillState::kPromoted;
  if (slot.dropped) view.state = FillState::kFailed;
  view.head = head_;
  view.complete = complete_;
  view.available = committed_;
  view.length = length_;
  view.asked = asked_ ? sequence_ : 0;
  view.fetched = asked_;
  view.reason = reason_;
  if (view.state == FillState::kFailed) view.error = error_;
  if (view.state == FillState::kComplete) view.trailers = trailers_;
  return view;
}

bool Fill::Arm(Slot& slot) const {
  const std::lock_guard lock(mutex_);
  if (slot.seen != version_) return false;
  slot.armed = true;
  return true;
}

void Fill::Leave(const std::shared_ptr<Slot>& slot) {
  Wake resume;
  bool was_heir = false;
  {
    const std::lock_guard lock(mutex_);
    std::erase(readers_, slot);
    slot->armed = false;
    was_heir = slot->promoted;
    if (pass_) {
      TrimLocked();
      resume = TakeResumeLocked();
    }
    const bool concluded = state_ != FillState::kWaiting && state_ != FillState::kStreaming;
    if (concluded && readers_.empty()) DropSegmentsLocked();
  }
  if (resume) resume();
  if (!was_heir) return;
  Wakeups wakeups;
  {
    Shard& home = shard();
    const std::lock_guard shard_lock(home.mutex);
    const std::lock_guard lock(mutex_);
    if (!PromoteLocked(wakeups)) {
      store_->UnlistLocked(home, *this);
      ConcludeLocked(FillState::kFailed, wakeups);
    }
  }
  Run(wakeups);
}

}  // namespace satchel::cache
