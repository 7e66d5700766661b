// Tests of csrc without Python, built under sanitizers by test_cpp.py:
//   test_core                 every test        test_core NAME ...        these
//   test_core list            their names       test_core eval NAME       values of standard input through one function
// Each room has its own file of TEST and EVAL beside this one.
#include <cstring>
#include <exception>

#include "check.hpp"

namespace {

int evaluate(const char* name) {
  for (const check::Entry& e : check::evaluators()) {
    if (std::strcmp(e.name, name) == 0) {
      e.run();
      return 0;
    }
  }
  std::fprintf(stderr, "no evaluator named %s\n", name);
  return 2;
}

bool passes(const check::Entry& e) {
  try {
    e.run();
    std::printf("ok    %s\n", e.name);
    return true;
  } catch (const std::exception& error) {
    std::printf("FAIL  %s: %s\n", e.name, error.what());
    return false;
  }
}

}  // namespace

int main(int argc, char** argv) {
  if (argc == 3 && std::strcmp(argv[1], "eval") == 0) return evaluate(argv[2]);
  if (argc == 2 && std::strcmp(argv[1], "list") == 0) {
    for (const check::Entry& e : check::tests()) std::printf("%s\n", e.name);
    return 0;
  }
  int failed = 0, run = 0;
  for (const check::Entry& e : check::tests()) {
    bool wanted = argc == 1;
    for (int i = 1; i < argc; ++i) wanted = wanted || std::strcmp(argv[i], e.name) == 0;
    if (!wanted) continue;
    ++run;
    failed += passes(e) ? 0 : 1;
  }
  if (run == 0 || (argc > 1 && run != argc - 1)) {
    std::fprintf(stderr, "a test of that name does not exist\n");
    return 2;
  }
  return failed == 0 ? 0 : 1;
}
