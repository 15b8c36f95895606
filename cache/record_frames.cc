#include "cache/record_frames.h"

#include <zstd.h>

#include <memory>

namespace satchel::cache {
namespace {

constexpr int kLevel = 1;

struct FreeCompressor {
  void operator()(ZSTD_CCtx* context) const { ZSTD_freeCCtx(context); }
};
struct FreeDecompressor {
  void operator()(ZSTD_DCtx* context) const { ZSTD_freeDCtx(context); }
};

}  // namespace

std::optional<std::string> CompressFrame(std::string_view content, size_t most) {
  thread_local const std::unique_ptr<ZSTD_CCtx, FreeCompressor> context(ZSTD_createCCtx());
  if (!context) return std::nullopt;
  // A target this small makes the compressor give up by itself where it would not pay.
  std::string frame;
  size_t size = 0;
  frame.resize_and_overwrite(most, [&](char* out, size_t room) {
    size = ZSTD_compressCCtx(context.get(), out, room, content.data(), content.size(), kLevel);
    return ZSTD_isError(size) != 0 ? 0 : size;
  });
  if (ZSTD_isError(size) != 0) return std::nullopt;
  return frame;
}

std::optional<Frame> FirstFrame(std::string_view frames) {
  const unsigned long long content = ZSTD_getFrameContentSize(frames.data(), frames.size());
  // Unknown and damaged ones are told by very large numbers.
  if (content == 0 || content > kFrameContent) return std::nullopt;
  const size_t size = ZSTD_findFrameCompressedSize(frames.data(), frames.size());
  if (ZSTD_isError(size) != 0) return std::nullopt;
  return Frame{frames.substr(0, size), static_cast<size_t>(content)};
}

bool DecompressFrame(const Frame& frame, char* out) {
  thread_local const std::unique_ptr<ZSTD_DCtx, FreeDecompressor> context(ZSTD_createDCtx());
  if (!context) return false;
  const size_t got = ZSTD_decompressDCtx(context.get(), out, frame.content, frame.bytes.data(),
                                         frame.bytes.size());
  return ZSTD_isError(got) == 0 && got == frame.content;
}

}  // namespace satchel::cache
