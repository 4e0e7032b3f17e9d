package wire

// Fingerprint is the aggregate function that a job's engine has besides its own. It takes the keyed hash of a unit and how many
// times it counts, both UBIGINT, and gives a BLOB, or NULL where nothing counts. The lowest bits of the hash say in which of FingerprintParts
// parts the unit is, and its upper 32 bits and one are its weight. The blob has, for each part with a sum of weights, in ascending order, the
// distance from the part before (the first: from part 0) and the sum, which has 64 bits at most, each as an unsigned varint without
// needless bytes. It is empty where there was no memory for it. The order of rows and the number of threads do not change it. A planner does not know it, so no person can ask for it.
const Fingerprint = "weir_fingerprint"

// FingerprintParts is how many parts the units are divided into, a power of two.
const FingerprintParts = 1 << 15
