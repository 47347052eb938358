# The part of the builder of native.classify that fills the tables of one family: which intervals lead to which buckets
# and rows of bits, and what stands there.

from native.classify cimport Family, Rules
from native.classify_family cimport Placing
from native.classify_services cimport Columns


cdef int fill_family(
    Placing placing, Family *family, Rules *rules, Columns columns, flat, int which, list blocks
) except -1
