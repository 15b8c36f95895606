#include <random>

#include "cache/cache_key.h"
#include "proxy/cli.h"
#include "proxy/net/heap.h"

int main(int argc, char** argv) {
  satchel::net::SetUpHeap();
  // Hash tables keyed by what strangers send must not be foreseeable.
  std::random_device device;
  satchel::cache::SetHashSeed((uint64_t{device()} << 32) | device());
  return satchel::proxy::RunCommandLine(argc, argv);
}
