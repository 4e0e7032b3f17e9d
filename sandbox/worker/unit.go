package worker

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/binary"
	"hash"
	"strings"

	"golang.org/x/text/unicode/norm"

	"weir/sandbox/wire"
)

// unit computes the hidden name of a unit: the first 64 bits of HMAC-SHA-256 (RFC 2104) over its key, under a key
// of the domain. The same unit has the same name in every data set and role of a domain, and another in another.
type unit struct {
	column int
	mac    hash.Hash
	sum    []byte
}

func newUnit(secret []byte, u wire.IntakeUnit) unit {
	domain := hmac.New(sha256.New, secret)
	domain.Write([]byte("weir unit domain\x00" + u.Domain))
	return unit{column: u.Column, mac: hmac.New(sha256.New, domain.Sum(nil)), sum: make([]byte, 0, sha256.Size)}
}

func (u unit) of(key string) uint64 {
	u.mac.Reset()
	u.mac.Write([]byte(key))
	return binary.BigEndian.Uint64(u.mac.Sum(u.sum[:0]))
}

// normalize gives keys that a person would take for the same the same text: full-width digits and letters become
// plain, case and spaces around do not count. To take two units for one makes the guard stricter; to take one for
// two would make it count a person twice.
func normalize(key string) string {
	plain := true
	for i := 0; i < len(key); i++ {
		if c := key[i]; c <= ' ' || c >= 0x7f || 'a' <= c && c <= 'z' {
			plain = false
			break
		}
	}
	if plain {
		return key
	}
	return strings.TrimSpace(strings.ToUpper(norm.NFKC.String(key)))
}

// short is the hash that is added up over rows: the leading 16 bits of a unit's name, around 2^30, so that a sum over rows
// says how many there are besides. It is narrow because to read it and to add it up is nearly all that a guarded count costs
// more than a plain one; export/guard computes the same where a table has no such column.
func short(name uint64) int32 { return int32(1<<30 - 1<<15 + name>>48) }
