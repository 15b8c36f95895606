#pragma once

#include <cstddef>
#include <cstdint>
#include <mutex>
#include <string>
#include <unordered_map>
#include <vector>

namespace satchel::proxy {

// Which of the requests of one worker are counted: all while there are few, one in N where there are
// many, so that about kPerSecond samples are taken. A request costs one decrement. Owner thread.
class PopularitySampler {
 public:
  static constexpr uint64_t kPerSecond = 200;
  static constexpr uint64_t kMaxStep = 4096;

  // Turned off, no request is due.
  void Enable(bool on);
  bool enabled() const { return enabled_; }

  // True: Take() it now.
  bool Due() { return --left_ == 0; }
  // For how many requests the one that is due stands.
  uint64_t Take(int64_t now_ms);

 private:
  bool enabled_ = false;
  uint64_t left_ = 0;  // 2^64 decrements away from being due
  uint64_t step_ = 1;
  uint64_t taken_ = 0;  // since second_ms_
  int64_t second_ms_ = 0;
};

// How often answers were asked for since they were last told, of all workers. When it is full the
// half that was asked for least is forgotten. Any thread.
class Popularity {
 public:
  static constexpr size_t kMaxNames = 4096;

  struct Count {
    std::string name;
    uint64_t count = 0;
  };

  void Add(const std::string& name, uint64_t count);
  // Takes out the `most` names with the highest counts, the highest first.
  std::vector<Count> Take(size_t most);

  size_t size() const;
  uint64_t forgotten() const;  // names, so far

 private:
  mutable std::mutex mutex_;
  std::unordered_map<std::string, uint64_t> counts_;
  uint64_t forgotten_ = 0;
};

}  // namespace satchel::proxy
