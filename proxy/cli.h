#pragma once

namespace satchel::proxy {

// The whole program behind main(). Exit codes: what the command says; 2 for a command line that
// makes no sense.
int RunCommandLine(int argc, const char* const* argv);

}  // namespace satchel::proxy
