// The test program's own little frame: named tests and named evaluators that register themselves.
#pragma once

#include <cstdio>
#include <stdexcept>
#include <string>
#include <vector>

namespace check {

struct Entry {
  const char* name;
  void (*run)();
};

inline std::vector<Entry>& tests() {
  static std::vector<Entry> list;
  return list;
}

inline std::vector<Entry>& evaluators() {
  static std::vector<Entry> list;
  return list;
}

struct Register {
  Register(std::vector<Entry>& list, const char* name, void (*run)()) { list.push_back({name, run}); }
};

struct failure : std::runtime_error {
  using std::runtime_error::runtime_error;
};

// The next number of standard input; false at its end.
inline bool read(double& x) {
  return std::scanf("%lf", &x) == 1;
}

}  // namespace check

// TEST(name) { ... }: run by `test_core` and by `test_core name`.
#define TEST(name)                                                                       \
  static void test_##name();                                                             \
  static const check::Register register_test_##name(check::tests(), #name, test_##name); \
  static void test_##name()

// EVAL(name) { ... }: run by `test_core eval name`; reads numbers from standard input and prints results with %.17g.
#define EVAL(name)                                                                            \
  static void eval_##name();                                                                  \
  static const check::Register register_eval_##name(check::evaluators(), #name, eval_##name); \
  static void eval_##name()

#define CHECK(condition)                                                                                \
  do {                                                                                                  \
    if (!(condition))                                                                                   \
      throw check::failure(std::string(__FILE__) + ":" + std::to_string(__LINE__) + ": " + #condition); \
  } while (0)

// |a - b| <= tolerance, with both values in the message; false for NaN.
#define CHECK_NEAR(a, b, tolerance)                                                                 \
  do {                                                                                              \
    const double check_a = (a), check_b = (b);                                                      \
    if (!(std::fabs(check_a - check_b) <= (tolerance)))                                             \
      throw check::failure(std::string(__FILE__) + ":" + std::to_string(__LINE__) + ": " #a " = " + \
                           std::to_string(check_a) + ", but " #b " = " + std::to_string(check_b));  \
  } while (0)

#define CHECK_THROWS(statement, type)                                               \
  do {                                                                              \
    bool check_thrown = false;                                                      \
    try {                                                                           \
      statement;                                                                    \
    } catch (const type&) {                                                         \
      check_thrown = true;                                                          \
    }                                                                               \
    if (!check_thrown)                                                              \
      throw check::failure(std::string(__FILE__) + ":" + std::to_string(__LINE__) + \
                           ": no " #type " from " #statement);                      \
  } while (0)
