"""Arrays of other libraries, made with ctypes alone: Arrow's C interfaces and DLPack.

The producers keep count of what was released, so that tests can see that nothing leaks.
"""

from __future__ import annotations

import ctypes as c

import numpy as np

_new_capsule = c.pythonapi.PyCapsule_New
_new_capsule.restype = c.py_object
_new_capsule.argtypes = [c.c_void_p, c.c_char_p, c.c_void_p]
_capsule_pointer = c.pythonapi.PyCapsule_GetPointer
_capsule_pointer.restype = c.c_void_p
_capsule_pointer.argtypes = [c.c_void_p, c.c_char_p]


class ArrowSchema(c.Structure):
    pass


class ArrowArray(c.Structure):
    pass


_ReleaseSchema = c.CFUNCTYPE(None, c.POINTER(ArrowSchema))
_ReleaseArray = c.CFUNCTYPE(None, c.POINTER(ArrowArray))
_Destroy = c.CFUNCTYPE(None, c.c_void_p)

ArrowSchema._fields_ = [
    ("format", c.c_char_p),
    ("name", c.c_char_p),
    ("metadata", c.c_char_p),
    ("flags", c.c_int64),
    ("n_children", c.c_int64),
    ("children", c.POINTER(c.POINTER(ArrowSchema))),
    ("dictionary", c.POINTER(ArrowSchema)),
    ("release", c.c_void_p),
    ("private_data", c.c_void_p),
]
ArrowArray._fields_ = [
    ("length", c.c_int64),
    ("null_count", c.c_int64),
    ("offset", c.c_int64),
    ("n_buffers", c.c_int64),
    ("n_children", c.c_int64),
    ("buffers", c.POINTER(c.c_void_p)),
    ("children", c.POINTER(c.POINTER(ArrowArray))),
    ("dictionary", c.POINTER(ArrowArray)),
    ("release", c.c_void_p),
    ("private_data", c.c_void_p),
]

_FORMATS = {
    "float32": b"f",
    "float64": b"g",
    "float16": b"e",
    "int8": b"c",
    "uint8": b"C",
    "int16": b"s",
    "int32": b"i",
    "uint32": b"I",
    "int64": b"l",
    "uint64": b"L",
}


class ArrowRows:
    """A FixedSizeList of a 2-D numpy array's numbers, or of a 1-D one's a plain array; offsets and nulls on demand."""

    def __init__(self, array: np.ndarray, *, offset: int = 0, valid: list[bool] | None = None) -> None:
        self.array = np.ascontiguousarray(array)
        self.offset = offset
        self.valid = None if valid is None else np.packbits(valid, bitorder="little")
        self.dropped = 0
        self._alive: list[object] = []
        self._destroy = _Destroy(self._drop)

    def _drop(self, _capsule: int) -> None:
        self.dropped += 1

    def _keep(self, thing):
        self._alive.append(thing)
        return thing

    def _node(self, format_: bytes, length: int, buffers: list[int | None], child=None):
        schema = self._keep(ArrowSchema(format=format_, name=b"", n_children=0 if child is None else 1))
        pointers = self._keep((c.c_void_p * len(buffers))(*buffers))
        array = self._keep(
            ArrowArray(
                length=length,
                null_count=0 if self.valid is None else -1,
                offset=0,
                n_buffers=len(buffers),
                n_children=0 if child is None else 1,
                buffers=pointers,
            )
        )
        if child is not None:
            schema.children = self._keep((c.POINTER(ArrowSchema) * 1)(c.pointer(child[0])))
            array.children = self._keep((c.POINTER(ArrowArray) * 1)(c.pointer(child[1])))
        return schema, array

    def __arrow_c_array__(self, requested_schema: object = None) -> tuple[object, object]:
        self._alive.clear()  # of the call before, which is over
        numbers = self._node(_FORMATS[self.array.dtype.name], self.array.size, [None, self.array.ctypes.data])
        if self.array.ndim == 1:
            schema, array = numbers
        else:
            rows, width = self.array.shape
            nulls = None if self.valid is None else self.valid.ctypes.data
            schema, array = self._node(b"+w:%d" % width, rows - self.offset, [nulls], numbers)
            array.offset = self.offset
        return (
            _new_capsule(c.addressof(schema), b"arrow_schema", self._destroy),
            _new_capsule(c.addressof(array), b"arrow_array", self._destroy),
        )


class ArrowArrayStream(c.Structure):
    pass


_GetSchema = c.CFUNCTYPE(c.c_int, c.POINTER(ArrowArrayStream), c.POINTER(ArrowSchema))
_GetNext = c.CFUNCTYPE(c.c_int, c.POINTER(ArrowArrayStream), c.POINTER(ArrowArray))
_LastError = c.CFUNCTYPE(c.c_void_p, c.POINTER(ArrowArrayStream))

ArrowArrayStream._fields_ = [
    ("get_schema", _GetSchema),
    ("get_next", _GetNext),
    ("get_last_error", _LastError),
    ("release", c.c_void_p),
    ("private_data", c.c_void_p),
]


class ArrowChunks:
    """A stream of FixedSizeLists of f32, one a numpy array; fails before the one whose place is `fail_at`.

    `alive` counts schemas and arrays that were given out and not released.
    """

    def __init__(self, chunks: list[np.ndarray], *, fail_at: int | None = None) -> None:
        self.chunks = [np.ascontiguousarray(chunk, np.float32) for chunk in chunks]
        self.fail_at = fail_at
        self.alive = 0
        self.dropped = 0
        self._destroy = _Destroy(self._drop)
        self._release_schema = _ReleaseSchema(self._released)
        self._release_array = _ReleaseArray(self._released)

    def _drop(self, _capsule: int) -> None:
        self.dropped += 1

    def _released(self, pointer) -> None:
        self.alive -= 1
        pointer.contents.release = None

    def _schema(self, _stream, out) -> int:
        self._value = ArrowSchema(format=b"f", name=b"item")
        self._children = (c.POINTER(ArrowSchema) * 1)(c.pointer(self._value))
        width = self.chunks[0].shape[1]
        self._lists = ArrowSchema(format=b"+w:%d" % width, name=b"", n_children=1, children=self._children)
        self._lists.release = c.cast(self._release_schema, c.c_void_p)
        out[0] = self._lists  # copies the pointers, not what keeps their targets alive
        self.alive += 1
        return 0

    def _next(self, _stream, out) -> int:
        place, self._at = self._at, self._at + 1
        if place == self.fail_at:
            return 5
        if place == len(self.chunks):
            out[0].release = None
            return 0
        chunk = self.chunks[place]
        value = ArrowArray(length=chunk.size, n_buffers=2, buffers=(c.c_void_p * 2)(None, chunk.ctypes.data))
        child = (c.POINTER(ArrowArray) * 1)(c.pointer(value))
        lists = ArrowArray(length=len(chunk), n_buffers=1, n_children=1, buffers=(c.c_void_p * 1)(None), children=child)
        lists.release = c.cast(self._release_array, c.c_void_p)
        self._given.append((value, child, lists))
        out[0] = lists
        self.alive += 1
        return 0

    def __arrow_c_stream__(self, requested_schema: object = None) -> object:
        self._at = 0
        self._given: list[object] = []
        self._error = c.create_string_buffer(b"the disk is on fire")
        self._stream = ArrowArrayStream(
            get_schema=_GetSchema(self._schema),
            get_next=_GetNext(self._next),
            get_last_error=_LastError(lambda _stream: c.addressof(self._error)),
            release=1,  # not NULL: it was not read yet
        )
        return _new_capsule(c.addressof(self._stream), b"arrow_array_stream", self._destroy)


class DLTensor(c.Structure):
    _fields_ = [
        ("data", c.c_void_p),
        ("device_type", c.c_int32),
        ("device_id", c.c_int32),
        ("ndim", c.c_int32),
        ("code", c.c_uint8),
        ("bits", c.c_uint8),
        ("lanes", c.c_uint16),
        ("shape", c.POINTER(c.c_int64)),
        ("strides", c.POINTER(c.c_int64)),
        ("byte_offset", c.c_uint64),
    ]


class DLManagedTensor(c.Structure):
    _fields_ = [("tensor", DLTensor), ("context", c.c_void_p), ("deleter", c.c_void_p)]


_CODES = {"i": 0, "u": 1, "f": 2}


class Tensor:
    """An array that offers nothing but DLPack; on_device and code pretend."""

    def __init__(self, array: np.ndarray, *, device: int = 1, code: int | None = None, dense: bool = False) -> None:
        self.array = array
        self.dropped = 0
        self._destroy = _Destroy(self._drop)
        self._shape = (c.c_int64 * array.ndim)(*array.shape)
        self._strides = (c.c_int64 * array.ndim)(*(s // array.itemsize for s in array.strides))
        self._managed = DLManagedTensor(
            tensor=DLTensor(
                data=array.ctypes.data,
                device_type=device,
                ndim=array.ndim,
                code=_CODES[array.dtype.kind] if code is None else code,
                bits=array.itemsize * 8,
                lanes=1,
                shape=self._shape,
                strides=None if dense else self._strides,
            )
        )

    def _drop(self, _capsule: int) -> None:
        self.dropped += 1

    def __dlpack__(self, **_arguments: object) -> object:
        return _new_capsule(c.addressof(self._managed), b"dltensor", self._destroy)

    def __dlpack_device__(self) -> tuple[int, int]:
        return self._managed.tensor.device_type, 0
