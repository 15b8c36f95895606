#include "proxy/cli.h"

int main(int argc, char** argv) { return satchel::proxy::RunCommandLine(argc, argv); }
