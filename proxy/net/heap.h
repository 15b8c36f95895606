#pragma once

#include <cstddef>

// malloc's heap, for a process whose memory is mostly a cache.
namespace satchel::net {

// One heap for all threads, which grows by many pages at a time: the heaps that malloc makes for
// threads grow page by page, with a system call for each. Before any thread is started.
void SetUpHeap();

// Asks for huge pages where the heap has grown since the last call: a page fault for 1500 small
// responses instead of one for three, and fewer misses when they are looked up. Where the system
// has none nothing happens. Costs next to nothing when it has not grown. Any thread.
void AdviseHeap();

// Takes so many bytes of memory now and keeps them for what will be allocated: no page faults
// later, and no surprise. False: there is not so much, and none of it is kept. Before any thread is
// started.
bool ReserveHeap(size_t bytes);

}  // namespace satchel::net
