#include "cache/eviction.h"

#include <algorithm>
#include <cmath>
#include <limits>

namespace satchel::cache {
namespace {

constexpr double kNoHead = std::numeric_limits<double>::infinity();

// 1 / size^a for a size in charge units; the usual exponents without pow().
float Weight(uint32_t units, double exponent) {
  const double size = static_cast<double>(units) * Entry::kChargeUnit;
  if (exponent == 1.0) return static_cast<float>(1 / size);
  if (exponent == 0.75) {
    const double root = std::sqrt(size);
    return static_cast<float>(1 / (root * std::sqrt(root)));
  }
  return static_cast<float>(std::pow(size, -exponent));
}

}  // namespace

uint32_t EntrySlab::Allocate() {
  if (free_ != Entry::kNone) {
    const uint32_t id = free_;
    free_ = link(id).next;
    link(id).next = Entry::kNone;
    return id;
  }
  if (end_ == Entry::kNone - 1) return Entry::kNone;
  if (end_ % kBlock == 0) blocks_.push_back(std::make_unique<Block>());
  return end_++;
}

void EntrySlab::Free(uint32_t id) {
  (*this)[id] = Entry();
  link(id) = {.next = free_};
  free_ = id;
}

void Inflation::Raise(double to) {
  double now = value();
  while (to > now && !value_.compare_exchange_weak(now, to, std::memory_order_relaxed)) {
  }
}

size_t FrequencySketch::Position(uint32_t hash, size_t row) const {
  // The low bits must not depend on the width: growing copies each row behind itself.
  const uint64_t mixed = (hash + 1) * 0x9E3779B97F4A7C15u;
  const uint64_t other = (mixed >> 32) | 1;
  return row * width_ + ((mixed >> 7) + row * other) % width_;
}

uint32_t FrequencySketch::Get(size_t position) const {
  return (rows_[position / 2] >> (position % 2 * 4)) & 0xF;
}

void FrequencySketch::Set(size_t position, uint32_t value) {
  const uint32_t shift = static_cast<uint32_t>(position % 2 * 4);
  uint8_t& pair = rows_[position / 2];
  pair = static_cast<uint8_t>((pair & ~(0xFu << shift)) | (value << shift));
}

void FrequencySketch::Raise(uint32_t hash, uint32_t frequency) {
  if (width_ == 0) return;
  const uint32_t value = std::min(frequency, kMax);
  for (size_t row = 0; row < kRows; ++row) {
    const size_t position = Position(hash, row);
    if (Get(position) < value) Set(position, value);
  }
  if (++raised_ >= width_ * 4) Age();
}

uint32_t FrequencySketch::Estimate(uint32_t hash) const {
  if (width_ == 0) return 0;
  uint32_t least = kMax;
  for (size_t row = 0; row < kRows; ++row) least = std::min(least, Get(Position(hash, row)));
  return least;
}

void FrequencySketch::Age() {
  raised_ = 0;
  for (uint8_t& pair : rows_) pair = (pair >> 1) & 0x77;
}

void FrequencySketch::EnsureRoomFor(size_t objects) {
  const size_t wanted = std::max(kMinWidth, objects * 4);
  while (width_ < wanted) {
    if (width_ == 0) {
      width_ = kMinWidth;
      rows_.assign(kRows * width_ / 2, 0);
      continue;
    }
    const size_t row_bytes = width_ / 2;
    std::vector<uint8_t> grown(rows_.size() * 2);
    for (size_t row = 0; row < kRows; ++row) {
      const auto from = rows_.begin() + static_cast<ptrdiff_t>(row * row_bytes);
      const auto to = grown.begin() + static_cast<ptrdiff_t>(row * row_bytes * 2);
      std::copy_n(from, row_bytes, to);
      std::copy_n(from, row_bytes, to + static_cast<ptrdiff_t>(row_bytes));
    }
    rows_ = std::move(grown);
    width_ *= 2;
  }
}

EvictionQueue::EvictionQueue(EntrySlab& slab, const Inflation& inflation, double size_exponent)
    : slab_(slab),
      inflation_(inflation),
      exponent_(size_exponent),
      // Some hundred lives of the smallest objects: far below where a float loses the weight of
      // an object of many megabytes.
      rebase_after_(256.0 * Weight(32, size_exponent)),
      published_(kNoHead) {}

float EvictionQueue::Priority(const Entry& entry) const {
  return entry.stamp + static_cast<float>(entry.frequency) * Weight(entry.charge, exponent_);
}

void EvictionQueue::Place(size_t at, Slot slot) {
  heap_[at] = slot;
  slab_[slot.id].heap_at = static_cast<uint32_t>(at);
}

void EvictionQueue::SiftUp(size_t at, Slot slot) {
  while (at > 0) {
    const size_t parent = (at - 1) / 2;
    if (heap_[parent].priority <= slot.priority) break;
    Place(at, heap_[parent]);
    at = parent;
  }
  Place(at, slot);
}

void EvictionQueue::SiftDown(size_t at, Slot slot) {
  const size_t size = heap_.size();
  for (size_t child = 2 * at + 1; child < size; child = 2 * at + 1) {
    if (child + 1 < size && heap_[child + 1].priority < heap_[child].priority) ++child;
    if (heap_[child].priority >= slot.priority) break;
    Place(at, heap_[child]);
    at = child;
  }
  Place(at, slot);
}

void EvictionQueue::Add(uint32_t id, uint32_t uses) {
  if (inflation_.value() - base_ > rebase_after_) Rebase();
  Entry& entry = slab_[id];
  evicted_.EnsureRoomFor(heap_.size() + 1);
  uses = std::max(uses, evicted_.Estimate(slab_.link(id).hash));
  entry.frequency = std::min<uint32_t>(uses + 1, Entry::kMaxFrequency);
  entry.stamp = Stamp();
  heap_.push_back({});
  SiftUp(heap_.size() - 1, {Priority(entry), id});
  Publish();
}

void EvictionQueue::Detach(uint32_t id) {
  const size_t at = slab_[id].heap_at;
  slab_[id].heap_at = Entry::kNone;
  const Slot last = heap_.back();
  heap_.pop_back();
  if (at < heap_.size()) {
    if (at > 0 && heap_[(at - 1) / 2].priority > last.priority) {
      SiftUp(at, last);
    } else {
      SiftDown(at, last);
    }
  }
  Publish();
}

void EvictionQueue::Remove(uint32_t id) { Detach(id); }

double EvictionQueue::RefreshHead() {
  while (!heap_.empty()) {
    const Slot head = heap_[0];
    const float priority = Priority(slab_[head.id]);
    if (priority <= head.priority) break;
    SiftDown(0, {priority, head.id});
  }
  Publish();
  return published_head();
}

uint32_t EvictionQueue::PopHead() {
  const uint32_t id = heap_[0].id;
  evicted_.Raise(slab_.link(id).hash, slab_[id].frequency);
  Detach(id);
  return id;
}

void EvictionQueue::Rebase() {
  const double base = inflation_.value();
  const float delta = static_cast<float>(base - base_);
  // Subtracting one number from all keeps their order, so the heap stays a heap.
  for (Slot& slot : heap_) {
    slot.priority -= delta;
    slab_[slot.id].stamp -= delta;
  }
  base_ += static_cast<double>(delta);
}

void EvictionQueue::Publish() {
  published_.store(heap_.empty() ? kNoHead : base_ + static_cast<double>(heap_[0].priority),
                   std::memory_order_relaxed);
}

}  // namespace satchel::cache
