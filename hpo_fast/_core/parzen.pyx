"""The two Parzen densities on the processor: the handle of backends/parzen.py around csrc/hpo/parzen.hpp.

Checks shapes and types, allocates what is returned and releases the GIL; one verb, one crossing.
"""

from libc.stdint cimport int32_t, int64_t, uint64_t
from libcpp cimport bool as cbool
from libcpp.memory cimport unique_ptr

import os
import threading

import numpy as np

cdef extern from "hpo/span.hpp" namespace "hpo" nogil:
    cdef cppclass Vec[T]:
        T* data
        int64_t n
    cdef cppclass Mat[T]:
        T* data
        int64_t rows
        int64_t cols

cdef extern from "hpo/layout.hpp" namespace "hpo" nogil:
    cdef cppclass LayoutArrays:
        int64_t d
        int64_t b
        Vec[const int64_t] start
        Vec[const int32_t] kind
        Vec[const int64_t] size
        Vec[const double] low
        Vec[const double] log_low
        Vec[const double] log_high
        Vec[const int64_t] order
        Vec[const int64_t] cond_child
        Vec[const int64_t] cond_parent
        Vec[const int64_t] cond_start
        Vec[const double] cond_lo
        Vec[const double] cond_hi

cdef extern from "hpo/rng.hpp" namespace "hpo" nogil:
    cdef cppclass Key:
        uint64_t seed
        uint64_t number

cdef extern from "hpo/parzen.hpp" namespace "hpo" nogil:
    cdef cppclass ParzenConfig:
        cbool multivariate
        int64_t candidates
        double gamma
        int64_t most_good
        double prior_weight
        int64_t window
    cdef cppclass Densities "hpo::Parzen":
        Densities(const LayoutArrays&, const ParzenConfig&) except +
        int64_t n()
        int64_t d()
        void append(Mat[const double], Vec[const double]) except +
        void log_density(Mat[const double], Mat[const double], double*, double*) except +
        void sample(Key, Mat[double]) except +
        void propose(Mat[const double], Key, Mat[double], double*) except +


cdef Vec[const double] _vec(const double[::1] x) noexcept nogil:
    cdef Vec[const double] view
    view.n = x.shape[0]
    view.data = &x[0] if x.shape[0] else NULL
    return view


cdef Vec[const int64_t] _vec64(const int64_t[::1] x) noexcept nogil:
    cdef Vec[const int64_t] view
    view.n = x.shape[0]
    view.data = &x[0] if x.shape[0] else NULL
    return view


cdef Mat[const double] _mat(const double[:, ::1] X) noexcept nogil:
    cdef Mat[const double] view
    view.rows, view.cols = X.shape[0], X.shape[1]
    view.data = &X[0, 0] if X.shape[0] and X.shape[1] else NULL
    return view


cdef Mat[double] _out(double[:, ::1] X) noexcept nogil:
    cdef Mat[double] view
    view.rows, view.cols = X.shape[0], X.shape[1]
    view.data = &X[0, 0] if X.shape[0] and X.shape[1] else NULL
    return view


cdef Key _key(value):
    cdef Key key
    key.seed, key.number = value
    return key


def _matrix(name, value, cols):
    """`value` as a C-contiguous float64 matrix of `cols` columns."""
    array = np.asarray(value)
    if array.dtype.kind not in "fiu":
        raise ValueError(f"{name} must hold numbers, but its dtype is {array.dtype}; convert it to float64")
    if array.ndim != 2 or array.shape[1] != cols:
        raise ValueError(f"{name} must have shape (m, {cols}), but got {array.shape}; one row a point")
    return np.ascontiguousarray(array, dtype=np.float64)


cdef class Parzen:
    """The compiled densities. See `hpo_fast.backends.parzen` for the meaning of every verb and argument."""

    cdef unique_ptr[Densities] core
    cdef int64_t candidates
    cdef object lock  # one verb at a time: the GIL is not held inside
    cdef object pid

    def __cinit__(self, layout, *, multivariate, candidates, gamma, most_good, prior_weight, window):
        cdef ParzenConfig config
        config.multivariate, config.candidates, config.gamma = multivariate, candidates, gamma
        config.most_good, config.prior_weight, config.window = most_good, prior_weight, window
        self.candidates = candidates
        cdef LayoutArrays arrays
        cdef const int32_t[::1] kind = layout.kind
        arrays.d, arrays.b = layout.d, layout.b
        arrays.start, arrays.size, arrays.order = _vec64(layout.start), _vec64(layout.size), _vec64(layout.order)
        arrays.kind.n = kind.shape[0]
        arrays.kind.data = &kind[0] if kind.shape[0] else NULL
        arrays.low, arrays.log_low, arrays.log_high = _vec(layout.low), _vec(layout.log_low), _vec(layout.log_high)
        arrays.cond_child, arrays.cond_parent = _vec64(layout.cond_child), _vec64(layout.cond_parent)
        arrays.cond_start = _vec64(layout.cond_start)
        arrays.cond_lo, arrays.cond_hi = _vec(layout.cond_lo), _vec(layout.cond_hi)
        self.core.reset(new Densities(arrays, config))
        self.lock, self.pid = threading.Lock(), os.getpid()

    cdef object alone(self):
        """The lock of the verbs; in a forked child one that the parent's other threads do not hold for ever."""
        if os.getpid() != self.pid:
            if not self.lock.acquire(False):
                raise RuntimeError(
                    "a handle must be idle when its process is forked, but a verb was running in another thread; "
                    "make a new handle in the child"
                )
            self.lock.release()
            self.pid = os.getpid()
        return self.lock

    @property
    def n(self):
        with self.alone():
            return self.core.get().n()

    @property
    def d(self):
        return self.core.get().d()

    def append(self, U, y):
        cdef const double[:, ::1] points = _matrix("U", U, self.d)
        array = np.ascontiguousarray(y, dtype=np.float64)
        if array.shape != (points.shape[0],):
            raise ValueError(f"y must have shape ({points.shape[0]},), but got {array.shape}; one value a row of U")
        cdef const double[::1] values = array
        with self.alone(), nogil:
            self.core.get().append(_mat(points), _vec(values))

    def log_density(self, U, pending=None):
        cdef const double[:, ::1] points = _matrix("U", U, self.d)
        cdef const double[:, ::1] waiting = _matrix("pending", np.empty((0, self.d)) if pending is None else pending,
                                                    self.d)
        good, bad = np.empty(points.shape[0]), np.empty(points.shape[0])
        cdef double[::1] good_view = good, bad_view = bad
        if points.shape[0]:
            with self.alone(), nogil:
                self.core.get().log_density(_mat(points), _mat(waiting), &good_view[0], &bad_view[0])
        return good, bad

    def sample(self, m, key):
        if m < 0:
            raise ValueError(f"m must be >= 0, but got {m!r}; ask for at least none")
        U = np.empty((m, self.d))
        cdef double[:, ::1] view = U
        cdef Key draw = _key(key)
        if m:
            with self.alone(), nogil:
                self.core.get().sample(draw, _out(view))
        return U

    def propose(self, pending, key):
        cdef const double[:, ::1] waiting = _matrix("pending", np.empty((0, self.d)) if pending is None else pending,
                                                    self.d)
        U, values = np.empty((self.candidates, self.d)), np.empty(self.candidates)
        cdef double[:, ::1] points = U
        cdef double[::1] view = values
        cdef Key draw = _key(key)
        with self.alone(), nogil:
            self.core.get().propose(_mat(waiting), draw, _out(points), &view[0])
        return U, values
