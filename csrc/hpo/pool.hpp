// A small thread pool: parallel_for over independent tasks.
//
// - Threads start with the first region that wants them, wait by spinning for about 20 us and then sleep.
// - Which thread runs a task is decided at run time; results do not depend on it as long as tasks write disjoint
// outputs.
// - One region runs at a time. A second caller from another thread, and a call from inside a task, runs its tasks
//   serially on its own thread: nobody ever waits for somebody else's region, so nothing can deadlock.
// - After fork() the child forgets the parent's threads and builds its own on first use. At exit the threads are
// joined.
#pragma once

#include <cstdint>
#include <memory>
#include <type_traits>

namespace hpo {

// HPO_FAST_NUM_THREADS if set (std::invalid_argument when it is no positive integer), else the CPUs that this process
// may run on, at most its cgroup's quota rounded up. Reads files, so ask once a handle, not once a region.
int default_threads();

namespace pool_detail {

// A borrowed callable (task, worker); it must outlive the region, which a blocking call guarantees.
struct TaskRef {
  void* object;
  void (*call)(void* object, std::int64_t task, int worker);
};

void run(int n_threads, std::int64_t n_tasks, TaskRef task);

}  // namespace pool_detail

// Calls f(task, worker) once for every task in [0, n_tasks), on at most n_threads threads, the caller among them, and
// returns when all are done. worker in [0, n_threads) is never used by two threads at once: an index of scratch memory.
// An exception of a task is rethrown here after the others have run (the lowest task's, when several throw).
// Cost on 2 cores: 0.3 us while the threads still spin; 3 us for the caller when they sleep, and they come tens of us
// later, so give a region 50 us of work.
template <class F>
void parallel_for(int n_threads, std::int64_t n_tasks, F&& f) {
  using Callable = std::remove_reference_t<F>;
  pool_detail::run(
      n_threads, n_tasks,
      {const_cast<void*>(static_cast<const void*>(std::addressof(f))),
       [](void* object, std::int64_t task, int worker) { (*static_cast<Callable*>(object))(task, worker); }});
}

}  // namespace hpo
