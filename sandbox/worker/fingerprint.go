package worker

/*
#cgo CFLAGS: -std=c11 -O2
#include <stdlib.h>
#include "fingerprint.h"
*/
import "C"

import (
	"errors"
	"unsafe"

	"weir/sandbox/wire"
)

var errFingerprint = errors.New("the engine does not take the aggregate of fingerprints")

// learn teaches a job's engine to make fingerprints, see wire.Fingerprint. All that are made at a time together may take half as much memory
// as the engine, which knows nothing of it,
// or some are given up; the kernel's limits hold for both.
func (e *engine) learn() error {
	name := C.CString(wire.Fingerprint)
	defer C.free(unsafe.Pointer(name))
	if !C.weir_fingerprint_register(C.engine_connection(e.raw.Ptr), name, wire.FingerprintParts, C.uint64_t(e.open.Memory/2)) {
		return errFingerprint
	}
	return nil
}

// heldByFingerprints is how many bytes the fingerprints that are being made take at the moment.
func heldByFingerprints() uint64 { return uint64(C.weir_fingerprint_bytes()) }
