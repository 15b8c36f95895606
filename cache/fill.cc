#include "cache/fill.h"

#include <utility>

#include "cache/fill_core.h"

namespace satchel::cache {

FillReader::FillReader(FillReader&& other) noexcept
    : fill_(std::move(other.fill_)),
      slot_(std::move(other.slot_)),
      position_(std::exchange(other.position_, 0)) {}

FillReader& FillReader::operator=(FillReader&& other) noexcept {
  if (this != &other) {
    FillReader old(std::move(*this));
    fill_ = std::move(other.fill_);
    slot_ = std::move(other.slot_);
    position_ = std::exchange(other.position_, 0);
  }
  return *this;
}

FillReader::~FillReader() {
  if (fill_) fill_->Leave(slot_);
}

FillView FillReader::View() const { return fill_ ? fill_->View(*slot_) : FillView(); }

bool FillReader::Arm() { return fill_ && fill_->Arm(*slot_); }

size_t FillReader::Gather(std::span<iovec> out) const {
  return fill_ ? fill_->Gather(position_, out) : 0;
}

void FillReader::Consume(uint64_t bytes) {
  if (!fill_) return;
  position_ += bytes;
  fill_->Consume(*slot_, position_);
}

std::optional<FillPermit> FillReader::TakePermit() {
  if (!fill_ || !fill_->TakePermit(*slot_)) return std::nullopt;
  FillPermit permit;
  permit.fill_ = fill_;
  return permit;
}

FillPermit::FillPermit(FillPermit&& other) noexcept : fill_(std::move(other.fill_)) {}

FillPermit& FillPermit::operator=(FillPermit&& other) noexcept {
  if (this != &other) {
    FillPermit old(std::move(*this));
    fill_ = std::move(other.fill_);
  }
  return *this;
}

FillPermit::~FillPermit() {
  if (fill_) Fail({ErrorSource::kInternal, "the fetch was given up"});
}

uint64_t FillPermit::MarkAsked() { return fill_ ? fill_->MarkAsked() : 0; }

void FillPermit::MarkAskedAt(uint64_t sequence) {
  if (fill_) fill_->MarkAskedAt(sequence);
}

bool FillPermit::Publish(StoredPtr head, std::optional<uint64_t> length) {
  return fill_ && fill_->Publish(std::move(head), length);
}

FillReader FillPermit::NewReader(Wake wake) {
  FillReader reader;
  if (!fill_) return reader;
  reader.slot_ = fill_->AddOwnReader(std::move(wake), reader.position_);
  reader.fill_ = fill_;
  return reader;
}

void FillPermit::Append(std::string_view bytes) {
  if (fill_) fill_->Append(bytes);
}

uint64_t FillPermit::Backlog() const { return fill_ ? fill_->Backlog() : 0; }

void FillPermit::NotifyBelow(uint64_t low, Wake resume) {
  if (fill_) fill_->NotifyBelow(low, std::move(resume));
}

bool FillPermit::has_readers() const { return fill_ && fill_->has_readers(); }

bool FillPermit::is_part() const { return fill_ && fill_->is_part(); }

bool FillPermit::is_pass() const { return fill_ && fill_->is_pass(); }

Body FillPermit::Committed() const { return fill_ ? fill_->Committed() : Body(); }

StoredPtr FillPermit::Finish(std::string trailers, const std::vector<TagId>* tags,
                             uint8_t fetch_time) {
  const std::shared_ptr<Fill> fill = std::exchange(fill_, nullptr);
  return fill ? fill->Finish(std::move(trailers), tags, fetch_time) : nullptr;
}

std::string FillPermit::CopyBody(size_t limit) const {
  return fill_ ? fill_->CopyBody(limit) : std::string();
}

bool FillPermit::CompleteWith(StoredPtr response, bool insert, Reason why) {
  std::shared_ptr<Fill> fill = std::exchange(fill_, nullptr);
  if (!fill) return false;
  if (!response) {
    fill->Fail({ErrorSource::kInternal, "completed without a response"});
    return true;
  }
  if (fill->CompleteWith(std::move(response), insert, why)) return true;
  fill_ = std::move(fill);
  return false;
}

void FillPermit::Release(Reason reason) {
  const std::shared_ptr<Fill> fill = std::exchange(fill_, nullptr);
  if (fill) fill->Release(reason);
}

void FillPermit::Fail(Error error) {
  const std::shared_ptr<Fill> fill = std::exchange(fill_, nullptr);
  if (fill) fill->Fail(std::move(error));
}

void FillPermit::FailKeeping(const StoredPtr& part, Error error) {
  const std::shared_ptr<Fill> fill = std::exchange(fill_, nullptr);
  if (fill) fill->FailKeeping(part, std::move(error));
}

}  // namespace satchel::cache
