# What Cython needs beside delivery.py: C types, and the `push` that stands in for the one there.
from cpython.bytes cimport PyBytes_AS_STRING
from cpython.ref cimport PyObject
from libc.errno cimport EAGAIN, EINTR, errno

cdef extern from "Python.h":
    bint PyCFunction_Check(object)
    PyObject *PyCFunction_GET_SELF(object)

cdef extern from "<sys/socket.h>" nogil:
    int MSG_NOSIGNAL
    ssize_t send(int, const void *, size_t, int)

cdef inline Py_ssize_t push(object door, bytes chunk) except -3:
    # The only door written in C is a socket's own `send`, bound. Its descriptor is asked for each time: a closed
    # socket answers -1, so that nothing reaches somebody to whom the kernel has given the number since.
    cdef int descriptor
    cdef ssize_t written
    if not PyCFunction_Check(door):
        try:
            return door(chunk)
        except BlockingIOError:
            return 0
        except OSError:
            return -2
    descriptor = (<object>PyCFunction_GET_SELF(door)).fileno()
    while True:
        written = send(descriptor, PyBytes_AS_STRING(chunk), len(chunk), MSG_NOSIGNAL)
        if written >= 0:
            return written
        if errno == EAGAIN:
            return 0
        if errno != EINTR:
            return -2

cpdef list write_each(list doors, bytes chunk)
