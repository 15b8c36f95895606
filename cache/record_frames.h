#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

// The compressed form of a body: zstd frames, one for each 64 KiB of it, so that it can be made and
// undone a piece at a time without anything to be kept in between.
namespace satchel::cache {

inline constexpr size_t kFrameContent = size_t{64} << 10;  // bytes; the last frame has less

// Level 1, about 0.25 ms of CPU for a whole frame. Nothing if it would take more than `most` bytes.
std::optional<std::string> CompressFrame(std::string_view content, size_t most);

// The first frame of `frames`, and what it holds: at most kFrameContent bytes. Nothing if it is cut
// short, does not tell, or holds none or more.
struct Frame {
  std::string_view bytes;
  size_t content;
};
std::optional<Frame> FirstFrame(std::string_view frames);
// Writes frame.content bytes to `out`. False: damaged.
bool DecompressFrame(const Frame& frame, char* out);

}  // namespace satchel::cache
