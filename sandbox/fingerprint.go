package sandbox

import "weir/sandbox/wire"

// Fingerprint is the aggregate function, besides the engine's own, of SQL that a Session runs, and FingerprintParts
// is how many parts it divides units into. See wire.Fingerprint.
const (
	Fingerprint      = wire.Fingerprint
	FingerprintParts = wire.FingerprintParts
)
